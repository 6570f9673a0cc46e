//! What is posted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ckan_worker_plugin::Method;
use hmac::{Hmac, KeyInit as _, Mac as _};

use super::*;

/// A payload as CKAN writes it: it says when, and there is more in it than JSON needs.
const PAYLOAD: &str = "{\"id\": \"5f0c3f10-6a5b-4ad0-9c3e-000000000001\",  \"title\":\"B\\u00e4ume\", \"size\": 1.0e2,\
                       \"metadata_modified\": \"2026-01-31T12:00:00.5\", \"private\": false, \"state\": \"active\"}";

fn payload() -> Event {
    Event::new("Package", "changed", PAYLOAD)
}

#[track_caller]
fn post(options: &str, event: Event) -> Sent {
    let rig = Rig::new(&format!("one {ONE} {options}"));
    assert_eq!(rig.run(event), done());
    rig.posted()
}

#[test]
fn a_notification_is_posted_as_a_cloud_event_with_its_payload_byte_for_byte() {
    let sent = post("", payload());
    assert_eq!((sent.url.as_str(), sent.method), (ONE, Method::Post));
    let event = body(&sent);
    let id = event["id"].as_str().unwrap();
    assert!(id.starts_with("ckan-") && id.len() == 37, "{id}");
    let expected = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"https://data.example\",\
         \"type\":\"org.ckan.package.changed\",\"subject\":\"{PACKAGE_ID}\",\"time\":\"2026-01-31T12:00:00.5Z\",\
         \"datacontenttype\":\"application/json\",\"data\":{PAYLOAD}}}"
    );
    assert_eq!(String::from_utf8(sent.body.clone()).unwrap(), expected);
    assert_eq!(headers(&sent)["content-type"], "application/cloudevents+json; charset=utf-8");
    assert_eq!(headers(&sent)["webhook-id"], id);
}

#[test]
fn a_post_is_signed_and_carries_nothing_but_what_the_readme_says() {
    let sent = post("", payload());
    let headers = headers(&sent);
    let names: Vec<&str> = headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["content-type", "webhook-id", "webhook-signature", "webhook-timestamp"]);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    let (id, time) = (&headers["webhook-id"], &headers["webhook-timestamp"]);
    mac.update(&[id.as_bytes(), b".", time.as_bytes(), b".", &sent.body].concat());
    let signature = headers["webhook-signature"].strip_prefix("v1,").unwrap();
    mac.verify_slice(&STANDARD.decode(signature).unwrap()).unwrap();
    let age = jiff::Timestamp::now().as_second() - time.parse::<i64>().unwrap();
    assert!((0..300).contains(&age), "it was posted {age} s ago");
}

#[test]
fn a_payload_that_does_not_say_when_or_what_is_posted_without_it() {
    let event = body(&post("private=yes", Event::new("Group", "new", "[1]")));
    assert_eq!(event["type"], "org.ckan.group.new");
    assert_eq!(event["data"], json!([1]));
    assert_eq!((event.get("time"), event.get("subject")), (None, None));
}

#[test]
fn in_binary_form_the_payload_is_the_body_and_the_event_stands_in_headers() {
    let sent = post("format=binary", payload());
    assert_eq!(sent.body, PAYLOAD.as_bytes());
    let headers = headers(&sent);
    for (name, value) in [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", headers["webhook-id"].as_str()),
        ("ce-source", "https://data.example"),
        ("ce-type", "org.ckan.package.changed"),
        ("ce-subject", PACKAGE_ID),
        ("ce-time", "2026-01-31T12:00:00.5Z"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
}

#[test]
fn s17_no_control_character_of_a_notification_gets_into_a_header() {
    let id = "a\r\nX-Evil: 1\0\u{202e}é\"%";
    let event = Event::new("Evil\r\nX: 1", "new\n", json!({ "id": id }).to_string());
    let sent = post("private=yes format=binary", event);
    for (name, value) in &sent.headers {
        assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}: {value:?}");
    }
    assert_eq!(headers(&sent)["ce-subject"], "a%0D%0AX-Evil:%201%00%E2%80%AE%C3%A9%22%25");
    assert_eq!(headers(&sent)["ce-type"], "org.ckan.evil__x__1.new_");
}

#[test]
fn what_only_sysadmins_see_goes_to_who_asks_for_it() {
    let event = || {
        let text = "{\"id\":\"p1\", \"plugin\\u005fdata\": {\"canary\": 1},\"n\": 1.0, \"private\": false,\
                    \"state\":\"active\", \"plugin_data\": {\"canary\": 2}}";
        Event::new("Package", "changed", text)
    };
    let sent = post("", event());
    assert_eq!(body(&sent)["data"], json!({ "id": "p1", "n": 1.0, "private": false, "state": "active" }));
    assert!(!String::from_utf8_lossy(&sent.body).contains("canary"));
    assert!(!String::from_utf8_lossy(&post("format=binary", event()).body).contains("canary"));
    assert_eq!(body(&post("plugin_data=yes", event()))["data"]["plugin_data"], json!({ "canary": 2 }));
}

#[test]
fn a_payload_whose_fields_cannot_be_read_is_not_posted() {
    let rig = Rig::new(&format!("one {ONE} private=yes"));
    for payload in ["{\"id\": ", "", "{\"\\ud800\": 1, \"plugin_data\": {}}"] {
        let error = rig.run(Event::new("Package", "changed", payload)).unwrap_err();
        assert_eq!((error.class(), error.code()), (ckan_worker_plugin::Class::Permanent, "payload"));
    }
    assert_eq!(rig.asked(), [""; 0]);
}

#[test]
fn a_chat_gets_a_sentence_in_which_nothing_is_markup() {
    let fields = json!({ "title": "<!channel> & <b>\n", "private": false, "state": "active",
                         "ckan_url": "https://data.example/dataset/trees?a=1&b=2" });
    let text = body(&post("format=slack", changed(fields.clone())))["text"].clone();
    let expected = "Dataset \"&lt;!channel&gt; &amp; &lt;b&gt;\" changed: \
                    <https://data.example/dataset/trees?a=1&amp;b=2>";
    assert_eq!(text, expected);

    let card = body(&post("format=teams", changed(fields)))["attachments"][0]["content"].clone();
    assert_eq!(card["body"][0]["inlines"][0]["text"], "Dataset \"<!channel> & <b>\" changed");
    assert_eq!(card["actions"][0]["url"], "https://data.example/dataset/trees?a=1&b=2");
}

#[test]
fn a_chat_is_told_of_deletions_and_gets_no_link_that_is_none() {
    let fields = json!({ "name": "trees", "private": false, "state": "deleted", "ckan_url": "javascript:alert(1)" });
    assert_eq!(body(&post("format=slack", changed(fields)))["text"], "Dataset \"trees\" deleted");
    let long = json!({ "title": "é".repeat(900), "private": false, "state": "active" });
    let text = body(&post("format=slack", changed(long)))["text"].as_str().unwrap().to_owned();
    assert_eq!(text.matches('é').count(), 200);
}

#[test]
fn an_event_keeps_its_id_for_a_target_and_another_has_another() {
    let id = |options: &str, event: Event| headers(&post(options, event))["webhook-id"].clone();
    let first = id("", published());
    assert_eq!(id("", published().attempt(3).redelivered()), first);
    assert_ne!(id("", changed(json!({ "private": false, "state": "active", "n": 1 }))), first);
    let rig = Rig::new(&format!("one {ONE}\ntwo {ONE}"));
    assert_eq!(rig.run(published()), done());
    let ids: Vec<String> = rig.bench.sent().iter().map(|sent| headers(sent)["webhook-id"].clone()).collect();
    assert_eq!((ids.len(), &ids[0]), (2, &first));
    assert_ne!(ids[1], first);
}
