//! What becomes of a call to CKAN, for everything that CKAN, or something in front of it, may answer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod lab;

use std::time::Duration;

use ckan_worker::services::Failure;
use ckan_worker::services::ckan::{Client, Identity, Settings};
use ckan_worker_abi::Status;
use lab::{Answer, Lab, http, nobody};

const TOKEN: &str = "canary-5f1d0c7e";
const HTML: &str = "<!doctype html><h1>Sorry</h1>";

fn settings(url: &str) -> Settings {
    Settings {
        site_url: Some(url.parse().unwrap()),
        api_key: Some(TOKEN.into()),
        timeout: Duration::from_secs(20),
        ..Settings::default()
    }
}

fn client(url: &str) -> Client {
    Client::new(settings(url)).unwrap()
}

async fn refusal(answer: String) -> Failure {
    let lab = Lab::always(answer).await;
    // Something that is sent once, for this is about the answers.
    client(&lab.url("")).action("package_create", "{}").await.unwrap_err()
}

fn error(json: &str) -> String {
    format!(r#"{{"help": "https://…", "success": false, "error": {json}}}"#)
}

/// Says how one answer ends: `code retry` or `code permanent`.
async fn check(status: &str, body: &str, expected: &str) {
    let failure = refusal(http(status, &[], body)).await;
    let passing = match failure.status {
        Status::RETRY => "retry",
        Status::PERMANENT => "permanent",
        other => panic!("{other:?}"),
    };
    assert_eq!(format!("{} {passing}", failure.code), expected, "{status} {body}: {}", failure.message);
    assert!(failure.message.contains("package_create"), "{}", failure.message);
}

#[tokio::test]
async fn an_action_answers_the_bytes_of_its_result() {
    let lab =
        Lab::always(http("200 OK", &[], r#"{"help": "", "success": true, "result": {"id": "é", "n": 1.50}}"#)).await;
    let result = client(&lab.url("/data/")).action("package_show", r#"{"id":"x"}"#).await.unwrap();
    assert_eq!(result, r#"{"id": "é", "n": 1.50}"#);
    let request = &lab.requests()[0];
    assert!(request.starts_with("POST /data/api/3/action/package_show HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("authorization: {TOKEN}\r\n")), "{request}");
    assert!(request.contains("content-type: application/json\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"id\":\"x\"}"), "{request}");
}

#[tokio::test]
async fn an_action_that_changes_nothing_is_asked_with_a_query() {
    let lab = Lab::always(http("200 OK", &[], r#"{"success": true, "result": null}"#)).await;
    let query = br#"{"q":"a b&c","rows":5}"#;
    assert_eq!(client(&lab.url("")).get("package_search", query).await.unwrap(), "null");
    let request = &lab.requests()[0];
    assert!(request.starts_with("GET /api/3/action/package_search?q=a+b%26c&rows=5 HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn a_large_answer_that_comes_in_pieces_is_whole() {
    let long = "x".repeat(3_000_000);
    let lab = Lab::always(http("200 OK", &[], &format!(r#"{{"success": true, "result": "{long}"}}"#))).await;
    assert_eq!(client(&lab.url("")).action("package_show", "").await.unwrap().len(), long.len() + 2);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let lab = Lab::new(move |_| Answer::ThenForEver(head.clone(), vec![b' '; 65_536])).await;
    let failure = client(&lab.url("")).action("package_search", "").await.unwrap_err();
    assert_eq!((failure.code, failure.status), ("ckan.too-large", Status::PERMANENT), "{}", failure.message);
}

#[tokio::test]
async fn every_refusal_of_ckan_has_its_code() {
    let of = |kind: &str| error(&format!(r#"{{"__type": "{kind}", "message": "…"}}"#));
    check("400 Bad Request", &of("Integrity Error"), "ckan.bad-request permanent").await;
    check("400 Bad Request", &of("Search Query Error"), "ckan.bad-request permanent").await;
    check("400 Bad Request", r#""Bad request: Action name not known: package_create""#, "ckan.bad-request permanent")
        .await;
    check("400 Bad Request", HTML, "ckan.bad-request permanent").await;
    check("401 Unauthorized", HTML, "ckan.not-authorized permanent").await;
    check("403 Forbidden", &of("Authorization Error"), "ckan.not-authorized permanent").await;
    check("403 Forbidden", HTML, "ckan.not-authorized permanent").await;
    check("404 Not Found", &of("Not Found Error"), "ckan.not-found retry").await;
    check("404 Not Found", HTML, "ckan.config permanent").await;
    check("405 Method Not Allowed", HTML, "ckan.config permanent").await;
    let invalid = error(r#"{"__type": "Validation Error", "size": ["Invalid integer"]}"#);
    check("409 Conflict", &invalid, "ckan.validation permanent").await;
    let race = error(r#"{"__type": "Validation Error", "match": ["metadata_modified value does not match"]}"#);
    check("409 Conflict", &race, "ckan.lost-race retry").await;
    check("409 Conflict", &of("Search Error"), "ckan.search retry").await;
    check("413 Content Too Large", HTML, "ckan.too-large permanent").await;
    check("429 Too Many Requests", HTML, "ckan.rate-limited retry").await;
    check("500 Internal Server Error", &of("Search Connection Error"), "ckan.server retry").await;
    check("500 Internal Server Error", &of("Search Index Error"), "ckan.server retry").await;
    check("500 Internal Server Error", &of("Internal Server Error"), "ckan.server retry").await;
    check("502 Bad Gateway", HTML, "ckan.unavailable retry").await;
    check("503 Service Unavailable", HTML, "ckan.unavailable retry").await;
    check("504 Gateway Timeout", HTML, "ckan.unavailable retry").await;
    check("200 OK", HTML, "ckan.incompatible permanent").await;
    check("200 OK", &of("Odd"), "ckan.incompatible permanent").await;
    check("200 OK", "", "ckan.incompatible permanent").await;
}

#[tokio::test]
async fn a_refusal_is_told_in_the_portals_own_words() {
    let body = error(
        r#"{"__type": "Validation Error", "resources": [{}, {"url": ["Missing"]}], "size": ["Invalid integer"]}"#,
    );
    let failure = refusal(http("409 Conflict", &[], &body)).await;
    assert_eq!(
        failure.message,
        r#"package_create: CKAN finds the values invalid: resources: [{},{"url":["Missing"]}]; size: Invalid integer (HTTP 409)"#
    );
    let detail: serde_json::Value = serde_json::from_str(&failure.detail).unwrap();
    assert_eq!(detail["size"][0], "Invalid integer");

    let failure = refusal(http("400 Bad Request", &[], r#""Bad request: JSON Error""#)).await;
    assert!(failure.message.contains("Bad request: JSON Error"), "{}", failure.message);
}

#[tokio::test]
async fn a_long_refusal_is_shortened() {
    let body = error(&format!(r#"{{"__type": "Validation Error", "notes": ["{}\r\n"]}}"#, "x".repeat(100_000)));
    let body = body.replace("\r\n", "\\r\\n");
    let failure = refusal(http("409 Conflict", &[], &body)).await;
    assert!(failure.message.chars().count() < 500, "{}", failure.message);
    assert!(failure.detail.len() < 16 * 1024 + 1);
    let detail: serde_json::Value = serde_json::from_str(&failure.detail).unwrap();
    assert_eq!(detail["__type"], "Validation Error");
}

#[tokio::test]
async fn the_portal_may_say_how_long_to_wait() {
    let wait = async |headers: &[&str]| refusal(http("429 Too Many Requests", headers, "")).await.retry_after;
    assert_eq!(wait(&["Retry-After: 7"]).await, Some(Duration::from_secs(7)));
    assert_eq!(wait(&["Retry-After: 1000000000"]).await, Some(Duration::from_secs(86_400)));
    assert_eq!(wait(&["Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"]).await, Some(Duration::ZERO));
    assert_eq!(wait(&[]).await, None);
}

#[tokio::test]
async fn the_token_does_not_follow_a_redirect() {
    let elsewhere = Lab::always(http("200 OK", &[], r#"{"success": true, "result": {}}"#)).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("Location: {}", elsewhere.url("/portal/api/3/action/package_create?key=1"));
        let failure = refusal(http(status, &[&location], "")).await;
        assert_eq!((failure.code, failure.status), ("ckan.config", Status::PERMANENT));
        assert!(failure.message.contains(&format!("write `{}` to", elsewhere.url("/portal"))), "{}", failure.message);
    }
    assert_eq!(elsewhere.requests(), [""; 0]);
}

#[tokio::test]
async fn a_portal_that_repeats_the_token_does_not_get_it_into_a_message() {
    let body = error(&format!(r#"{{"__type": "Internal Server Error", "message": "headers: {TOKEN}"}}"#));
    let failure = refusal(http("500 Internal Server Error", &[], &body)).await;
    assert!(failure.message.contains("headers: ***"), "{}", failure.message);
    assert!(!format!("{failure:?}").contains(TOKEN));
}

#[tokio::test]
async fn a_portal_that_does_not_answer_is_unavailable() {
    let lab = Lab::new(|_| Answer::ThenSilence(Vec::new())).await;
    let settings = Settings { timeout: Duration::from_millis(100), ..settings(&lab.url("")) };
    let failure = Client::new(settings).unwrap().action("package_show", "").await.unwrap_err();
    assert_eq!((failure.code, failure.status), ("ckan.unavailable", Status::RETRY));
    assert_eq!(failure.message, "package_show: CKAN cannot be reached: it did not answer in time, at most 0.1 s");

    let (_held, url) = nobody();
    let failure = client(&url).action("package_show", "").await.unwrap_err();
    assert_eq!((failure.code, failure.status), ("ckan.unavailable", Status::RETRY));
    assert!(failure.message.contains("refused"), "{}", failure.message);

    let failure = refusal("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"succ".to_owned()).await;
    assert_eq!((failure.code, failure.status), ("ckan.unavailable", Status::RETRY), "{}", failure.message);
}

#[tokio::test]
async fn a_call_without_a_portal_says_which_setting_is_missing() {
    let settings = Settings { site_url: None, ..settings("http://127.0.0.1") };
    let failure = Client::new(settings).unwrap().action("package_show", "").await.unwrap_err();
    assert_eq!((failure.code, failure.status), ("ckan.config", Status::PERMANENT));
    assert!(failure.message.contains("`ckan.site_url`"), "{}", failure.message);
}

#[tokio::test]
async fn what_is_no_name_of_an_action_is_never_sent() {
    let lab = Lab::always(http("200 OK", &[], "")).await;
    for name in ["", "../../user", "package_show?x", "Package", "a/b", "päckage", "http://127.0.0.1"] {
        let failure = client(&lab.url("")).action(name, "{}").await.unwrap_err();
        assert_eq!((failure.code, failure.status), ("ckan.bad-request", Status::PERMANENT), "{name}");
    }
    assert_eq!(lab.requests(), [""; 0]);
}

async fn portal(user_show: String) -> Lab {
    Lab::new(move |path| {
        let answer = match path {
            "/api/3/action/status_show" => http(
                "200 OK",
                &[],
                r#"{"success": true, "result": {"ckan_version": "2.12.0", "extensions": ["archiver"]}}"#,
            ),
            _ => user_show.clone(),
        };
        Answer::Bytes(answer.into_bytes())
    })
    .await
}

#[tokio::test]
async fn a_check_says_who_the_token_belongs_to() {
    let lab = portal(http("200 OK", &[], r#"{"success": true, "result": {"name": "worker", "sysadmin": true}}"#)).await;
    let report = client(&lab.url("")).check().await;
    let portal = report.portal.as_ref().unwrap();
    assert_eq!(
        (portal.version.as_deref(), portal.extensions.as_slice()),
        (Some("2.12.0"), &["archiver".to_owned()][..])
    );
    assert!(matches!(&report.identity, Ok(Identity::User { name, sysadmin: true }) if name == "worker"));
    assert!(report.failure().is_none());
}

#[tokio::test]
async fn a_check_finds_a_token_that_ckan_silently_ignores() {
    let lab =
        portal(http("404 Not Found", &[], &error(r#"{"__type": "Not Found Error", "message": "Not found"}"#))).await;
    let report = client(&lab.url("")).check().await;
    let failure = report.failure().unwrap();
    assert_eq!((failure.code, failure.status), ("ckan.not-authorized", Status::PERMANENT));
    assert!(failure.message.contains("`ckan.api_key`"), "{}", failure.message);
}

#[tokio::test]
async fn a_check_without_a_token_is_anonymous() {
    let lab = portal(String::new()).await;
    let settings = Settings { api_key: None, ..settings(&lab.url("")) };
    let report = Client::new(settings).unwrap().check().await;
    assert!(matches!(report.identity, Ok(Identity::Anonymous)));
    assert_eq!(lab.requests().len(), 1);
    assert!(!lab.requests()[0].to_lowercase().contains("authorization"));
}
