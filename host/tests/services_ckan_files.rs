//! Files to and from CKAN, and that the token goes to the portal alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod lab;

use ckan_worker::services::ckan::{Client, Rewrite, Settings};
use ckan_worker_abi::Status;
use lab::{Lab, http};
use serde_json::json;
use url::Url;

const TOKEN: &str = "canary-5f1d0c7e";
const DONE: &str = r#"{"success": true, "result": {"id": "x"}}"#;
const FILE: &str = "/dataset/d1/resource/r1/download/a.csv";

fn settings(url: &str) -> Settings {
    Settings { site_url: Some(url.parse().unwrap()), api_key: Some(TOKEN.into()), ..Settings::default() }
}

fn client(url: &str) -> Client {
    Client::new(settings(url)).unwrap()
}

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn file(path: &std::path::Path) -> Vec<u8> {
    let file = json!({"field": "upload", "path": path, "filename": "rivers.csv", "mimetype": "text/csv"});
    file.to_string().into_bytes()
}

#[tokio::test]
async fn a_file_is_sent_beside_its_parameters() {
    let lab = Lab::always(http("200 OK", &[], DONE)).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kept");
    // Longer than one read, so that it goes in pieces.
    std::fs::write(&path, "a,b\n".repeat(100_000)).unwrap();
    let parameters = br#"{"id":"r1","size":7,"schema":{"fields":[1]},"description":null}"#;
    let result = client(&lab.url("")).upload("resource_patch", parameters, &file(&path)).await.unwrap();
    assert_eq!(result, r#"{"id": "x"}"#);
    let request = &lab.requests()[0];
    assert!(request.starts_with("POST /api/3/action/resource_patch HTTP/1.1\r\n"), "{}", &request[..200]);
    assert!(request.contains("content-type: multipart/form-data; boundary="));
    assert!(request.contains(&format!("authorization: {TOKEN}\r\n")));
    for (field, text) in [("id", "r1"), ("size", "7"), ("schema", r#"{"fields":[1]}"#), ("description", "")] {
        assert!(request.contains(&format!("form-data; name=\"{field}\"\r\n\r\n{text}\r\n")), "{field}");
    }
    let head = "form-data; name=\"upload\"; filename=\"rivers.csv\"\r\nContent-Type: text/csv\r\n\r\na,b\n";
    assert!(request.contains(head));
    assert_eq!(request.matches("a,b\n").count(), 100_000);
}

#[tokio::test]
async fn a_file_is_never_sent_twice() {
    let lab = Lab::always(http("503 Service Unavailable", &[], "")).await;
    let kept = tempfile::NamedTempFile::new().unwrap();
    let failure = client(&lab.url("")).upload("resource_patch", b"{}", &file(kept.path())).await.unwrap_err();
    assert_eq!((failure.code, lab.requests().len()), ("ckan.unavailable", 1));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_not_sent() {
    let lab = Lab::always(http("200 OK", &[], DONE)).await;
    let client = client(&lab.url(""));
    let nowhere = file(std::path::Path::new("/no/such/file"));
    let failure = client.upload("resource_patch", b"{}", &nowhere).await.unwrap_err();
    assert_eq!((failure.code, failure.status), ("ckan.upload", Status::PERMANENT));
    assert!(failure.message.contains("/no/such/file"), "{}", failure.message);
    for (parameters, file) in [("[]", "{}"), ("{}", "{}")] {
        let failure = client.upload("resource_patch", parameters.as_bytes(), file.as_bytes()).await.unwrap_err();
        assert_eq!(failure.code, "ckan.bad-request");
    }
    assert_eq!(lab.requests(), [""; 0]);
}

#[tokio::test]
async fn the_token_goes_to_the_portal_alone() {
    let elsewhere = Lab::always(http("200 OK", &[], DONE)).await;
    let location = format!("Location: {}", elsewhere.url(FILE));
    let lab = Lab::always(http("302 Found", &[&location], "")).await;
    let client = client(&lab.url(""));

    let answer = client.open(&url(&lab.url(FILE)), &[], "GET".parse().unwrap()).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
        (302, &*elsewhere.url(FILE))
    );
    assert!(lab.requests()[0].contains(&format!("authorization: {TOKEN}\r\n")));

    assert!(!client.owns(&url(&elsewhere.url(FILE))));
    let failure = client.open(&url(&elsewhere.url(FILE)), &[], "GET".parse().unwrap()).await.unwrap_err();
    assert_eq!((failure.code, failure.status), ("ckan.bad-request", Status::PERMANENT));
    let kept = tempfile::NamedTempFile::new().unwrap();
    client.upload("resource_patch", b"{}", &file(kept.path())).await.unwrap_err();
    client.action("package_patch", "{}").await.unwrap_err();
    assert_eq!(elsewhere.requests(), [""; 0]);
}

#[tokio::test]
async fn a_header_of_its_own_name_carries_the_token_too() {
    let lab = Lab::always(http("200 OK", &[], "a,b\n")).await;
    let settings = Settings { token_header: "X-Portal-Token".to_owned(), ..settings(&lab.url("")) };
    let client = Client::new(settings).unwrap();
    let headers =
        [("If-None-Match", "\"1\""), ("X-Portal-Token", "mine"), ("Authorization", "mine"), ("Cookie", "mine")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = client.open(&url(&lab.url(FILE)), &headers, "GET".parse().unwrap()).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), "a,b\n");
    let request = &lab.requests()[0];
    assert!(request.contains(&format!("x-portal-token: {TOKEN}\r\n")), "{request}");
    assert!(
        request.contains("if-none-match: \"1\"\r\n") && request.contains("accept-encoding: identity\r\n"),
        "{request}"
    );
    assert!(!request.contains("mine"), "{request}");
}

#[tokio::test]
async fn only_files_are_opened_with_our_rights() {
    let lab = Lab::always(http("200 OK", &[], DONE)).await;
    let client = client(&lab.url(""));
    for path in ["/api/3/action/user_list", "/dataset/private", "/dataset/d/resource/r/download/..%2f..%2fapi"] {
        let failure = client.open(&url(&lab.url(path)), &[], "GET".parse().unwrap()).await.unwrap_err();
        assert_eq!(failure.code, "ckan.bad-request", "{path}");
    }
    let failure = client.open(&url(&lab.url(FILE)), &[], "DELETE".parse().unwrap()).await.unwrap_err();
    assert_eq!(failure.code, "ckan.bad-request");
    assert_eq!(lab.requests(), [""; 0]);
}

#[tokio::test]
async fn a_portal_is_reached_at_its_internal_address() {
    let lab = Lab::always(http("200 OK", &[], DONE)).await;
    let rewrite = Rewrite::parse(&format!("https://data.example={}", lab.url(""))).unwrap();
    let settings = Settings {
        url_rewrite: vec![rewrite],
        root_path: Some("/portal/{{LANG}}".to_owned()),
        ..settings("https://data.example")
    };
    let client = Client::new(settings).unwrap();
    client.get("status_show", b"").await.unwrap();
    let public = url(&format!("https://data.example{FILE}"));
    assert!(client.owns(&public) && client.owns(&url(&lab.url(FILE))));
    assert_eq!(client.internal(&public).unwrap().as_str(), lab.url(FILE));
    client.open(&public, &[], "HEAD".parse().unwrap()).await.unwrap();
    let requests = lab.requests();
    assert!(requests[0].starts_with("GET /portal/api/3/action/status_show "), "{}", requests[0]);
    assert!(requests[1].starts_with(&format!("HEAD {FILE} ")), "{}", requests[1]);
}
