//! The server is asked whether the copy is still the same.

use super::*;

/// A worker that has a copy with this `ETag` and this `Last-Modified`.
fn with_copy(etag: Option<&str>, last_modified: Option<&str>) -> Rig {
    let rig = Rig::new(json!([resource(URL)]));
    let mut page = rig.bench.web(URL).body(CSV);
    if let Some(etag) = etag {
        page = page.etag(etag);
    }
    if let Some(date) = last_modified {
        page.last_modified(date);
    }
    assert_eq!(rig.run(), done());
    rig.bench.forget();
    rig.come_due();
    rig
}

fn headers(rig: &Rig) -> Vec<(String, String)> {
    rig.bench.sent().into_iter().flat_map(|sent| sent.headers).collect()
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn both_marks_of_the_copy_are_sent_and_what_has_not_changed_is_not_sent_again() {
    let rig = with_copy(Some("\"e\""), Some("Tue, 03 Mar 2026 10:00:00 GMT"));
    let before = rig.record();
    assert_eq!(rig.recheck(), done());
    let date = header("If-Modified-Since", "Tue, 03 Mar 2026 10:00:00 GMT");
    assert_eq!(headers(&rig), [header("If-None-Match", "\"e\""), date]);
    rig.check_record(json!({
        "status_id": 1, "status": "Content has not changed", "is_broken": false, "http_status": 304, "reason": "",
        "hash": CSV_SHA256, "size": 19, "etag": "\"e\"", "content_changed_at": before["content_changed_at"],
        "cache_last_updated": before["cache_last_updated"],
    }));
    assert_ne!(rig.record()["last_success"], before["last_success"], "the check is recorded");
    assert!(rig.bench.writes().is_empty());
    assert_eq!(rig.bench.log()[0].fields["sha256"], CSV_SHA256);
}

#[test]
fn a_link_that_was_broken_is_not_broken_any_more_when_nothing_has_changed() {
    let rig = with_copy(Some("\"e\""), None);
    rig.edit_record(|record| {
        record["is_broken"] = json!(true);
        record["failure_count"] = json!(3);
        record["first_failure"] = json!("2026-01-01T00:00:00Z");
        record["reason"] = json!("Connection timed out after 30s");
    });
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({
        "status_id": 1, "is_broken": false, "failure_count": 0, "first_failure": null, "reason": "",
    }));
}

#[test]
fn a_server_that_has_something_else_sends_it() {
    let rig = with_copy(Some("\"e\""), None);
    let before = rig.record();
    rig.bench.web(URL).body("a,b\n1,2\n").etag("\"f\"");
    assert_eq!(rig.recheck(), done());
    assert_eq!(headers(&rig), [header("If-None-Match", "\"e\"")]);
    rig.check_record(json!({ "status_id": 0, "size": 8, "etag": "\"f\"" }));
    assert_ne!(rig.record()["content_changed_at"], before["content_changed_at"]);
}

#[test]
fn another_mark_for_the_same_content_is_no_change() {
    let rig = with_copy(Some("\"e\""), None);
    rig.bench.web(URL).etag("\"f\"");
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({ "status_id": 1, "etag": "\"f\"", "http_status": 200 }));
    assert!(rig.bench.writes().is_empty());
}

#[test]
fn another_address_is_asked_without_conditions_and_so_is_one_whose_copy_is_gone() {
    let rig = with_copy(Some("\"e\""), None);
    let other = "http://data.example/other.csv";
    rig.bench.web(other).status(500);
    rig.set_resource("url", json!(other));
    assert_eq!(rig.run(), done());
    assert_eq!(headers(&rig), []);

    rig.bench.web(other).status(200).body(CSV).etag("\"e\"");
    rig.come_due();
    assert_eq!(rig.run(), done());
    assert_eq!(headers(&rig), [], "the copy is of the first address");
    rig.check_record(json!({ "status_id": 0, "http_status": 200 }));

    std::fs::remove_file(rig.place().join("other.csv")).unwrap();
    assert_eq!(rig.run(), done());
    assert_eq!(headers(&rig), []);
}

#[test]
fn an_answer_that_nothing_changed_is_an_error_where_nobody_asked() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).status(304);
    assert_eq!(rig.run(), done());
    let reason = "Server reported status 304 without being asked for changes";
    rig.check_record(json!({ "status_id": 12, "reason": reason }));
}

#[test]
fn a_mark_that_no_header_can_carry_is_not_sent() {
    let rig = with_copy(Some("\"e\""), None);
    rig.edit_record(|record| record["etag"] = json!("\"\u{fffd}\n\""));
    assert_eq!(rig.recheck(), done());
    assert_eq!(headers(&rig), []);
    rig.check_record(json!({ "status_id": 1, "http_status": 200 }));
}
