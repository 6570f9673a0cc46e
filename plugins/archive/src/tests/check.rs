//! Links are looked at, and nothing is kept.

use super::*;
use ckan_worker_plugin::Method;

fn rig() -> Rig {
    Rig::set(json!({ "mode": "check" }), json!([resource(URL)]))
}

fn methods(rig: &Rig) -> Vec<Method> {
    rig.bench.sent().iter().map(|sent| sent.method).collect()
}

#[test]
fn it_needs_no_directory() {
    let bench = Bench::default();
    let archive = bench.create::<Archive>(json!({ "mode": "check" })).unwrap();
    bench.ckan().dataset(json!({ "id": PACKAGE_ID, "resources": [resource(URL)] }));
    bench.web(URL).body(CSV);
    assert_eq!(bench.consume(&archive, package_changed()), done());
    assert_eq!(bench.remembered(&key(RESOURCE_ID)).unwrap()["is_broken"], false);
}

#[test]
fn a_link_that_works_leaves_a_record_and_no_file() {
    let rig = rig();
    rig.bench.web(URL).body(CSV).content_type("text/csv; charset=utf-8").etag("\"e\"");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({
        "status_id": 0, "is_broken": false, "reason": "the link works; nothing is kept", "size": 19,
        "mimetype": "text/csv", "etag": "\"e\"", "hash": null, "cache_filepath": null, "http_status": 200,
        "request_type": "CHECK", "written_back": true,
    }));
    assert_eq!(methods(&rig), [Method::Check]);
    assert!(!rig.dir.path().join("public").exists());
    assert!(rig.bench.writes().is_empty(), "what a server says of a file is not told to CKAN");
    assert_eq!(rig.bench.log()[0].level, Level::Info);
    assert_eq!(rig.run(), nothing_changed());
}

#[test]
fn a_broken_link_is_a_result_here_too() {
    let rig = rig();
    rig.bench.web(URL).status(404);
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 12, "is_broken": true, "http_status": 404, "request_type": "CHECK" }));
}

#[test]
fn a_head_that_is_the_same_again_is_no_change_and_the_look_is_recorded() {
    let rig = rig();
    rig.bench.web(URL).body(CSV).etag("\"e\"");
    assert_eq!(rig.run(), done());
    rig.come_due();
    rig.edit_record(|record| record["is_broken"] = json!(true));
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({ "status_id": 1, "is_broken": false }));
    let changed = rig.record()["content_changed_at"].clone();

    rig.bench.web(URL).body("a,b\n1,2\n").etag("\"f\"");
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({ "status_id": 0, "size": 8 }));
    assert_ne!(rig.record()["content_changed_at"], changed);
}

#[test]
fn a_short_page_in_the_place_of_a_file_is_looked_into() {
    let rig = rig();
    rig.bench.web(URL).content_type("text/html").body("<!DOCTYPE html><title>404 Not Found</title>");
    assert_eq!(rig.run(), done());
    let reason = "an HTML page came in the place of a CSV file: \"404 Not Found\"";
    rig.check_record(json!({ "status_id": 12, "is_broken": true, "reason": reason }));
    assert_eq!(methods(&rig), [Method::Check, Method::Get]);
}

#[test]
fn a_long_page_and_a_page_that_was_declared_are_not() {
    for (format, body) in [("CSV", "x".repeat(70_000)), ("HTML", "<title>404</title>".to_owned())] {
        let rig = rig();
        rig.set_resource("format", json!(format));
        rig.bench.web(URL).content_type("text/html").body(body);
        assert_eq!(rig.run(), done());
        rig.check_record(json!({ "is_broken": false }));
        assert_eq!(methods(&rig), [Method::Check], "{format}");
    }
}

#[test]
fn an_empty_file_is_broken() {
    let rig = rig();
    rig.bench.web(URL).body("");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 12, "reason": "Content-length after streaming was 0" }));
}

#[test]
fn a_copy_of_an_earlier_mode_is_not_spoken_of() {
    let mut rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig.reset(json!({ "mode": "check" }));
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({ "cache_filepath": null, "hash": null, "size": 19 }));

    rig.reset(json!({}));
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({ "status_id": 0, "hash": CSV_SHA256 }));
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
}

#[test]
fn a_copy_of_an_earlier_mode_is_taken_back_all_the_same() {
    for (field, value) in [("private", json!(true)), ("state", json!("deleted"))] {
        let mut rig = Rig::new(json!([resource(URL)]));
        rig.bench.web(URL).body(CSV);
        assert_eq!(rig.run(), done());
        rig.reset(json!({ "mode": "check" }));
        rig.edit(|dataset| dataset[field] = value);
        rig.run().unwrap();
        assert_eq!(rig.files(), [""; 0], "{field}");
    }
}
