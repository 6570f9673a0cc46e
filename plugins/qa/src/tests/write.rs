//! What CKAN is told, and what costs nothing.

use super::*;
use ckan_worker_plugin::serde_json;
use ckan_worker_testing::Request;

const REASON: &str = "By its content it is CSV, which scores 3.";

fn with(settings: Value) -> Rig {
    let rig = Rig::with(json!([resource(URL)]), settings);
    rig.bench.web(URL).body(CSV);
    rig
}

fn not_authorized() -> Error {
    Error::permanent("Access denied").with_code("ckan.not-authorized")
}

#[test]
fn a_task_status_tells_ckan_in_the_words_of_ckanext_qa() {
    let rig = with(json!({}));
    assert_eq!(rig.run(), done());
    let writes = rig.bench.writes();
    let [Request { action, parameters }] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!(action, "task_status_update");
    let value: Value = serde_json::from_str(parameters["value"].as_str().unwrap()).unwrap();
    assert_eq!(value, json!({ "openness_score": 3, "openness_score_reason": REASON, "format": "CSV" }));
    for (field, expected) in [
        ("entity_id", RESOURCE_ID),
        ("entity_type", "resource"),
        ("task_type", "qa"),
        ("key", "status"),
        ("state", "complete"),
        ("error", ""),
    ] {
        assert_eq!(parameters[field], expected, "{field}");
    }
    let updated = rig.record()["updated"].as_str().unwrap().trim_end_matches('Z').to_owned();
    assert_eq!(parameters["last_updated"], updated);
}

#[test]
fn ckan_is_told_once_and_again_when_the_result_differs() {
    let rig = with(json!({}));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.run(), nothing_changed());
    rig.edit(|dataset| dataset["title"] = json!("Trees, renamed"));
    assert_eq!(rig.run(), nothing_changed());
    assert_eq!((rig.bench.writes().len(), rig.bench.fetched().len()), (1, 1));
    // Looked at again, and the same.
    rig.edit(|dataset| dataset["resources"][0]["last_modified"] = json!("2026-01-01"));
    assert_eq!(rig.run(), done());
    assert_eq!((rig.bench.writes().len(), rig.bench.fetched().len()), (1, 2));
    // Another file.
    rig.bench.web(URL).body("%PDF-1.4\n");
    rig.edit(|dataset| dataset["resources"][0]["last_modified"] = json!("2026-02-02"));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.writes().len(), 2);
}

#[test]
fn a_token_that_may_not_write_is_warned_of_once_and_results_are_kept() {
    let rig = with(json!({}));
    rig.bench.ckan().fail("task_status_update", not_authorized());
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "openness_score": 3, "told": false }));
    rig.edit(|dataset| dataset["resources"][0]["last_modified"] = json!("2026-01-01"));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.run(), nothing_changed());
    assert_eq!(rig.bench.writes().len(), 1, "CKAN is not asked again");
    let warnings = rig.bench.log().into_iter().filter(|line| line.level == Level::Warn).count();
    assert_eq!(warnings, 1);

    // The next start may have another token.
    let again: Qa = rig.bench.create(json!({ "archive_dir": rig.dir.path() })).unwrap();
    assert_eq!(rig.bench.consume(&again, package_changed()), done());
    rig.check_record(json!({ "told": true }));
}

#[test]
fn a_portal_that_does_not_know_task_statuses_is_not_asked_again() {
    let rig = with(json!({}));
    let unknown = Error::permanent("Action name not known: task_status_update").with_code("ckan.bad-request");
    rig.bench.ckan().fail("task_status_update", unknown);
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "openness_score": 3, "told": false }));
    assert_eq!(rig.run(), nothing_changed());
    assert_eq!(rig.bench.writes().len(), 1);
}

#[test]
fn a_failing_ckan_fails_the_run_and_the_next_makes_it_good() {
    let rig = with(json!({}));
    rig.bench.ckan().fail("task_status_update", Error::retryable("503").with_code("ckan.unavailable"));
    assert_eq!(rig.run().unwrap_err().code(), "ckan.unavailable");
    assert!(rig.bench.keys().is_empty());
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "told": true }));
}

#[test]
fn fields_of_the_resource_are_written_with_one_revision_and_their_echo_is_quiet() {
    let rig = with(json!({ "write": "resource" }));
    assert_eq!(rig.run(), done());
    let expected = json!({
        "match": { "id": PACKAGE_ID },
        format!("update__resources__{RESOURCE_ID}"): { "openness_score": 3, "openness_score_reason": REASON },
    });
    assert_eq!(rig.bench.writes(), [Request { action: "package_revise".to_owned(), parameters: expected }]);
    assert_eq!(rig.run(), nothing_changed());
    assert_eq!(rig.bench.writes().len(), 1);
}

#[test]
fn nothing_is_written_where_nothing_is_wanted() {
    let rig = with(json!({ "write": "none" }));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.run(), nothing_changed());
    assert!(rig.bench.writes().is_empty());
    rig.check_record(json!({ "openness_score": 3, "told": false }));
}

#[test]
fn what_is_said_of_a_resource_can_be_searched_for() {
    let rig = with(json!({}));
    rig.edit(|dataset| dataset["resources"][0]["name"] = json!("Trees\r\nforged: line"));
    assert_eq!(rig.run(), done());
    let line = &rig.bench.log()[0];
    assert_eq!(line.message, format!("Trees  forged: line: openness 3: {REASON}"));
    let expected = [
        ("resource", RESOURCE_ID),
        ("name", "Trees  forged: line"),
        ("openness_score", "3"),
        ("reason", REASON),
        ("format", "CSV"),
        ("container", ""),
        ("rule", "content"),
        ("declared", "CSV"),
    ];
    let expected = expected.map(|(field, value)| (field.to_owned(), value.to_owned())).into_iter().collect();
    assert_eq!(line.fields, expected);
}
