//! What becomes of the copies of what is deleted.

use super::*;

fn event(routing_key: &str, operation: &str) -> Event {
    let id = if routing_key == "Package" { PACKAGE_ID } else { RESOURCE_ID };
    let payload = json!({ "id": id, "package_id": PACKAGE_ID, "resources": [{ "id": RESOURCE_ID }] });
    Event::new(routing_key, operation, payload.to_string())
}

/// A worker that has a copy.
fn with_copy(settings: Value) -> Rig {
    let rig = Rig::set(settings, json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig
}

impl Rig {
    fn delete(&self) {
        self.edit(|dataset| dataset["state"] = json!("deleted"));
    }
}

#[track_caller]
fn check_buried(rig: &Rig) {
    assert_eq!(rig.files(), [""; 0]);
    rig.check_record(json!({ "cache_filepath": null, "hash": null, "inputs": null, "next_check_at": null }));
    assert!(rig.record()["deleted_at"].is_string());
    assert!(rig.bench.rechecks().is_empty());
}

#[test]
fn the_copies_of_a_deleted_dataset_are_removed_and_the_record_says_when() {
    for operation in ["changed", "deleted"] {
        let rig = with_copy(json!({}));
        rig.delete();
        assert_eq!(rig.bench.consume(&rig.archive, event("Package", operation)), done());
        check_buried(&rig);
        assert_eq!(rig.bench.logged().last().unwrap(), "dataset trees: resources that were deleted: 1");
        let again = Ok(Outcome::skipped("the dataset is deleted, and nothing was kept of it"));
        assert_eq!(rig.run(), again);
    }
}

#[test]
fn the_copies_of_a_dataset_that_ckan_does_not_know_any_more_are_removed() {
    let rig = with_copy(json!({}));
    rig.bench.ckan().fail("package_show", not_found());
    assert_eq!(rig.recheck(), done());
    check_buried(&rig);
}

#[test]
fn the_copies_of_a_dataset_that_is_hidden_from_us_are_removed_whatever_else_is_asked_for() {
    let rig = with_copy(json!({ "deleted": "keep" }));
    for _ in 0..2 {
        rig.bench.ckan().fail("package_show", Error::permanent("no").with_code("ckan.not-authorized"));
    }
    assert_eq!(rig.run().unwrap_err().code(), "ckan.not-authorized", "a change of what is hidden is no deletion");
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
    assert_eq!(rig.bench.consume(&rig.archive, event("Package", "deleted")), done());
    check_buried(&rig);
}

#[test]
fn they_stay_where_that_is_asked_for() {
    let rig = with_copy(json!({ "deleted": "keep" }));
    rig.delete();
    assert_eq!(rig.run(), done());
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
    rig.check_record(json!({ "hash": CSV_SHA256, "next_check_at": null }));
    assert!(rig.record()["deleted_at"].is_string());
    assert_eq!(rig.record(), rig.record_file());
}

#[test]
fn a_dataset_that_comes_back_is_archived_again() {
    let rig = with_copy(json!({}));
    rig.delete();
    assert_eq!(rig.run(), done());
    rig.edit(|dataset| dataset["state"] = json!("active"));
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "deleted_at": null, "status_id": 0, "hash": CSV_SHA256 }));
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
}

#[test]
fn a_resource_that_left_its_dataset_is_buried_and_its_sibling_is_not() {
    let rig = Rig::two();
    assert_eq!(rig.run(), done());
    rig.edit(|dataset| drop(dataset["resources"].as_array_mut().unwrap().remove(0)));
    assert_eq!(rig.bench.consume(&rig.archive, event("Resource", "deleted")), done());
    assert_eq!(rig.files(), [""; 0]);
    assert!(rig.record()["deleted_at"].is_string());
    let sibling = rig.bench.remembered(&key(SECOND_ID)).unwrap();
    assert_eq!((&sibling["deleted_at"], &sibling["is_broken"]), (&Value::Null, &json!(false)));
    assert_eq!(rig.run(), nothing_changed());
}

#[test]
fn a_tombstone_is_not_remembered_for_ever() {
    let rig = Rig::two();
    assert_eq!(rig.run(), done());
    rig.edit(|dataset| drop(dataset["resources"].as_array_mut().unwrap().remove(0)));
    assert_eq!(rig.run(), done());
    rig.edit_record(|record| record["deleted_at"] = json!("2001-01-01T00:00:00Z"));
    assert_eq!(rig.run(), nothing_changed());
    assert_eq!(rig.bench.keys(), [key(SECOND_ID)]);
}

#[test]
fn what_is_announced_as_deleted_and_still_there_is_looked_for_again_soon() {
    for class in ["Package", "Resource"] {
        let rig = with_copy(json!({}));
        assert_eq!(rig.bench.consume(&rig.archive, event(class, "deleted")), nothing_changed());
        assert_eq!(rig.bench.rechecks()[PACKAGE_ID].as_secs(), 30, "{class}");
        assert_eq!(rig.files().len(), 2);
    }
}

#[test]
fn a_copy_from_before_there_was_a_memory_is_found_by_the_notification() {
    let mut rig = with_copy(json!({}));
    rig.bench = Bench::default();
    let gone = || Ok(Outcome::skipped("the dataset does not exist (any more)"));
    let others = Event::new(
        "Package",
        "deleted",
        json!({ "id": "other-dataset", "resources": [{ "id": RESOURCE_ID }] }).to_string(),
    );
    assert_eq!(rig.bench.consume(&rig.archive, others), gone(), "it is not that dataset's");
    assert_eq!(rig.files().len(), 2);
    assert_eq!(rig.bench.consume(&rig.archive, event("Package", "deleted")), done());
    assert_eq!(rig.files(), [""; 0]);
}
