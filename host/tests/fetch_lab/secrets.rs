//! What must not be told on: S14, S16.

use ckan_worker_plugin::Method;

use crate::lab::{Answer, Lab, http};
use crate::rig::{Rig, by, check, get, home, settings, trace, with_header};

const CANARY: &str = "canary-7f3a9c";

fn carrying(url: &str) -> ckan_worker_plugin::WireRequest {
    let request = with_header(get(url), "Authorization", CANARY);
    let request = with_header(request, "X-CKAN-API-Key", CANARY);
    let request = with_header(request, "Cookie", CANARY);
    with_header(with_header(request, "X-Own-Name", CANARY), "If-None-Match", "\"v1\"")
}

/// Two servers that are different origins: the first sends us to the second, and that back to the first.
async fn there_and_back() -> (Lab, Lab) {
    let far = Lab::at("127.0.0.3:0".parse().unwrap(), |path| {
        Answer::Bytes(http("302 Found", &[&format!("Location: http://{}/end", &path[1..])], "").into_bytes())
    })
    .await;
    let far_address = far.address;
    let near = Lab::asked(move |request| {
        let (_, rest) = request.split_once(' ').unwrap();
        let host =
            request.to_lowercase().lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned)).unwrap();
        let answer = match rest.split(' ').next().unwrap() {
            "/start" => http("302 Found", &["Location: /same"], ""),
            "/same" => http("302 Found", &[&format!("Location: http://{far_address}/{host}")], ""),
            _ => http("200 OK", &[], "x"),
        };
        Answer::Bytes(answer.into_bytes())
    })
    .await;
    (near, far)
}

#[tokio::test]
async fn s14_a_token_stays_with_the_server_it_was_meant_for() {
    let (near, far) = there_and_back().await;
    let rig = Rig::of(settings(&["127.0.0.1/32", "127.0.0.3/32"]));
    let response = rig.send(&carrying(&near.url("/start"))).await.unwrap();
    assert_eq!(response.trace.redirects.len(), 3);
    let requests = near.requests();
    assert!(requests[0].contains(CANARY) && requests[1].contains(CANARY), "the same server may see it");
    assert!(!requests[2].contains(CANARY), "{}", requests[2]);
    assert_eq!(far.requests().len(), 1);
    assert!(!far.requests()[0].contains(CANARY), "{}", far.requests()[0]);
    assert!(!far.requests()[0].to_lowercase().contains("referer"));
    // What says nothing about us goes along.
    assert!(far.requests()[0].to_lowercase().contains("if-none-match: \"v1\"\r\n"));
}

#[tokio::test]
async fn s14_another_port_is_another_server() {
    let other = Lab::always(http("200 OK", &[], "x")).await;
    let to_other = format!("Location: {}", other.url("/"));
    let lab = Lab::always(http("302 Found", &[&to_other], "")).await;
    Rig::new().send(&carrying(&lab.url("/"))).await.unwrap();
    assert!(!other.requests()[0].contains(CANARY), "{}", other.requests()[0]);
}

#[tokio::test]
async fn s14_a_plain_request_says_who_asks_and_nothing_more() {
    let lab = Lab::always(http("200 OK", &[], "x")).await;
    let rig = Rig::new();
    for method in [Method::Get, Method::Head] {
        rig.send(&by(method, &lab.url("/"))).await.unwrap();
    }
    for request in lab.requests() {
        let head = request.to_lowercase();
        let mut names: Vec<_> =
            head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
        names.sort();
        assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
    }
}

#[tokio::test]
async fn s14_what_is_posted_goes_to_no_other_address() {
    let other = Lab::always(http("200 OK", &[], "x")).await;
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let to_other = format!("Location: {}", other.url("/"));
        let lab = Lab::always(http(status, &[&to_other], "")).await;
        let rig = Rig::new();
        let request = by(Method::Post, &lab.url("/"));
        let response = rig.fetcher.request(&request, CANARY.into(), rig.dir.path()).await.unwrap();
        assert_eq!(response.status(), status[..3].parse::<u16>().unwrap());
        assert_eq!(response.header("location"), Some(other.url("/").as_str()));
        assert!(lab.requests()[0].ends_with(CANARY));
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn s16_credentials_in_a_link_are_refused_and_not_shown() {
    let rig = Rig::of(home());
    for url in
        ["http://me:hunter2@127.0.0.1:81/", "http://me:hunter2@[nonsense/?key=hunter2", "https://hunter2@127.0.0.1:81/"]
    {
        let failure = rig.failure(url).await;
        check(&failure, "fetch.invalid-url permanent: URL parsing failure");
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
}

#[tokio::test]
async fn s16_a_key_in_a_query_reaches_the_server_and_no_report() {
    let lab = Lab::new(|path| {
        let signed = "Location: /signed?X-Amz-Signature=hunter2&X-Amz-Security-Token=hunter2&X-Amz-Date=2026";
        let answer = match path.split('?').next().unwrap() {
            "/download" => http("302 Found", &[signed], ""),
            "/signed" => http("200 OK", &[], "x"),
            _ => http("403 Forbidden", &[], "hunter2"),
        };
        Answer::Bytes(answer.into_bytes())
    })
    .await;
    let rig = Rig::new();
    let response = rig.send(&get(&lab.url("/download?token=hunter2&page=2"))).await.unwrap();
    assert!(!format!("{:?}", response.trace).contains("hunter2"), "{:?}", response.trace);
    let signed = lab.url("/signed?X-Amz-Signature=***&X-Amz-Security-Token=***&X-Amz-Date=2026");
    assert_eq!(response.trace.url, signed);
    assert!(lab.requests()[0].starts_with("GET /download?token=hunter2&page=2 "));
    assert!(lab.requests()[1].starts_with("GET /signed?X-Amz-Signature=hunter2&"));

    let failure = Rig::new().failure(&lab.url("/private?api_key=hunter2&sig=hunter2&page=2")).await;
    assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    assert_eq!(trace(&failure).url, lab.url("/private?api_key=***&sig=***&page=2"));
}
