//! What is remembered from one run to the next, and what an older version left.

use super::*;

/// Forgets all but what lies beside the copies, as when the host's store was lost or is new.
fn with_lost_memory(rig: &mut Rig) {
    let (dataset, page) = (rig.dataset(), CSV);
    rig.bench = Bench::default();
    rig.bench.ckan().dataset(dataset);
    rig.bench.web(URL).body(page);
}

#[test]
fn records_lie_under_their_dataset_so_that_a_report_can_read_all_of_them_or_those_of_one() {
    let rig = Rig::two();
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.keys(), [key(RESOURCE_ID), key(SECOND_ID)]);
    assert_eq!(key(RESOURCE_ID), "resource/5f0c3f10-6a5b-4ad0-9c3e-000000000001/a1b2c3d4-6a5b-4ad0-9c3e-000000000001");
}

#[test]
fn the_records_beside_the_copies_are_taken_over() {
    let mut rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    let before = rig.record();
    with_lost_memory(&mut rig);
    assert_eq!(rig.run(), nothing_changed());
    assert!(rig.bench.fetched().is_empty());
    assert_eq!(rig.record(), before);
    assert!(!rig.bench.rechecks().is_empty());
}

#[test]
fn a_record_of_an_older_version_is_understood() {
    let mut rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV).etag("\"e\"");
    assert_eq!(rig.run(), done());
    let mut old = rig.record_file();
    for field in [
        "redirects",
        "http_status",
        "duration_ms",
        "request_type",
        "cache_url",
        "cache_last_updated",
        "cached_from",
        "hash_algorithm",
        "content_changed_at",
        "next_check_at",
        "private",
        "deleted_at",
        "not_stored",
    ] {
        old.as_object_mut().unwrap().remove(field).expect(field);
    }
    fs::write(rig.place().join("archive.json"), old.to_string()).unwrap();
    with_lost_memory(&mut rig);
    assert_eq!(rig.run(), nothing_changed());
    rig.check_record(json!({ "cached_from": URL, "hash_algorithm": "sha256", "etag": "\"e\"" }));
    assert!(rig.record()["next_check_at"].is_string(), "it comes due by itself from now on");

    rig.bench.web(URL).etag("\"e\"");
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({ "status_id": 1, "http_status": 304 }));
}

#[test]
fn a_record_that_cannot_be_read_counts_as_none() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig.bench.remember(&key(RESOURCE_ID), json!("what is this"));
    fs::write(rig.place().join("archive.json"), "not JSON").unwrap();
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched().len(), 2);
    rig.check_record(json!({ "status_id": 0 }));
}

#[test]
fn a_record_file_that_is_gone_is_no_loss() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    fs::remove_file(rig.place().join("archive.json")).unwrap();
    assert_eq!(rig.run(), nothing_changed());
    assert_eq!(rig.bench.fetched().len(), 1);
}

#[test]
fn a_record_beside_a_copy_counts_only_for_its_own_dataset() {
    let mut rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    let mut record = rig.record_file();
    record["package_id"] = json!("another-dataset");
    fs::write(rig.place().join("archive.json"), record.to_string()).unwrap();
    with_lost_memory(&mut rig);
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [URL]);
    rig.check_record(json!({ "package_id": PACKAGE_ID }));
}
