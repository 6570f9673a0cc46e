//! Connections that are not secure, and what is said about them: S18, and S6 where it needs TLS.
//!
//! A child asks, for only at its start can a process be told to trust the lab's own authority.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::child;
use crate::lab::{Answer, Lab, http, with_own_certificate};
use crate::rig::{Names, Rig, get, home};

/// An authority that the child trusts.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server's settings, with a certificate for `name` that holds from one year to another.
    fn server(&self, name: &str, from: i32, to: i32) -> ServerConfig {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap()
    }
}

/// Has a child ask addresses of `files.example`, and says what became of each.
async fn asked_by_a_child(test: &str, authority: &Authority, urls: &[String]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("authority.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    let (mut child, mut lines) = child::start(test, &urls.join(" "), &[("SSL_CERT_FILE", file.to_str().unwrap())]);
    let mut outcomes = Vec::new();
    while let Some(outcome) = child::told(&mut lines).await {
        outcomes.push(outcome);
    }
    assert!(child.wait().await.unwrap().success());
    outcomes
}

/// The child.
async fn ask(urls: &str) {
    let rig = Rig::named(home(), Names::all("127.0.0.1"));
    for url in urls.split(' ') {
        match rig.send(&get(url)).await {
            Ok(response) => child::tell(&serde_json::to_string(&response.trace).unwrap()),
            Err(failure) => child::tell(&format!("{}: {}", failure.code, failure.message)),
        }
    }
}

fn answer(_: &str) -> Answer {
    Answer::Bytes(http("200 OK", &[], "x").into_bytes())
}

/// A server that answers the first words of TLS with these bytes.
async fn raw(bytes: Vec<u8>) -> Lab {
    Lab::new(move |_| Answer::Bytes(bytes.clone())).await
}

#[tokio::test]
async fn s18_the_reason_says_what_is_wrong_with_a_servers_tls() {
    if let Some(urls) = child::task() {
        return ask(&urls).await;
    }
    let authority = Authority::named("the lab's");
    let good = Lab::tls(authority.server("files.example", 2020, 2090), answer).await;
    let expired = Lab::tls(authority.server("files.example", 2020, 2021), answer).await;
    let early = Lab::tls(authority.server("files.example", 2089, 2090), answer).await;
    let another = Lab::tls(authority.server("another.example", 2020, 2090), answer).await;
    let unknown = Lab::tls(Authority::named("nobody's").server("files.example", 2020, 2090), answer).await;
    let own = with_own_certificate("files.example").await;
    // The hello of a server that chose TLS 1.0, and the refusals of one that knows no more, or not this name.
    let hello = [&[0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
    let old = raw(hello).await;
    let older = raw(vec![0x15, 3, 1, 0, 2, 2, 70]).await;
    let nameless = raw(vec![0x15, 3, 3, 0, 2, 2, 112]).await;
    let plain = raw(http("400 Bad Request", &[], "").into_bytes()).await;
    let labs = [&good, &expired, &early, &another, &unknown, &own, &old, &older, &nameless, &plain];
    let urls = labs.map(|lab| format!("https://files.example:{}/", lab.address.port()));

    let test = "tls::s18_the_reason_says_what_is_wrong_with_a_servers_tls";
    let outcomes = asked_by_a_child(test, &authority, &urls).await;
    for (outcome, expected) in outcomes.iter().zip([
        r#"{"url":"https://files.example:"#,
        "fetch.tls: TLS error: the certificate has expired",
        "fetch.tls: TLS error: the certificate is not valid yet",
        "fetch.tls: TLS error: the certificate is for another host",
        "fetch.tls: TLS error: the certificate is signed by nobody we trust",
        "fetch.tls: TLS error: the certificate is signed by itself",
        "fetch.tls: TLS error: the server speaks only TLS 1.1 or older, which is not safe",
        "fetch.tls: TLS error: the server speaks only TLS 1.1 or older, which is not safe",
        "fetch.tls: TLS error: the server knows no site of this name (SNI)",
        "fetch.tls: TLS error: the server does not speak TLS on this port",
    ]) {
        assert!(outcome.starts_with(expected), "expected {expected}\n     got {outcome}");
    }
    assert_eq!(outcomes.len(), labs.len());
    // Nobody who is not trusted hears what is asked.
    let heard = labs.map(|lab| lab.requests().iter().filter(|request| request.starts_with("GET")).count());
    assert_eq!(heard, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn s06_a_way_from_https_to_http_is_gone_and_told() {
    if let Some(urls) = child::task() {
        return ask(&urls).await;
    }
    let authority = Authority::named("the lab's");
    let plain = Lab::always(http("200 OK", &[], "x")).await;
    let there = format!("http://files.example:{}/there", plain.address.port());
    let moved = http("301 Moved Permanently", &[&format!("Location: {there}")], "");
    let secure =
        Lab::tls(authority.server("files.example", 2020, 2090), move |_| Answer::Bytes(moved.clone().into_bytes()))
            .await;
    let urls = [format!("https://files.example:{}/", secure.address.port())];
    let outcomes = asked_by_a_child("tls::s06_a_way_from_https_to_http_is_gone_and_told", &authority, &urls).await;
    let expected = format!(r#"{{"url":"{there}","redirects":[{{"status":301,"url":"{there}"}}],"status":200,"#);
    assert!(outcomes.len() == 1 && outcomes[0].starts_with(&expected), "{outcomes:?}");
    assert!(!plain.requests()[0].to_lowercase().contains("referer"));
}
