//! Links that are no links to files, and texts that would be something else on the way: S7, S17.

use crate::lab::{Answer, Lab, http};
use crate::rig::{Rig, check, get, with_header};

#[tokio::test]
async fn s07_only_links_to_web_servers_are_asked() {
    let lab = Lab::always(http("200 OK", &[], "x")).await;
    let rig = Rig::new();
    let at = lab.address;
    for url in [
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/".to_owned(),
        "data:,x".to_owned(),
        "jar:http://127.0.0.1!/".to_owned(),
        "dict://127.0.0.1:11211/stat".to_owned(),
        "ldap://127.0.0.1/".to_owned(),
        format!("gopher://{at}/"),
        format!("javascript://{at}/"),
    ] {
        let failure = rig.failure(&url).await;
        check(&failure, "fetch.invalid-url permanent: Invalid url scheme. Please use one of: http, https");
    }
    for url in [
        String::new(),
        format!("HTTP ://{at}/"),
        format!("http:{at}/"),
        format!("http:/{at}/"),
        format!(r"http:\\{at}/"),
        format!(r"http://a\@{at}/"),
        format!(r"http://{at}\@b/"),
        format!("http://good@{at}/"),
        format!("http://good:@{at}/"),
        format!("//{at}/"),
        format!("{at}/"),
        "http://127.0.0.1:99999/".to_owned(),
        "http://a b/".to_owned(),
        format!("http://{at}/{}", "x".repeat(9_000)),
    ] {
        check(&rig.failure(&url).await, "fetch.invalid-url permanent: URL parsing failure");
    }
    assert_eq!(lab.connections(), 0);
}

#[tokio::test]
async fn s07_white_space_around_a_link_is_no_part_of_it() {
    let lab = Lab::always(http("200 OK", &[], "x")).await;
    let fetched = Rig::new().fetch(&format!(" \r\n{}\t ", lab.url("/x"))).await.unwrap();
    assert_eq!(fetched.url, lab.url("/x"));
    assert!(lab.requests()[0].starts_with("GET /x HTTP/1.1\r\n"));
}

#[tokio::test]
async fn s17_a_line_break_in_a_link_or_a_header_is_refused() {
    let lab = Lab::always(http("200 OK", &[], "x")).await;
    let rig = Rig::new();
    for inside in ["\r\nX-Evil: 1", "\n", "\t", "\0", "\u{7f}", "\u{85}"] {
        let failure = rig.failure(&lab.url(&format!("/a{inside}b"))).await;
        check(&failure, "fetch.invalid-url permanent: URL parsing failure");
    }
    for (name, value) in [("X-A", "b\r\nX-Evil: 1"), ("X-A", "b\nc"), ("X-A", "\0"), ("X-A\r\nX-Evil", "1"), ("", "x")]
    {
        let failure = rig.send(&with_header(get(&lab.url("/")), name, value)).await.unwrap_err();
        check(&failure, "fetch.invalid-header permanent: ");
        assert!(!failure.message.contains(char::is_control), "{}", failure.message);
    }
    assert_eq!(lab.connections(), 0);
    // Written as it must be, it is no line break but a part of the path.
    rig.fetch(&lab.url("/a%0d%0aX-Evil:%201")).await.unwrap();
    assert!(lab.requests()[0].starts_with("GET /a%0d%0aX-Evil:%201 HTTP/1.1\r\n"), "{:?}", lab.requests());
}

#[tokio::test]
async fn s17_a_header_that_is_the_hosts_is_refused() {
    let lab = Lab::always(http("200 OK", &[], "x")).await;
    let rig = Rig::new();
    for name in ["Host", "content-length", "Transfer-Encoding", "Connection", "ACCEPT-ENCODING", "Upgrade", "Expect"] {
        let failure = rig.send(&with_header(get(&lab.url("/")), name, "hunter2")).await.unwrap_err();
        check(&failure, "fetch.invalid-header permanent: the header `");
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
    let many = (0..33).fold(get(&lab.url("/")), |request, _| with_header(request, "X-A", "b"));
    check(&rig.send(&many).await.unwrap_err(), "fetch.invalid-header permanent: a request has at most 32 headers");
    let long = with_header(get(&lab.url("/")), "X-A", &"b".repeat(17_000));
    check(&rig.send(&long).await.unwrap_err(), "fetch.invalid-header permanent: a request has at most 32 headers");
    assert_eq!(lab.connections(), 0);
}

#[tokio::test]
async fn s17_what_a_server_says_is_told_as_one_short_plain_line() {
    let script = "<script>alert(1)</script>";
    let lab = Lab::new(move |path| {
        let status = format!("404 {script}");
        let good = http("200 OK", &["X-Odd: a\tb", &format!("X-Long: {}", "y".repeat(5_000))], "x");
        Answer::Bytes(if path == "/good" { good } else { http(&status, &[], script) }.into_bytes())
    })
    .await;
    let rig = Rig::new();
    let failure = rig.failure(&lab.url(&format!("/{}?{script}", "z".repeat(3_000)))).await;
    assert_eq!(failure.message, "Server reported status error: 404 Not Found");
    assert!(!failure.detail.contains('<'), "{}", failure.detail);
    let odd = rig.failure(&format!("http://{}{script}", "z".repeat(3_000))).await;
    assert!(odd.message.len() <= 500, "{}", odd.message.len());

    let response = rig.send(&get(&lab.url("/good"))).await.unwrap();
    assert_eq!(response.header("x-odd"), Some("a b"));
    assert_eq!(response.header("x-long").map(|value| value.chars().count()), Some(1_000));
}
