//! Where answers send us: S6.

use ckan_worker::services::fetch::Settings;
use ckan_worker_plugin::Redirect;

use crate::lab::{Answer, Lab, http};
use crate::rig::{Names, Rig, check, get, home, trace};

/// A server on which `/to/STATUS/URL` redirects there, and everything else is found.
async fn moving() -> Lab {
    Lab::new(|path| {
        let answer = match path.strip_prefix("/to/").and_then(|rest| rest.split_once('/')) {
            Some((status, target)) => {
                // Dots and slashes would be put in order before they are sent, and what is asked for may be shown.
                let target = target
                    .replace("%2F", "/")
                    .replace("CREDENTIALS", "me:hunter2")
                    .replace("LONG", &"x".repeat(9_000))
                    .replace("%09", "\t")
                    .replace("%5C", "\\");
                http(&format!("{status} Moved"), &[&format!("Location: {target}")], "moved")
            }
            None => http("200 OK", &[], "here"),
        };
        Answer::Bytes(answer.into_bytes())
    })
    .await
}

#[tokio::test]
async fn s06_every_hop_is_vetted_like_the_first_link() {
    let lab = moving().await;
    let rig = Rig::named(home(), Names::all("127.0.0.2"));
    let check_hop = async |target: &str, expected: &str| {
        let failure = rig.failure(&lab.url(&format!("/to/302/{target}"))).await;
        check(&failure, expected);
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    };
    for target in
        ["http://127.0.0.2:81/?key=hunter2", "http://0x7f000002:81/", "//127.0.0.2:81/", "http://in.example:81/"]
    {
        check_hop(target, "fetch.forbidden-address permanent: URL invalid: forbidden address").await;
    }
    for target in ["http://[::ffff:127.0.0.1]:81/", "http://localhost.:81/", "http://10.0.0.1:81/?token=hunter2"] {
        let expected = match target {
            // Ours is allowed in these tests, and nobody listens there.
            "http://localhost.:81/" => "fetch.connect retry",
            _ => "fetch.forbidden-address permanent: URL invalid: forbidden address",
        };
        check_hop(target, expected).await;
    }
    for target in ["file:///etc/passwd", "gopher://127.0.0.1:11211/", "http://CREDENTIALS@127.0.0.1:81/", "http://"] {
        check_hop(target, "fetch.invalid-url permanent: http://127.0.0.1:").await;
    }
    for target in
        ["/%5C127.0.0.1:81/", "%5C%5C127.0.0.1:81/", "http://a%5C@127.0.0.1:81/", "/a%09b", "http://127.0.0.1:81/%09b"]
    {
        check_hop(target, "fetch.invalid-url permanent: http://127.0.0.1:").await;
    }
    check_hop("http://127.0.0.1:81/LONG", "fetch.invalid-url permanent: http://127.0.0.1:").await;
}

#[tokio::test]
async fn s06_redirects_end_somewhere() {
    let lab = Lab::new(|path| {
        let next = if path == "/circle" { path.to_owned() } else { format!("{path}x") };
        Answer::Bytes(http("302 Found", &[&format!("Location: {next}")], "").into_bytes())
    })
    .await;
    let rig = Rig::of(Settings { redirects_max: 10, ..home() });
    let failure = rig.failure(&lab.url("/")).await;
    check(&failure, "fetch.redirects permanent: Too many redirects: more than 10");
    assert_eq!(lab.requests().len(), 11);
    assert_eq!(trace(&failure).redirects.len(), 10);
    let failure = rig.failure(&lab.url("/circle")).await;
    check(&failure, "fetch.redirects permanent: Too many redirects: http://127.0.0.1:");
    assert_eq!(lab.requests().len(), 12);
}

#[tokio::test]
async fn s06_relative_redirects_are_followed_and_told_with_their_permanence() {
    let lab = moving().await;
    let rig = Rig::new();
    let there = lab.url("/there");
    let protocol_relative = there.strip_prefix("http:").unwrap();
    for (status, target) in
        [(301, "/there"), (308, "..%2F..%2Fthere"), (302, protocol_relative), (303, &there), (307, "/.%2Fthere")]
    {
        let response = rig.send(&get(&lab.url(&format!("/to/{status}/{target}")))).await.unwrap();
        assert_eq!(response.trace.url, there, "{target}");
        assert_eq!(response.trace.redirects, [Redirect { status, url: there.clone() }]);
        assert_eq!(response.trace.is_moved_for_good(), matches!(status, 301 | 308));
    }
}
