//! Where the file of a resource comes from, and what a broken link is.

use std::time::Duration;

use super::files::{compound, zip_of};
use super::*;

fn kept(is_broken: Value) -> Value {
    json!({ "is_broken": is_broken, "reason": "Server reported status error: 404", "hash": "h1" })
}

#[test]
fn the_copy_that_archive_keeps_is_looked_at_and_nothing_is_fetched() {
    let rig = Rig::of_one(URL);
    rig.archived(kept(json!(false)), Some(("trees.csv", b"{\"a\": 1}")));
    assert_eq!(rig.run(), done());
    assert!(rig.bench.fetched().is_empty());
    rig.check_record(json!({ "openness_score": 3, "format": "JSON" }));
}

#[test]
fn a_link_that_archive_found_broken_scores_0() {
    let rig = Rig::of_one(URL);
    rig.archived(kept(json!(true)), Some(("trees.csv", CSV.as_bytes())));
    assert_eq!(rig.run(), done());
    assert!(rig.bench.fetched().is_empty());
    let reason = "The file cannot be obtained: Server reported status error: 404";
    rig.check_record(json!({ "openness_score": 0, "openness_score_reason": reason, "rule": "broken", "format": null }));
    assert_eq!(rig.run(), nothing_changed());
    // It works again, and archive says so.
    rig.archived(kept(json!(false)), Some(("trees.csv", CSV.as_bytes())));
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "openness_score": 3 }));
}

#[test]
fn what_archive_did_not_keep_is_fetched() {
    for record in [kept(Value::Null), json!("no record"), json!({ "cache_filepath": "/nowhere/x" })] {
        let rig = Rig::of_one(URL);
        fs::create_dir_all(rig.place()).unwrap();
        fs::write(rig.place().join("archive.json"), record.to_string()).unwrap();
        rig.bench.web(URL).body(CSV);
        assert_eq!(rig.run(), done());
        assert_eq!(rig.bench.fetched(), [URL]);
        rig.check_record(json!({ "openness_score": 3 }));
    }
}

#[test]
fn a_record_does_not_lead_out_of_its_directory() {
    let rig = Rig::of_one(URL);
    rig.archived(json!({ "is_broken": false, "cache_filepath": "../../../etc/passwd" }), None);
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [URL]);
}

#[cfg(unix)]
#[test]
fn a_link_in_the_directory_is_not_followed() {
    let rig = Rig::of_one(URL);
    rig.archived(kept(json!(false)), Some(("real.csv", CSV.as_bytes())));
    fs::remove_file(rig.place().join("real.csv")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", rig.place().join("real.csv")).unwrap();
    assert_eq!(rig.run().unwrap_err().code(), "qa.disk");
}

#[test]
fn a_new_copy_is_looked_at_and_the_same_one_is_not() {
    let rig = Rig::of_one(URL);
    rig.archived(kept(json!(false)), Some(("trees.csv", CSV.as_bytes())));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.run(), nothing_changed());
    let mut record = kept(json!(false));
    record["hash"] = json!("h2");
    rig.archived(record, Some(("trees.csv", b"%PDF-1.4\n")));
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "openness_score": 1, "format": "PDF" }));
}

#[test]
fn without_archive_the_head_is_fetched_and_no_more() {
    let rig = Rig::with(json!([resource(URL)]), json!({ "head_bytes": "4_096" }));
    rig.bench.web(URL).body("a,b\n1,2\n".repeat(10_000));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [URL]);
    rig.check_record(json!({ "openness_score": 3, "format": "CSV" }));
}

#[test]
fn what_has_its_directory_at_its_end_is_fetched_as_a_whole_up_to_a_limit() {
    let names: Vec<String> = (0..200).map(|number| format!("xl/{number}.xml")).collect();
    let mut parts: Vec<&str> = names.iter().map(String::as_str).collect();
    parts.push("[Content_Types].xml");
    let workbook = zip_of(&parts);
    let short = json!({ "head_bytes": "4_096", "bytes_max": "5_000" });
    let document = [compound([0; 16], "Workbook"), vec![0; 5000]].concat();
    for (content, settings, format, requests) in [
        (&workbook, json!({ "head_bytes": "4_096" }), "XLSX", 2),
        (&document, json!({ "head_bytes": "4_096" }), "XLS", 2),
        (&workbook, short, "ZIP", 2),
        (&workbook, json!({}), "XLSX", 1),
    ] {
        let rig = Rig::with(json!([resource("http://data.example/x")]), settings);
        rig.edit(|dataset| dataset["resources"][0]["format"] = json!(""));
        rig.bench.web("http://data.example/x").body(content);
        assert_eq!(rig.run(), done());
        rig.check_record(json!({ "format": format }));
        assert_eq!(rig.bench.fetched().len(), requests, "{format}");
    }
}

#[test]
fn a_zip_file_that_was_not_looked_into_is_what_it_is_called() {
    let names: Vec<String> = (0..200).map(|number| format!("xl/{number}.xml")).collect();
    let workbook = zip_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let rig = Rig::with(
        json!([resource("http://data.example/x.xlsx")]),
        json!({ "head_bytes": "4_096", "bytes_max": "5_000" }),
    );
    rig.bench.web("http://data.example/x.xlsx").body(&workbook);
    assert_eq!(rig.run(), done());
    rig.check_record(json!({
        "format": "XLSX", "rule": "address",
        "openness_score_reason":
            "Its content looks like ZIP (not looked into). By the end of its address it is XLSX, which scores 2.",
    }));
}

#[test]
fn a_broken_link_is_a_result_and_is_looked_at_again() {
    for code in ["fetch.connect", "fetch.timeout", "fetch.redirects", "fetch.tls", "fetch.read", "fetch.invalid-url"] {
        let rig = Rig::of_one(URL);
        rig.bench.web(URL).fails(Error::retryable("what went wrong").with_code(code));
        assert_eq!(rig.run(), done());
        let reason = "The file cannot be obtained: what went wrong";
        rig.check_record(json!({ "openness_score": 0, "openness_score_reason": reason, "rule": "broken" }));
        assert_eq!(rig.run(), done());
        assert_eq!(rig.bench.fetched().len(), 2, "it may work again without anybody saying so");
        assert_eq!(rig.bench.writes().len(), 1, "but CKAN is told once");
    }
}

#[test]
fn a_failing_host_fails_the_run() {
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).fails(Error::retryable("disk full").with_code("fetch.disk"));
    assert_eq!(rig.run().unwrap_err().code(), "fetch.disk");
    assert!(rig.bench.keys().is_empty());
}

#[test]
fn a_busy_server_is_left_alone_and_the_dataset_looked_at_again() {
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).status(503).retry_after(Duration::from_secs(900));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.rechecks()[PACKAGE_ID], Duration::from_secs(900));
    assert_eq!(rig.record(), Value::Null);
    assert_eq!(rig.bench.logged()[0], "Trees: postponed: Server reported status error: 503");

    // What was known stays.
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    let before = rig.record();
    rig.edit(|dataset| dataset["resources"][0]["last_modified"] = json!("2026-01-01"));
    rig.bench.web(URL).status(429).retry_after(Duration::from_secs(1));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.rechecks()[PACKAGE_ID], Duration::from_secs(60), "a minute at least");
    assert_eq!((rig.record(), rig.dataset_record()["openness_score"].clone()), (before, json!(3)));
}

#[test]
fn work_that_is_taken_back_leaves_nothing_behind() {
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).body(CSV).is_cancelled();
    assert_eq!(rig.run().unwrap_err().class(), ckan_worker_plugin::Class::Cancelled);
    assert!(rig.bench.keys().is_empty() && rig.bench.writes().is_empty());
}
