//! Which datasets are looked at.

use super::*;
use ckan_worker_plugin::Class;
use ckan_worker_testing::{package_new, resource_changed};

#[test]
fn package_and_resource_notifications_lead_to_the_same_work() {
    for event in [package_new(), package_changed(), resource_changed(), recheck_event()] {
        let rig = Rig::new(json!([resource(URL)]));
        rig.bench.web(URL).body(CSV);
        assert_eq!(rig.bench.consume(&rig.archive, event), done());
        rig.check_record(json!({ "status_id": 0 }));
    }
}

#[test]
fn a_dataset_that_never_was_is_skipped() {
    let rig = Rig::new(json!([]));
    let event = package_changed().payload(r#"{"id": "no-such-dataset"}"#);
    let outcome = rig.bench.consume(&rig.archive, event);
    assert_eq!(outcome, Ok(Outcome::skipped("the dataset does not exist (any more)")));
    assert!(rig.bench.keys().is_empty());
}

#[test]
fn a_failing_ckan_fails_the_run() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.ckan().fail("package_show", Error::retryable("503").with_code("ckan.unavailable"));
    assert_eq!(rig.run().unwrap_err().code(), "ckan.unavailable");
    assert!(rig.bench.fetched().is_empty());
}

#[test]
fn drafts_are_left_alone() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.edit(|dataset| dataset["state"] = json!("draft"));
    assert_eq!(rig.run(), Ok(Outcome::skipped("the dataset is not published: its state is \"draft\"")));
    assert!(rig.bench.fetched().is_empty());
}

#[test]
fn a_deleted_resource_is_left_alone() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.set_resource("state", json!("deleted"));
    assert_eq!(rig.run(), nothing_changed());
    assert!(rig.bench.fetched().is_empty());
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
