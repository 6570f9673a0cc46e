//! What is written back to CKAN, and what costs nothing.

use super::*;
use ckan_worker_testing::Request;

fn writes_of(rig: &Rig) -> Vec<Request> {
    rig.bench.writes()
}

#[test]
fn one_revision_tells_ckan_about_all_resources_of_a_dataset() {
    let rig = Rig::two();
    assert_eq!(rig.run(), done());
    let second = json!({
        "hash": "f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310", "size": 8, "mimetype": "application/json",
    });
    let expected = json!({
        "match": { "id": PACKAGE_ID },
        format!("update__resources__{RESOURCE_ID}"): { "hash": CSV_SHA256, "size": 19, "mimetype": "text/csv" },
        format!("update__resources__{SECOND_ID}"): second,
    });
    assert_eq!(writes_of(&rig), [Request { action: "package_revise".to_owned(), parameters: expected }]);
    assert_eq!(rig.dataset()["resources"][0]["size"], 19);
    let summary = "dataset trees: 2 archived, 0 broken, 0 not kept, 0 postponed, 2 written back";
    assert_eq!(rig.bench.logged().last().unwrap(), summary);
}

#[test]
fn the_echo_of_a_write_back_is_quiet() {
    let rig = Rig::two();
    assert_eq!(rig.run(), done());
    rig.bench.forget();
    assert_eq!(rig.run(), nothing_changed());
    assert_eq!(rig.run(), nothing_changed());
    assert!(rig.bench.writes().is_empty() && rig.bench.fetched().is_empty() && rig.bench.logged().is_empty());
}

#[test]
fn an_edit_that_does_not_concern_the_files_fetches_nothing() {
    let rig = Rig::two();
    assert_eq!(rig.run(), done());
    rig.bench.forget();
    rig.edit(|dataset| dataset["title"] = json!("Trees, renamed"));
    rig.edit(|dataset| dataset["resources"][0]["description"] = json!("better"));
    assert_eq!(rig.run(), nothing_changed());
    assert!(rig.bench.fetched().is_empty());
}

#[test]
fn only_the_resource_that_changed_is_fetched_and_written_back() {
    for (field, value) in [("url", "http://data.example/2.csv"), ("format", "TXT"), ("last_modified", "2026-01-01")] {
        let rig = Rig::two();
        rig.bench.web("http://data.example/2.csv").body(CSV);
        assert_eq!(rig.run(), done());
        rig.bench.forget();
        rig.edit(|dataset| dataset["resources"][0][field] = json!(value));
        // The same content again: there is nothing to tell.
        assert_eq!(rig.run(), done());
        assert_eq!((rig.bench.fetched().len(), rig.bench.writes().len()), (1, 0), "{field}");

        rig.bench.web(URL).body("a,b\n1,2\n");
        rig.bench.web("http://data.example/2.csv").body("a,b\n1,2\n");
        rig.edit(|dataset| dataset["resources"][0]["last_modified"] = json!("2026-02-02"));
        assert_eq!(rig.run(), done());
        let parameters = &writes_of(&rig)[0].parameters;
        assert!(parameters.get(format!("update__resources__{RESOURCE_ID}")).is_some());
        assert!(parameters.get(format!("update__resources__{SECOND_ID}")).is_none());
    }
}

#[test]
fn what_ckan_knows_already_is_not_written_whether_it_is_a_number_or_a_text() {
    for size in [json!(19), json!("19")] {
        let rig = Rig::new(json!([resource(URL)]));
        rig.bench.web(URL).body(CSV);
        rig.edit(|dataset| {
            dataset["resources"][0]["hash"] = json!(CSV_SHA256);
            dataset["resources"][0]["mimetype"] = json!("text/csv");
            dataset["resources"][0]["size"] = size;
        });
        assert_eq!(rig.run(), done());
        assert!(rig.bench.writes().is_empty());
        rig.check_record(json!({ "written_back": true }));
    }
}

#[test]
fn a_write_back_that_failed_is_made_good_without_fetching_again() {
    let rig = Rig::two();
    rig.bench.ckan().fail("package_revise", Error::retryable("500").with_code("ckan.unavailable"));
    assert_eq!(rig.run().unwrap_err().code(), "ckan.unavailable");
    assert_eq!(rig.record(), Value::Null, "a run that failed remembers nothing, but beside its copies");
    check_fields(&rig.record_file(), &json!({ "status_id": 0, "written_back": false }));
    rig.bench.forget();

    assert_eq!(rig.run(), done());
    assert_eq!((rig.bench.fetched().len(), rig.bench.writes().len()), (0, 1));
    assert_eq!(rig.dataset()["resources"][0]["hash"], CSV_SHA256);
    assert_eq!(rig.run(), nothing_changed());
}

#[test]
fn a_write_back_that_failed_after_all_was_done_is_not_repeated() {
    let rig = Rig::two();
    rig.bench.ckan().fail("package_revise", Error::retryable("timeout").with_code("ckan.unavailable"));
    assert_eq!(rig.run().unwrap_err().code(), "ckan.unavailable");
    let done_all_the_same = rig.bench.writes().remove(0).parameters;
    for (place, id) in [RESOURCE_ID, SECOND_ID].into_iter().enumerate() {
        for (field, value) in done_all_the_same[format!("update__resources__{id}")].as_object().unwrap() {
            rig.edit(|dataset| dataset["resources"][place][field] = value.clone());
        }
    }
    rig.bench.forget();
    assert_eq!(rig.run(), nothing_changed());
    assert!(rig.bench.writes().is_empty());
    rig.check_record(json!({ "written_back": true }));
}

#[test]
fn what_somebody_sets_by_hand_is_left_alone_until_the_file_changes() {
    let rig = Rig::two();
    assert_eq!(rig.run(), done());
    let by_hand = json!("text/csv; header=present");
    rig.set_resource("mimetype", by_hand.clone());
    assert_eq!(rig.run(), nothing_changed());
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({ "status_id": 1, "http_status": 200 }));
    assert_eq!(rig.dataset()["resources"][0]["mimetype"], by_hand);

    rig.bench.web(URL).body("a,b\n1,2\n");
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    assert_eq!(rig.dataset()["resources"][0]["mimetype"], "text/csv");
}

#[test]
fn a_broken_link_writes_nothing_back() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).status(410);
    assert_eq!(rig.run(), done());
    assert!(rig.bench.writes().is_empty());
    assert_eq!(rig.run(), nothing_changed());
}

#[test]
fn a_copy_that_is_gone_is_fetched_again() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV).etag("\"e\"");
    assert_eq!(rig.run(), done());
    fs::remove_file(rig.place().join("trees.csv")).unwrap();
    assert_eq!(rig.run(), done());
    assert_eq!((rig.bench.fetched().len(), rig.bench.writes().len()), (2, 1));
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
}

#[test]
fn a_dataset_that_ckan_finds_invalid_does_not_fail_the_run_and_is_tried_again() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    let invalid = || Error::permanent("package_revise: title: Missing value").with_code("ckan.validation");
    rig.bench.ckan().fail("package_revise", invalid());
    assert_eq!(rig.run(), done());
    let reason = "result not stored: dataset invalid: package_revise: title: Missing value";
    rig.check_record(json!({ "status_id": 0, "written_back": false, "not_stored": reason }));
    assert_eq!(rig.bench.rechecks()[PACKAGE_ID].as_secs(), 3600, "whoever mends it need not tell us");
    assert_eq!(rig.record(), rig.record_file());
    assert!(rig.bench.logged().contains(&format!("dataset trees: {reason}")));

    rig.bench.ckan().fail("package_revise", invalid());
    assert_eq!(rig.run(), nothing_changed());
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "written_back": true, "not_stored": null }));
    assert_eq!((rig.bench.fetched().len(), rig.bench.writes().len()), (1, 3));
    assert_eq!(rig.dataset()["resources"][0]["hash"], CSV_SHA256);
}

#[test]
fn the_address_of_the_copy_is_written_back_where_one_is_set() {
    let mut rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV).etag("\"e\"");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "cache_url": null }));
    rig.reset(json!({ "ckanext-archiver.cache_url_root": "https://cache.example/" }));
    rig.come_due();
    assert_eq!(rig.run(), done());

    let url = format!("https://cache.example/a1/{RESOURCE_ID}/trees.csv");
    rig.check_record(json!({ "cache_url": url, "written_back": true, "status_id": 1 }));
    let resource = &rig.dataset()["resources"][0];
    assert_eq!(resource["cache_url"], url);
    let updated = rig.record()["cache_last_updated"].as_str().unwrap().to_owned();
    assert_eq!(resource["cache_last_updated"], updated[..19]);
    assert_eq!(rig.bench.writes().len(), 2);
}

#[test]
fn the_hash_may_be_the_one_that_ckanext_archiver_writes() {
    let mut rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV).etag("\"e\"");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "hash": CSV_SHA256, "hash_algorithm": "sha256" }));
    let changed = rig.record()["content_changed_at"].clone();

    rig.reset(json!({ "hash": "sha1" }));
    rig.come_due();
    assert_eq!(rig.run(), done());
    let sha1 = "e1676a35ba21d813d8826a39c740fc6c3eb59253";
    rig.check_record(json!({ "hash": sha1, "hash_algorithm": "sha1", "content_changed_at": changed }));
    assert_eq!(rig.dataset()["resources"][0]["hash"], rig.record()["hash"]);
}
