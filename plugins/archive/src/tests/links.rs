//! What becomes of one resource.

use super::*;
use ckan_worker_plugin::Class;

/// Runs the worker on a resource with this address, and answers its record.
fn after(url: &str, arrange: impl FnOnce(&Bench)) -> (Rig, Result<Outcome>) {
    let rig = Rig::new(json!([resource(url)]));
    arrange(&rig.bench);
    let outcome = rig.run();
    (rig, outcome)
}

#[track_caller]
fn check(arrange: impl FnOnce(&Bench), status_id: u8, status: &str, is_broken: Value, reason: &str) {
    let (rig, outcome) = after(URL, arrange);
    assert_eq!(outcome, done());
    rig.check_record(json!({ "status_id": status_id, "status": status, "is_broken": is_broken, "reason": reason }));
    assert_eq!(rig.files(), ["archive.json"], "there must be no copy");
}

fn fails(code: &'static str) -> impl FnOnce(&Bench) {
    move |bench| drop(bench.web(URL).fails(Error::retryable("what went wrong").with_code(code)))
}

#[test]
fn a_good_file_is_kept_with_its_record() {
    let (rig, outcome) = after(URL, |bench| {
        bench.web(URL).body(CSV).content_type("application/octet-stream").etag("\"e\"").last_modified("yesterday");
    });
    assert_eq!(outcome, done());
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
    let copy = rig.place().join("trees.csv");
    assert_eq!(fs::read_to_string(&copy).unwrap(), CSV);
    rig.check_record(json!({
        "package_id": PACKAGE_ID, "resource_id": RESOURCE_ID, "status_id": 0, "status": "Archived successfully",
        "is_broken": false, "reason": "", "url": URL, "url_redirected_to": null, "cache_filepath": copy, "size": 19,
        "mimetype": "text/csv", "hash": CSV_SHA256, "etag": "\"e\"", "last_modified": "yesterday",
        "first_failure": null, "failure_count": 0, "written_back": true,
    }));
    let record = rig.record();
    assert_eq!(record["updated"], record["last_success"]);
    assert_eq!(record, rig.record_file(), "it lies beside the copy, too");
    assert!(record["last_success"].as_str().is_some_and(|time| time.ends_with('Z')), "{record:#}");
}

#[cfg(unix)]
#[test]
fn a_web_server_may_read_the_copy() {
    use std::os::unix::fs::PermissionsExt as _;
    let (rig, _) = after(URL, |bench| drop(bench.web(URL).body(CSV)));
    let mode = fs::metadata(rig.place().join("trees.csv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn an_address_that_nobody_could_fetch_is_invalid() {
    check(fails("fetch.invalid-url"), 10, "URL invalid", json!(true), "what went wrong");
    check(fails("fetch.forbidden-address"), 10, "URL invalid", json!(true), "what went wrong");
    for url in ["", "ftp://x/y", "file:///etc/passwd", "no address"] {
        let (rig, outcome) = after(url, |_| ());
        assert_eq!(outcome, done());
        rig.check_record(json!({ "status_id": 10, "is_broken": true, "failure_count": 1 }));
    }
}

#[test]
fn a_broken_link_is_a_result_and_not_a_failed_run() {
    for code in ["fetch.connect", "fetch.timeout", "fetch.redirects", "fetch.tls", "fetch.read"] {
        check(fails(code), 12, "Download error", json!(true), "what went wrong");
    }
    let gone = |bench: &Bench| drop(bench.web(URL).status(404));
    check(gone, 12, "Download error", json!(true), "Server reported status error: 404");
    let empty = |bench: &Bench| drop(bench.web(URL).body(""));
    check(empty, 12, "Download error", json!(true), "Content-length after streaming was 0");
    let excuse = |bench: &Bench| drop(bench.web(URL).body("<ows:ExceptionReport/>"));
    check(excuse, 12, "Download error", json!(true), "Server content contained an API error message");
}

#[test]
fn what_is_too_long_is_not_downloaded_and_not_broken() {
    let long = |bench: &Bench| drop(bench.web(URL).body("x".repeat(1001)));
    let reason = "Content-length 1001 exceeds maximum allowed value 1000";
    check(long, 21, "Chose not to download", Value::Null, reason);
    let (rig, _) = after(URL, long);
    rig.check_record(json!({ "failure_count": 0, "first_failure": null }));
}

#[test]
fn failures_are_counted_and_the_last_copy_stays_until_there_is_a_new_one() {
    let (rig, _) = after(URL, |bench| drop(bench.web(URL).body(CSV)));
    rig.bench.web(URL).status(500);
    for day in 1..=2 {
        rig.edit(|dataset| dataset["resources"][0]["last_modified"] = json!(format!("2026-01-0{day}")));
        assert_eq!(rig.run(), done());
    }
    rig.check_record(json!({ "status_id": 12, "failure_count": 2, "hash": CSV_SHA256, "size": 19 }));
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);

    rig.bench.web("http://data.example/new.csv").body("a,b\n1,2\n");
    rig.edit(|dataset| dataset["resources"][0]["url"] = json!("http://data.example/new.csv"));
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 0, "failure_count": 0, "first_failure": null, "size": 8 }));
    assert_eq!(rig.files(), ["archive.json", "new.csv"]);
}

#[test]
fn a_redirect_is_remembered_and_whether_it_is_for_good() {
    let (rig, _) = after(URL, |bench| {
        bench.web(URL).redirect("https://me:pw@new.example/t.csv?token=abc", true);
        bench.web("https://me:pw@new.example/t.csv?token=abc").body(CSV);
    });
    let target = "https://new.example/t.csv?token=***";
    rig.check_record(json!({
        "url_redirected_to": target, "redirect_is_permanent": true, "status_id": 0, "http_status": 200,
        "redirects": [{ "status": 301, "url": target }],
    }));
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
    assert_eq!(rig.bench.log()[0].fields["redirected_to"], target);
}

#[test]
fn a_redirect_to_what_is_broken_is_remembered_too() {
    let target = "http://new.example/t.csv";
    let (rig, _) = after(URL, |bench| {
        bench.web(URL).redirect(target, false);
        bench.web(target).status(404);
    });
    rig.check_record(json!({
        "status_id": 12, "url_redirected_to": target, "redirect_is_permanent": false, "http_status": 404,
        "redirects": [{ "status": 302, "url": target }], "duration_ms": 0, "request_type": "GET",
    }));
}

#[test]
fn what_is_the_same_again_is_said_to_be() {
    let (rig, _) = after(URL, |bench| drop(bench.web(URL).body(CSV)));
    rig.edit(|dataset| dataset["resources"][0]["last_modified"] = json!("2026-01-01"));
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 1, "status": "Content has not changed", "is_broken": false }));
    assert_eq!(rig.bench.writes().len(), 1);
}

#[test]
fn a_page_in_the_place_of_a_csv_is_noticed() {
    let (rig, _) = after(URL, |bench| drop(bench.web(URL).body("<!DOCTYPE html><title>Moved</title>")));
    let reason = "declared as CSV, but it looks like text/html";
    rig.check_record(json!({ "status_id": 0, "mimetype": "text/html", "reason": reason }));
    assert_eq!(rig.bench.logged()[0], format!("Trees: Archived successfully: {reason}"));
}

#[test]
fn a_run_that_is_taken_back_records_nothing() {
    let (rig, outcome) = after(URL, |bench| drop(bench.web(URL).is_cancelled()));
    assert_eq!(outcome.unwrap_err().class(), Class::Cancelled);
    assert_eq!(rig.files(), [""; 0]);
    assert!(rig.bench.logged().is_empty());
}

#[test]
fn a_failing_disk_fails_the_run_and_the_resource_is_looked_at_again() {
    let (rig, _) = after(URL, |bench| drop(bench.web(URL).body(CSV)));
    rig.edit(|dataset| dataset["resources"][0]["url"] = json!("http://data.example/other.csv"));
    rig.bench.web("http://data.example/other.csv").body("a,b\n3,4\n");
    // A directory in the place of the file cannot be replaced, whoever runs this.
    fs::create_dir(rig.place().join("other.csv")).unwrap();

    let error = rig.run().unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Retryable, "archive.disk"));
    let found = json!({ "status_id": 23, "status": "System error during archival", "is_broken": null });
    check_fields(&rig.record_file(), &found);
    assert_eq!(rig.bench.writes().len(), 1);

    fs::remove_dir(rig.place().join("other.csv")).unwrap();
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 0, "size": 8 }));
}

#[test]
fn a_failing_host_fails_the_run() {
    let (rig, outcome) = after(URL, fails("host"));
    assert_eq!(outcome.unwrap_err().code(), "host");
    let found = json!({ "status_id": 22, "status": "Download failure", "is_broken": null, "inputs": null });
    check_fields(&rig.record_file(), &found);
}

#[test]
fn no_address_leads_out_of_the_resources_directory() {
    for end in ["..%2f..%2fx", "%2e%2e", ".htaccess", "archive.json", "a%00b", "..\\x"] {
        let url = format!("http://data.example/{end}");
        let (rig, outcome) = after(&url, |bench| drop(bench.web(&url).body(CSV)));
        assert_eq!(outcome, done());
        assert_eq!(rig.files().len(), 2, "{end}: {:?}", rig.files());
        rig.check_record(json!({ "status_id": 0 }));
        assert_eq!(fs::read_dir(rig.dir.path().join("public")).unwrap().count(), 1);
    }
}

#[test]
fn the_line_for_a_resource_has_all_its_fields() {
    let (rig, _) = after(URL, |bench| drop(bench.web(URL).body(CSV)));
    let line = &rig.bench.log()[0];
    assert_eq!((line.level, line.message.as_str()), (Level::Info, "Trees: Archived successfully"));
    let expected = [
        ("bytes", "19"),
        ("declared", "CSV"),
        ("mimetype", "text/csv"),
        ("name", "Trees"),
        ("reason", ""),
        ("redirected_to", ""),
        ("resource", RESOURCE_ID),
        ("sha256", CSV_SHA256),
        ("status", "Archived successfully"),
        ("status_id", "0"),
        ("url", URL),
    ];
    let fields: Vec<(&str, &str)> = line.fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(fields, expected);
}
