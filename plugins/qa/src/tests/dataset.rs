//! Which datasets are scored, and when.

use super::*;
use ckan_worker_plugin::Class;
use ckan_worker_testing::{Event, package_new, resource_changed};

const SECOND_ID: &str = "b1b2c3d4-6a5b-4ad0-9c3e-000000000002";

fn second(url: &str) -> Value {
    let mut second = resource(url);
    second["id"] = json!(SECOND_ID);
    second
}

fn purged() -> Event {
    Event::new("Package", "deleted", json!({ "id": PACKAGE_ID }).to_string())
}

#[test]
fn package_and_resource_notifications_and_rechecks_lead_to_the_same_work() {
    let recheck = Event::new("Package", "recheck", json!({ "id": PACKAGE_ID }).to_string());
    for event in [package_new(), package_changed(), resource_changed(), recheck] {
        let rig = Rig::of_one(URL);
        rig.bench.web(URL).body(CSV);
        assert_eq!(rig.bench.consume(&rig.qa, event), done());
        rig.check_record(json!({ "openness_score": 3, "format": "CSV", "rule": "content", "package_id": PACKAGE_ID }));
    }
}

#[test]
fn a_dataset_scores_as_its_best_resource() {
    let rig = Rig::new(json!([resource(URL), second("http://data.example/paper")]));
    rig.bench.web(URL).body(CSV);
    rig.bench.web("http://data.example/paper").body("%PDF-1.4\n");
    assert_eq!(rig.run(), done());
    let record = rig.dataset_record();
    assert_eq!(record["openness_score"], 3);
    assert_eq!(record["resources"], json!([RESOURCE_ID, SECOND_ID]));
    let summary = "dataset trees: openness 3; 2 scored, 0 unchanged, 0 postponed, 0 refused, 2 written back";
    assert_eq!(rig.bench.logged().last().unwrap(), summary);
}

#[test]
fn a_dataset_without_resources_has_no_score() {
    let rig = Rig::new(json!([]));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.dataset_record()["openness_score"], Value::Null);
    assert_eq!(rig.run(), nothing_changed());
}

#[test]
fn without_an_open_licence_the_score_is_0_and_the_reason_says_what_it_would_be() {
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig.edit(|dataset| dataset["isopen"] = json!(false));
    assert_eq!(rig.run(), done());
    rig.check_record(json!({
        "openness_score": 0, "format": "CSV",
        "openness_score_reason":
            "The licence is not open, so the score is 0. By its content it is CSV, which scores 3.",
    }));
    assert_eq!(rig.dataset_record()["openness_score"], 0);
}

#[test]
fn a_licence_that_the_operator_calls_open_is_open() {
    let rig = Rig::with(json!([resource(URL)]), json!({ "licenses_open": "ours, theirs" }));
    rig.bench.web(URL).body(CSV);
    rig.edit(|dataset| {
        dataset["isopen"] = json!(false);
        dataset["license_id"] = json!("theirs");
    });
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "openness_score": 3 }));
}

#[test]
fn what_the_operator_says_of_a_format_counts_more_than_any_rule() {
    let turtle = "@prefix foaf: <http://xmlns.com/foaf/0.1/> .\n<http://a.example/x> foaf:name \"X\" .\n";
    let rig = Rig::with(json!([resource(URL)]), json!({ "scores": "TTL=2, CSV = 1" }));
    rig.bench.web(URL).body(turtle);
    assert_eq!(rig.run(), done());
    rig.check_record(json!({
        "openness_score": 2, "openness_score_reason": "By its content it is TTL, which scores 2.",
    }));
}

#[test]
fn a_dataset_that_is_not_there_is_forgotten() {
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.keys().len(), 2);
    let gone = || Ok(Outcome::skipped("the dataset does not exist (any more)"));
    assert_eq!(rig.bench.consume(&rig.qa, purged()), gone());
    assert!(rig.bench.keys().is_empty());
    assert_eq!(rig.bench.consume(&rig.qa, package_changed().payload(r#"{"id": "no-such-dataset"}"#)), gone());
}

#[test]
fn a_deleted_dataset_is_forgotten_and_a_draft_is_left_alone() {
    for (state, keys) in [("deleted", 0), ("draft", 2)] {
        let rig = Rig::of_one(URL);
        rig.bench.web(URL).body(CSV);
        assert_eq!(rig.run(), done());
        rig.edit(|dataset| dataset["state"] = json!(state));
        let reason = format!("the dataset is not published: its state is {state:?}");
        assert_eq!(rig.run(), Ok(Outcome::skipped(reason)));
        assert_eq!(rig.bench.keys().len(), keys, "{state}");
    }
}

#[test]
fn a_private_dataset_is_not_looked_at_and_nothing_of_it_stays() {
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig.bench.forget();
    rig.edit(|dataset| dataset["private"] = json!(true));
    assert_eq!(rig.run(), Ok(Outcome::skipped("the dataset is private")));
    assert!(rig.bench.keys().is_empty() && rig.bench.fetched().is_empty() && rig.bench.logged().is_empty());
}

#[test]
fn a_resource_that_is_gone_is_forgotten() {
    let rig = Rig::new(json!([resource(URL), second("http://data.example/2")]));
    rig.bench.web(URL).body(CSV);
    rig.bench.web("http://data.example/2").body(CSV);
    assert_eq!(rig.run(), done());
    rig.edit(|dataset| dataset["resources"][1]["state"] = json!("deleted"));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.keys(), [format!("dataset/{PACKAGE_ID}"), format!("resource/{RESOURCE_ID}")]);
}

#[test]
fn a_deleted_resource_is_forgotten_at_once() {
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig.edit(|dataset| dataset["resources"] = json!([]));
    let deleted = json!({ "id": RESOURCE_ID, "package_id": PACKAGE_ID }).to_string();
    assert_eq!(rig.bench.consume(&rig.qa, Event::new("Resource", "deleted", deleted)), done());
    assert_eq!(rig.bench.keys(), [format!("dataset/{PACKAGE_ID}")]);
}

#[test]
fn a_deleted_resource_that_belongs_to_nothing_is_forgotten() {
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    let deleted = Event::new("Resource", "deleted", json!({ "id": RESOURCE_ID }).to_string());
    assert_eq!(rig.bench.consume(&rig.qa, deleted), done());
    assert_eq!(rig.record(), Value::Null);
}

#[test]
fn what_an_older_version_remembered_in_another_shape_is_scored_anew() {
    let rig = Rig::of_one(URL);
    rig.bench.web(URL).body(CSV);
    for key in [format!("resource/{RESOURCE_ID}"), format!("dataset/{PACKAGE_ID}")] {
        rig.bench.remember(&key, json!({ "score": "three" }));
    }
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "openness_score": 3 }));
}

#[test]
fn an_id_that_is_none_is_refused() {
    let rig = Rig::new(json!([]));
    for id in ["../../x", "", "a/b", "x\u{0}y"] {
        let event = package_changed().payload(json!({ "id": id }).to_string());
        let error = rig.bench.consume(&rig.qa, event).unwrap_err();
        assert_eq!((error.class(), error.code()), (Class::Permanent, "payload"), "{id:?}");
    }
    assert!(rig.bench.calls().is_empty());

    let mut hostile = resource(URL);
    hostile["id"] = json!("../../x");
    let rig = Rig::new(json!([hostile, resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.logged()[0], "Trees: refused: its id is neither a UUID nor a name");
    rig.check_record(json!({ "openness_score": 3 }));
}

#[test]
fn settings_have_defaults_and_wrong_ones_are_refused() {
    assert!(Bench::default().create::<Qa>(json!({})).is_ok());
    let refusal = |settings: Value| Bench::default().create::<Qa>(settings).err().unwrap().message().to_owned();
    assert_eq!(refusal(json!({ "write": "all" })), r#"write: expected one of task_status, resource, none, got "all""#);
    assert!(refusal(json!({ "scores": "CSV" })).starts_with("scores: expected a format and its score"));
    let head_bytes = "head_bytes: expected 4096 to 262144 bytes, got 10";
    assert_eq!(refusal(json!({ "head_bytes": "10" })), head_bytes);
    let similar = "archiv_dir: unknown setting (a similar setting exists: archive_dir)";
    assert_eq!(refusal(json!({ "archiv_dir": "/x" })), similar);
}
