//! Where links and names lead: S1 to S5, S8.
//!
//! Loopback always comes first, where a lab counts who connects. Addresses outside this machine are tried only at ports
//! that are closed, so that even without a guard nothing would be sent there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ckan_worker::services::fetch::Settings;
use ckan_worker_abi::Status;

use crate::lab::{Answer, Lab, http};
use crate::rig::{Names, Rig, check, home, ips, settings};

const S2: &str = "10.0.0.1 10.255.255.254 172.16.0.1 172.31.255.254 192.168.0.1 169.254.169.254 100.64.0.1 192.0.0.1 \
                  198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 \
                  2001:db8::1 100::1";
const S3: &str = "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2001::1";

/// A lab that must not be connected to, at the port of another.
async fn bait(port: u16) -> Lab {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), port);
    Lab::at(address, |_| Answer::Bytes(http("200 OK", &[], "inside").into_bytes())).await
}

fn open(port: u16, allow: &[&str]) -> Settings {
    Settings { ports: vec![port], ..settings(allow) }
}

async fn refuses(rig: &Rig, url: &str) {
    let failure = rig.failure(url).await;
    assert_eq!((failure.code, failure.status), ("fetch.forbidden-address", Status::PERMANENT), "{url}: {failure:?}");
    check(&failure, "fetch.forbidden-address permanent: URL invalid: forbidden address: ");
    // It goes into what portals show: what to set is for the log.
    assert!(!failure.message.contains("fetch."), "{}", failure.message);
}

#[tokio::test]
async fn s01_no_spelling_of_loopback_is_connected_to() {
    let lab = Lab::always(http("200 OK", &[], "inside")).await;
    let port = lab.address.port();
    let rig = Rig::of(open(port, &[]));
    for host in "127.0.0.1 127.1 127.0.1 0x7f.1 0x7f000001 017700000001 0177.0.0.1 2130706433 0.0.0.0 0 127.0.0.1. \
                 [::1] [::] [0:0:0:0:0:0:0:1] localhost LOCALHOST localhost. foo.localhost 127.9.9.9 ⑫7.0.0.1"
        .split_whitespace()
    {
        refuses(&rig, &format!("http://{host}:{port}/")).await;
    }
    assert_eq!(lab.connections(), 0);
    assert_eq!(rig.counted().outcome("forbidden-address"), 20);
}

#[tokio::test]
async fn s01_a_name_server_cannot_say_where_localhost_is() {
    let lab = Lab::always(http("200 OK", &[], "here")).await;
    let port = lab.address.port();
    let rig = Rig::named(open(port, &["127.0.0.1/32"]), Names::all("127.0.0.2"));
    let inside = bait(port).await;
    assert!(rig.fetch(&format!("http://localhost:{port}/")).await.is_ok());
    assert_eq!((lab.connections(), inside.connections()), (1, 0));
}

/// Refuses all of these, by number and by name; loopback comes first.
async fn refuses_all(addresses: &str) {
    let addresses: Vec<IpAddr> = ips("127.0.0.2").into_iter().chain(ips(addresses)).collect();
    let known = addresses.clone();
    // The name `a7.example` leads to the seventh.
    let names = Names::new(move |name, _| vec![known[name[1..].split('.').next().unwrap().parse::<usize>().unwrap()]]);
    let rig = Rig::named(home(), names.clone());
    for (number, address) in addresses.iter().enumerate() {
        refuses(&rig, &format!("http://{}/", SocketAddr::new(*address, 81))).await;
        refuses(&rig, &format!("http://a{number}.example:81/")).await;
    }
    assert_eq!(names.asked(), addresses.len());
}

#[tokio::test]
async fn s02_no_private_address_is_connected_to_by_number_or_by_name() {
    refuses_all(S2).await;
}

#[tokio::test]
async fn s03_no_address_with_another_inside_is_connected_to_by_number_or_by_name() {
    let lab = Lab::always(http("200 OK", &[], "inside")).await;
    let port = lab.address.port();
    // What is mapped is loopback here, so the port may be open.
    refuses(&Rig::of(open(port, &[])), &format!("http://[::ffff:127.0.0.1]:{port}/")).await;
    refuses(&Rig::of(home()), &format!("http://[::ffff:127.0.0.1]:{port}/")).await;
    assert_eq!(lab.connections(), 0);
    refuses_all(S3).await;
    let rig = Rig::of(home());
    check(&rig.failure("http://[fe80::1%25eth0]:81/").await, "fetch.invalid-url permanent: URL parsing failure");
    check(&rig.failure("http://[::1%25lo]:81/").await, "fetch.invalid-url permanent: URL parsing failure");
}

#[tokio::test]
async fn s04_a_name_that_leads_inside_is_not_followed() {
    let lab = Lab::always(http("200 OK", &[], "here")).await;
    let port = lab.address.port();
    let inside = bait(port).await;
    // An open port, and nothing is allowed: what decides is where the name leads.
    let rig = Rig::named(open(port, &[]), Names::all("127.0.0.2 127.0.0.1 ::1"));
    refuses(&rig, &format!("http://files.example:{port}/")).await;
    refuses(&rig, &format!("http://127.0.0.2.nip.example:{port}/")).await;
    assert_eq!((lab.connections(), inside.connections()), (0, 0));
    // As a name of a cloud's own is answered, or an alias for it.
    let cloud = Rig::named(home(), Names::all("169.254.169.254"));
    refuses(&cloud, "http://metadata.google.internal:81/computeMetadata/v1/").await;
    let failure = cloud.failure("http://alias.example:81/").await;
    assert!(failure.message.contains("alias.example leads to a link-local address"), "{failure:?}");
    assert!(!failure.message.contains("169.254"), "where it leads inside is for the log alone: {failure:?}");
}

#[tokio::test]
async fn s04_of_a_names_addresses_only_those_that_may_are_connected_to() {
    let good = Lab::always(http("200 OK", &[], "good")).await;
    let port = good.address.port();
    let inside = bait(port).await;
    for settings in [home(), open(port, &["127.0.0.1/32"])] {
        let rig = Rig::named(settings, Names::all("127.0.0.2 ::1 127.0.0.1 127.0.0.2"));
        let fetched = rig.fetch(&format!("http://mixed.example:{port}/")).await.unwrap();
        assert_eq!(std::fs::read_to_string(&fetched.path).unwrap(), "good");
    }
    assert_eq!((good.connections(), inside.connections()), (2, 0));
}

#[tokio::test]
async fn s05_a_name_that_leads_elsewhere_the_second_time_gets_nobody_inside() {
    let good = Lab::always(http("200 OK", &[], "good")).await;
    let port = good.address.port();
    let inside = bait(port).await;
    for settings in [home(), open(port, &["127.0.0.1/32"])] {
        let rebinding = Names::new(|_, asked| ips(if asked == 0 { "127.0.0.1" } else { "127.0.0.2" }));
        let rig = Rig::named(settings, rebinding.clone());
        let url = format!("http://rebinding.example:{port}/");
        let fetched = rig.fetch(&url).await.unwrap();
        assert_eq!(std::fs::read_to_string(&fetched.path).unwrap(), "good");
        // What was vetted is what was connected to: the name was looked up once.
        assert_eq!(rebinding.asked(), 1);
        std::fs::remove_file(&fetched.path).unwrap();
        refuses(&rig, &url).await;
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn s08_a_port_that_is_not_open_is_not_asked() {
    let names = Names::all("127.0.0.1");
    let rig = Rig::named(Settings { ports: vec![80, 443, 8080, 8443], ..settings(&[]) }, names.clone());
    for url in [
        "http://files.example:22/",
        "http://files.example:25/",
        "http://solr.internal:8983/solr/ckan/select",
        "http://redis:6379/",
        "http://db:5432/",
        "http://cache.example:11211/",
        "https://files.example:5380/",
        "http://files.example:0/",
    ] {
        let failure = rig.failure(url).await;
        check(&failure, "fetch.forbidden-port permanent: URL invalid: forbidden port: ");
        assert!(!failure.message.contains("fetch."), "{}", failure.message);
    }
    // Nobody even looked where they are.
    assert_eq!(names.asked(), 0);
    assert_eq!(rig.counted().outcome("forbidden-port"), 8);
}

#[tokio::test]
async fn s08_what_is_allowed_by_name_is_allowed_at_every_port() {
    let lab = Lab::always(http("200 OK", &[], "here")).await;
    let rig = Rig::named(Settings { ports: vec![80], ..home() }, Names::all("127.0.0.1"));
    assert!(rig.fetch(&lab.url("/")).await.is_ok());
    assert!(rig.fetch(&format!("http://intranet.example:{}/", lab.address.port())).await.is_ok());
}
