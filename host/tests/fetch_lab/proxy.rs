//! Through a proxy: S19.

use ckan_worker::services::fetch::{Proxy, Settings};

use crate::lab::{Answer, Lab, http};
use crate::rig::{Names, Rig, check, settings};

fn through(lab: &Lab) -> Settings {
    Settings { proxy: Some(Proxy(lab.url("/").parse().unwrap())), ports: vec![80, 443], ..settings(&[]) }
}

#[tokio::test]
async fn s19_a_proxy_gets_the_names_and_we_look_none_up() {
    let proxy = Lab::always(http("200 OK", &[], "from the proxy")).await;
    let names = Names::all("127.0.0.2");
    let rig = Rig::named(through(&proxy), names.clone());
    let fetched = rig.fetch("http://files.example/x.csv").await.unwrap();
    assert_eq!(std::fs::read_to_string(&fetched.path).unwrap(), "from the proxy");
    assert!(proxy.requests()[0].starts_with("GET http://files.example/x.csv HTTP/1.1\r\n"), "{:?}", proxy.requests());
    assert_eq!(names.asked(), 0);
}

#[tokio::test]
async fn s19_a_number_is_vetted_before_the_proxy_hears_of_it() {
    let proxy = Lab::new(|path| {
        let moved = http("302 Found", &["Location: http://169.254.169.254/latest/meta-data"], "");
        let answer = if path.ends_with("/moved") { moved } else { http("200 OK", &[], "inside") };
        Answer::Bytes(answer.into_bytes())
    })
    .await;
    let rig = Rig::of(through(&proxy));
    for host in ["127.0.0.1", "0x7f.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "localhost"] {
        let failure = rig.failure(&format!("http://{host}/")).await;
        check(&failure, "fetch.forbidden-address permanent: URL invalid: forbidden address");
    }
    check(&rig.failure("http://redis.internal:6379/").await, "fetch.forbidden-port permanent");
    assert_eq!(proxy.connections(), 0);
    let failure = rig.failure("http://files.example/moved").await;
    check(&failure, "fetch.forbidden-address permanent: URL invalid: forbidden address: 169.254.169.254");
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn s19_a_proxys_password_is_shown_to_nobody() {
    let proxy = Proxy("http://me:hunter2@proxy.example:3128".parse().unwrap());
    assert_eq!(format!("{proxy:?}"), "http://proxy.example:3128");
}
