//! The method names of the first client, and the action that each of them calls.
#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test that cannot go on has failed, and says what it expects where it expects it"
)]

use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::{Legacy, Value};
use ckan_worker_testing::{Bench, Event, PACKAGE_ID};

/// Calls the method that the operation names.
struct Caller;

impl Worker for Caller {
    type Config = NoSettings;

    fn create(_: NoSettings, _: &Host<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        let ckan = host.ckan().legacy();
        let answer = match notification.operation() {
            "package_register_get" => json!(ckan.package_register_get()?),
            "package_register_post" => ckan.package_register_post(json!({ "name": "rivers" }))?,
            "package_entity_get" => ckan.package_entity_get(PACKAGE_ID)?,
            "package_entity_put" => ckan.package_entity_put("rivers", json!({ "title": "Rivers", "id": "other" }))?,
            "package_entity_delete" => json!(ckan.package_entity_delete("rivers")?),
            "package_relationship_register_get" => {
                ckan.package_relationship_register_get("a", Some("depends_on"), None)?
            }
            "package_relationship_entity_post" => ckan.package_relationship_entity_post("a", "depends_on", "b", "c")?,
            "package_relationship_entity_put" => ckan.package_relationship_entity_put("a", "depends_on", "b", "d")?,
            "package_relationship_entity_delete" => {
                json!(ckan.package_relationship_entity_delete("a", "depends_on", "b")?)
            }
            "tag_register_get" => json!(ckan.tag_register_get()?),
            "tag_entity_get" => ckan.tag_entity_get("water")?,
            "group_register_get" => json!(ckan.group_register_get()?),
            "group_register_post" => ckan.group_register_post(json!({ "name": "nature" }))?,
            "group_entity_get" => ckan.group_entity_get("nature")?,
            "group_entity_put" => ckan.group_entity_put("nature", json!({ "title": "Nature" }))?,
            "group_entity_delete" => json!(ckan.group_entity_delete("nature")?),
            "package_search" => {
                let found: Result<Vec<Value>> = ckan.package_search("water", json!({ "rows": 2 }))?.collect();
                json!(found?)
            }
            "add_package_resource" => {
                ckan.add_package_resource("rivers", "http://x/a.csv", json!({ "format": "CSV" }))?
            }
            "package_list" => json!(ckan.package_list()?),
            "package_show" => ckan.package_show(PACKAGE_ID)?,
            "status_show" => ckan.status_show()?,
            "ckan_version" => json!(ckan.ckan_version()?),
            other => return Err(Error::permanent(format!("there is no method {other}"))),
        };
        host.info(&answer.to_string());
        Ok(Outcome::Done)
    }
}

/// Calls a method; the action answers `answer`. Says what was called, and what the method made of the answer.
#[track_caller]
fn check(method: &str, answer: Value, action: &str, parameters: Value, made: Value) {
    let bench = Bench::default();
    bench.ckan().answer(action, answer);
    bench.consume(&Caller, Event::new("Package", method, r#"{"id": "p"}"#)).unwrap();
    let calls = bench.calls();
    assert_eq!(calls.len(), 1, "{method}");
    assert_eq!((calls[0].action.as_str(), &calls[0].parameters), (action, &parameters), "{method}");
    assert_eq!(bench.logged(), [made.to_string()], "{method}");
}

/// For a method that hands the answer on as it is.
#[track_caller]
fn hands_on(method: &str, action: &str, parameters: Value) {
    let answer = json!({ "id": "x", "name": "as answered" });
    check(method, answer.clone(), action, parameters, answer);
}

#[test]
fn each_method_calls_its_action() {
    hands_on("package_register_post", "package_create", json!({ "name": "rivers" }));
    hands_on("package_entity_get", "package_show", json!({ "id": PACKAGE_ID }));
    hands_on("package_show", "package_show", json!({ "id": PACKAGE_ID }));
    hands_on("package_entity_put", "package_update", json!({ "id": "rivers", "title": "Rivers" }));
    hands_on(
        "package_relationship_register_get",
        "package_relationships_list",
        json!({ "id": "a", "id2": null, "rel": "depends_on" }),
    );
    let relation = json!({ "subject": "a", "type": "depends_on", "object": "b", "comment": "c" });
    hands_on("package_relationship_entity_post", "package_relationship_create", relation);
    let relation = json!({ "subject": "a", "type": "depends_on", "object": "b", "comment": "d" });
    hands_on("package_relationship_entity_put", "package_relationship_update", relation);
    hands_on("tag_entity_get", "tag_show", json!({ "id": "water", "include_datasets": true }));
    hands_on("group_register_post", "group_create", json!({ "name": "nature" }));
    hands_on("group_entity_get", "group_show", json!({ "id": "nature" }));
    hands_on("group_entity_put", "group_update", json!({ "id": "nature", "title": "Nature" }));
    let resource = json!({ "package_id": "rivers", "url": "http://x/a.csv", "format": "CSV" });
    hands_on("add_package_resource", "resource_create", resource);
    hands_on("status_show", "status_show", json!({}));
}

#[test]
fn lists_are_lists_of_names() {
    let names = json!(["a", "b"]);
    for (method, action) in [
        ("package_register_get", "package_list"),
        ("package_list", "package_list"),
        ("tag_register_get", "tag_list"),
        ("group_register_get", "group_list"),
    ] {
        check(method, names.clone(), action, json!({}), names.clone());
    }
}

#[test]
fn what_is_deleted_answers_nothing() {
    check("package_entity_delete", json!(null), "package_delete", json!({ "id": "rivers" }), json!(null));
    check("group_entity_delete", json!({}), "group_delete", json!({ "id": "nature" }), json!(null));
    let relation = json!({ "subject": "a", "type": "depends_on", "object": "b" });
    check("package_relationship_entity_delete", json!(null), "package_relationship_delete", relation, json!(null));
}

#[test]
fn the_version_is_told_unless_it_is_hidden() {
    check("ckan_version", json!({ "ckan_version": "2.12.0" }), "status_show", json!({}), json!("2.12.0"));
    check("ckan_version", json!({}), "status_show", json!({}), json!(null));
}

#[test]
fn a_search_goes_on_to_the_last_page() {
    let bench = Bench::default();
    bench.ckan().answer("package_search", json!({ "count": 0, "results": [] }));
    bench.consume(&Caller, Event::new("Package", "package_search", r#"{"id": "p"}"#)).unwrap();
    let query = json!({ "q": "water", "rows": 2, "sort": "id asc", "start": 0 });
    assert_eq!(bench.calls()[0].parameters, query);
    assert_eq!(bench.logged(), ["[]"]);
}

#[test]
fn an_id_is_told_from_a_name() {
    assert!(Legacy::is_id(PACKAGE_ID));
    assert!(Legacy::is_id("5F0C3F10-6A5B-4AD0-9C3E-000000000001"));
    for name in ["rivers", "", "5f0c3f10-6a5b-4ad0-9c3e-00000000000g", "5f0c3f106a5b4ad09c3e000000000001"] {
        assert!(!Legacy::is_id(name), "{name}");
    }
}
