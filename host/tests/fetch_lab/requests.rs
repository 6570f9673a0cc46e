//! What a request can do.

use std::time::Duration;

use ckan_worker_plugin::{Hash, Method, Redirect};

use crate::lab::{Answer, Lab, http, nobody};
use crate::rig::{Rig, by, check, files, get, trace, with_header};

/// A server that keeps the rules about parts of a file of 26 letters; on `/ignores` it sends the whole.
async fn alphabet() -> Lab {
    Lab::asked(|request| {
        let text = "abcdefghijklmnopqrstuvwxyz";
        let head = request.to_lowercase();
        let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=0-").map(str::to_owned));
        let path = request.split(' ').nth(1).unwrap();
        let answer = match (path, range) {
            ("/refuses", Some(_)) => http("416 Range Not Satisfiable", &["Content-Range: bytes */0"], ""),
            ("/empty", _) => http("200 OK", &[], ""),
            ("/ignores" | "/refuses", _) | (_, None) => http("200 OK", &[], text),
            (_, Some(last)) => {
                let bytes = text.len().min(last.parse::<usize>().unwrap() + 1);
                let range = format!("Content-Range: bytes 0-{}/{}", bytes - 1, text.len());
                http("206 Partial Content", &[&range], &text[..bytes])
            }
        };
        Answer::Bytes(answer.into_bytes())
    })
    .await
}

#[tokio::test]
async fn the_first_bytes_are_asked_for_and_no_more_are_taken() {
    let lab = alphabet().await;
    let rig = Rig::new();
    for (path, first, kept, is_whole) in [
        ("/", 3, "abc", false),
        ("/", 26, "abcdefghijklmnopqrstuvwxyz", true),
        ("/", 100, "abcdefghijklmnopqrstuvwxyz", true),
        ("/ignores", 3, "abc", false),
        ("/ignores", 26, "abcdefghijklmnopqrstuvwxyz", true),
        ("/refuses", 3, "abc", false),
        ("/empty", 3, "", true),
    ] {
        // With no limit, and with one that is not reached.
        for bytes_max in [0, 1_000] {
            let request =
                ckan_worker_plugin::WireRequest { first_bytes: Some(first), bytes_max, ..get(&lab.url(path)) };
            let body = rig.send(&request).await.unwrap().body.unwrap();
            assert_eq!(std::fs::read_to_string(&body.path).unwrap(), kept, "{path} {first}");
            assert_eq!((body.bytes, body.is_whole), (kept.len() as u64, is_whole), "{path} {first}");
        }
    }
    assert!(lab.requests()[0].to_lowercase().contains("\r\nrange: bytes=0-2\r\n"));
}

#[tokio::test]
async fn a_part_that_a_worker_asks_for_itself_is_no_whole() {
    let lab = alphabet().await;
    let response = Rig::new().send(&with_header(get(&lab.url("/")), "Range", "bytes=0-4")).await.unwrap();
    assert_eq!(response.status(), 206);
    assert_eq!(response.header("content-range"), Some("bytes 0-4/26"));
    assert!(!response.body.unwrap().is_whole);
}

#[tokio::test]
async fn what_is_unchanged_is_an_answer_only_to_one_who_asked_for_that() {
    let lab = Lab::always("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nConnection: close\r\n\r\n".to_owned()).await;
    let rig = Rig::new();
    for (name, value) in [("If-None-Match", "\"v1\""), ("If-Modified-Since", "Thu, 01 Jan 2026 00:00:00 GMT")] {
        for method in [Method::Get, Method::Head, Method::Check] {
            let response = rig.send(&with_header(by(method, &lab.url("/")), name, value)).await.unwrap();
            assert!(response.is_not_modified() && response.body.is_none());
            assert_eq!(response.header("etag"), Some("\"v1\""));
        }
    }
    assert_eq!(files(rig.dir.path()), 0);
    assert!(lab.requests()[0].to_lowercase().contains("\r\nif-none-match: \"v1\"\r\n"));
    let failure = rig.send(&get(&lab.url("/"))).await.unwrap_err();
    check(&failure, "fetch.status permanent: Server reported status error: 304 Not Modified");
    assert_eq!((rig.counted().outcome("not-modified"), rig.counted().outcome("status")), (6, 1));
}

#[tokio::test]
async fn a_head_and_a_get_of_nothing_bring_headers_and_no_content() {
    let lab = Lab::always(http("200 OK", &["Content-Type: text/csv", "X-Two: 1", "X-Two: 2"], "abc")).await;
    let rig = Rig::new();
    for method in [Method::Head, Method::Get] {
        let mut request = by(method, &lab.url("/"));
        request.bytes_max = 0;
        let response = rig.send(&request).await.unwrap();
        assert_eq!(response.body, None);
        assert_eq!(response.header("content-type"), Some("text/csv"));
        assert_eq!(response.header("content-length"), Some("3"));
        assert_eq!(response.header("x-two"), Some("1"));
    }
    assert_eq!(files(rig.dir.path()), 0);
    let many = (0..90).map(|number| format!("X-{number}: 1")).collect::<Vec<_>>();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let lab = Lab::always(http("200 OK", &many, "")).await;
    assert_eq!(rig.send(&get(&lab.url("/"))).await.unwrap().headers.len(), 64);
}

#[tokio::test]
async fn what_is_posted_arrives_and_the_answer_is_taken() {
    let lab = Lab::always(http("202 Accepted", &[], "thanks")).await;
    let rig = Rig::new();
    let request = with_header(by(Method::Post, &lab.url("/hook")), "Content-Type", "application/json");
    let response = rig.fetcher.request(&request, r#"{"a":1}"#.into(), rig.dir.path()).await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(std::fs::read_to_string(response.body.unwrap().path).unwrap(), "thanks");
    let request = lab.requests().remove(0);
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n") && request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
    assert!(request.to_lowercase().contains("\r\ncontent-type: application/json\r\n"));
    assert!(request.to_lowercase().contains("\r\ncontent-length: 7\r\n"));
}

#[tokio::test]
async fn the_hash_is_the_one_that_was_asked_for() {
    let lab = Lab::always(http("200 OK", &[], "abc")).await;
    let rig = Rig::new();
    for (hash, expected) in [
        // As `sha1sum` and `sha256sum` say.
        (Hash::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (Hash::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ] {
        let request = ckan_worker_plugin::WireRequest { hash, ..get(&lab.url("/")) };
        assert_eq!(rig.send(&request).await.unwrap().body.unwrap().hash, expected);
    }
    assert_eq!((rig.counted().outcome("ok"), rig.counted().bytes), (2, 6));
}

#[tokio::test]
async fn a_request_that_fails_tells_the_way_it_came() {
    let (_held, gone) = nobody();
    let to_gone = format!("Location: {gone}");
    let lab = Lab::new(move |path| {
        let answer = match path {
            "/moved" => http("301 Moved Permanently", &["Location: /lost"], ""),
            "/away" => http("302 Found", &[&to_gone], ""),
            _ => http("404 Not Found", &[], ""),
        };
        Answer::Bytes(answer.into_bytes())
    })
    .await;
    let rig = Rig::new();
    let failure = rig.failure(&lab.url("/moved")).await;
    check(&failure, "fetch.status permanent: Server reported status error: 404 Not Found");
    let way = trace(&failure);
    assert_eq!((way.url.as_str(), way.status), (lab.url("/lost").as_str(), Some(404)));
    assert_eq!(way.redirects, [Redirect { status: 301, url: lab.url("/lost") }]);
    assert!(way.is_moved_for_good());

    let failure = rig.failure(&lab.url("/away")).await;
    check(&failure, "fetch.connect retry: Connection error: Connection refused");
    let way = trace(&failure);
    // What the address that failed answered is nothing.
    assert_eq!((way.url.as_str(), way.status), (gone.as_str(), None));
    assert_eq!(way.redirects, [Redirect { status: 302, url: gone.clone() }]);
    assert!(Duration::from_millis(way.duration_ms) < Duration::from_secs(60));
}

#[tokio::test]
async fn every_request_is_counted_by_how_it_ended() {
    let lab = Lab::always(http("200 OK", &[], "abc")).await;
    let rig = Rig::new();
    rig.send(&get(&lab.url("/"))).await.unwrap();
    rig.send(&get("ftp://127.0.0.1/")).await.unwrap_err();
    rig.send(&get("http://127.0.0.2:81/")).await.unwrap_err();
    let counted = rig.counted();
    let ended: Vec<_> = counted.outcomes.iter().filter(|(_, count)| *count > 0).copied().collect();
    assert_eq!(ended, [("ok", 1), ("invalid-url", 1), ("forbidden-address", 1)]);
    assert_eq!(counted.bytes, 3);
}
