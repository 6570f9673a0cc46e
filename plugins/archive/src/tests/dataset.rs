//! Which datasets are archived, and when.

use std::time::Duration;

use super::*;
use ckan_worker_plugin::Class;
use ckan_worker_testing::{Event, package_new, resource_changed};

fn not_found() -> Error {
    Error::permanent("Not found").with_code("ckan.not-found")
}

#[test]
fn package_and_resource_notifications_lead_to_the_same_work() {
    for event in [package_new(), package_changed(), resource_changed()] {
        let rig = Rig::new(json!([resource(URL)]));
        rig.bench.web(URL).body(CSV);
        assert_eq!(rig.bench.consume(&rig.archive, event), done());
        rig.check_record(json!({ "status_id": 0 }));
    }
}

#[test]
fn a_dataset_that_is_announced_before_it_is_there_is_waited_for() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    rig.bench.ckan().fail("package_show", not_found());
    rig.bench.ckan().fail("package_show", not_found());
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.slept(), [Duration::from_millis(100), Duration::from_millis(200)]);
}

#[test]
fn a_dataset_that_does_not_come_is_skipped_after_two_seconds() {
    let rig = Rig::new(json!([]));
    let event = package_changed().payload(r#"{"id": "no-such-dataset"}"#);
    let outcome = rig.bench.consume(&rig.archive, event);
    assert_eq!(outcome, Ok(Outcome::skipped("the dataset does not exist (any more)")));
    let waited: Duration = rig.bench.slept().iter().sum();
    assert!((Duration::from_millis(1500)..Duration::from_millis(2500)).contains(&waited), "{waited:?}");
}

#[test]
fn a_change_that_is_announced_before_it_is_there_is_waited_for() {
    let payload = |id: &str, changed: &str| {
        json!({ "id": id, "package_id": PACKAGE_ID, "metadata_modified": changed }).to_string()
    };
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    rig.edit(|dataset| {
        dataset["metadata_modified"] = json!("2026-01-01T00:00:00.5");
        dataset["resources"][0]["metadata_modified"] = json!("2026-01-01T00:00:00");
    });
    let waits = |event: Event| {
        rig.bench.forget();
        rig.bench.consume(&rig.archive, event).unwrap();
        rig.bench.slept().len()
    };
    assert_eq!(waits(package_changed().payload(payload(PACKAGE_ID, "2026-01-01T00:00:00.5"))), 0);
    assert_eq!(waits(package_changed().payload(payload(PACKAGE_ID, "2026-01-01T00:00:00.6"))), 5);
    assert_eq!(waits(resource_changed().payload(payload(RESOURCE_ID, "2026-01-01T00:00:00"))), 0);
    assert_eq!(waits(resource_changed().payload(payload(RESOURCE_ID, "2026-01-01T00:00:00.1"))), 5);
    assert_eq!(waits(resource_changed().payload(payload("gone", "2026-01-01T00:00:00.1"))), 0);
}

#[test]
fn a_failing_ckan_fails_the_run() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.ckan().fail("package_show", Error::retryable("503").with_code("ckan.unavailable"));
    assert_eq!(rig.run().unwrap_err().code(), "ckan.unavailable");
    assert!(rig.bench.fetched().is_empty());
}

#[test]
fn deleted_datasets_and_drafts_are_left_alone() {
    for state in ["deleted", "draft"] {
        let rig = Rig::new(json!([resource(URL)]));
        rig.edit(|dataset| dataset["state"] = json!(state));
        let reason = format!("the dataset is not published: its state is {state:?}");
        assert_eq!(rig.run(), Ok(Outcome::skipped(reason)));
        assert!(rig.bench.fetched().is_empty());
    }
}

#[test]
fn a_deleted_resource_is_left_alone() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.edit(|dataset| dataset["resources"][0]["state"] = json!("deleted"));
    assert_eq!(rig.run(), nothing_changed());
}

#[test]
fn nothing_of_a_private_dataset_is_in_the_directory_before_or_after_it_was_public() {
    let skipped = || Ok(Outcome::skipped("chose not to download: the dataset is private"));
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    let set_private = |private: bool| rig.edit(|dataset| dataset["private"] = json!(private));

    set_private(true);
    assert_eq!(rig.run(), skipped());
    assert!(rig.bench.fetched().is_empty() && rig.files().is_empty());
    assert!(rig.bench.logged().is_empty(), "a log is no place for what is private");

    set_private(false);
    assert_eq!(rig.run(), done());
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);

    set_private(true);
    assert_eq!(rig.run(), skipped());
    assert!(!rig.place().exists());
    assert_eq!(
        rig.bench.logged().last().unwrap(),
        "dataset trees is private: removed what was kept of it, resources: 1"
    );
}

#[test]
fn a_dataset_id_that_is_none_is_refused_before_anything_is_asked() {
    let rig = Rig::new(json!([]));
    for id in ["../../x", "", "a/b", "x\u{0}y"] {
        let event = package_changed().payload(json!({ "id": id }).to_string());
        let error = rig.bench.consume(&rig.archive, event).unwrap_err();
        assert_eq!((error.class(), error.code()), (Class::Permanent, "payload"), "{id:?}");
    }
    let nobodys = Event::new("Resource", "changed", r#"{"id": "abcdef"}"#);
    assert_eq!(rig.bench.consume(&rig.archive, nobodys).unwrap_err().class(), Class::Permanent);
    assert!(rig.bench.calls().is_empty());
}

#[test]
fn a_resource_id_that_is_no_path_is_refused_and_its_siblings_are_not() {
    let mut hostile = resource(URL);
    hostile["id"] = json!("../../x");
    let rig = Rig::new(json!([hostile, resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [URL]);
    assert_eq!(rig.bench.logged()[0], "Trees: Chose not to download: its id is neither a UUID nor a name");
    rig.check_record(json!({ "status_id": 0 }));
}

#[test]
fn a_worker_without_a_directory_is_not_made() {
    let missing = Bench::default().create::<Archive>(json!({})).err().unwrap();
    assert_eq!(missing.message(), "dir: this setting is missing");
    let misspelt = Bench::default().create::<Archive>(json!({ "dir": "/x", "byte_max": "1" })).err().unwrap();
    assert_eq!(misspelt.message(), "byte_max: unknown setting (a similar setting exists: bytes_max)");
}
