//! What an ordinary call writes, as far as its parameters and its answer say.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Parameters that name a thing, and are not written.
const NAMES: [&str; 2] = ["id", "package_id"];

/// Which fields of a dataset an action writes, as `notes` and `resources.*.hash`; empty if that cannot be told.
pub fn paths(action: &str, body: &Value) -> Vec<String> {
    let Some(body) = body.as_object() else { return Vec::new() };
    let mut paths = BTreeSet::new();
    match action {
        "package_patch" | "package_update" => of_package(body, &mut paths),
        "resource_patch" | "resource_update" => of_resource(body, &mut paths),
        "package_revise" => {
            for (key, value) in body {
                match key.strip_prefix("update__") {
                    Some(key) => of_key(key, value, &mut paths),
                    None if key == "update" => of_package(value.as_object().unwrap_or(&Map::new()), &mut paths),
                    None => {}
                }
            }
        }
        _ => {}
    }
    paths.into_iter().collect()
}

/// The dataset that an action is about, by its id or name, if its parameters say so.
pub fn package_of(action: &str, body: &Value) -> Option<String> {
    let id = match action {
        "package_revise" => {
            let matching = &body["match"];
            [&body["match__id"], &matching["id"], &body["match__name"], &matching["name"]]
                .into_iter()
                .find_map(Value::as_str)
        }
        "resource_create" | "resource_patch" | "resource_update" | "resource_delete" => body["package_id"].as_str(),
        _ if action.starts_with("package_") || action == "dataset_purge" => body["id"].as_str(),
        _ => None,
    };
    id.map(str::to_owned)
}

/// The dataset in the answer of an action that wrote it.
pub fn package_in<'a>(action: &str, result: &'a Value) -> Option<&'a Value> {
    let package = match action {
        "package_create" | "package_update" | "package_patch" => result,
        "package_revise" => &result["package"],
        _ => return None,
    };
    // Some answers are short: only an id, or a part that was asked for.
    (package["id"].is_string() && package["metadata_modified"].is_string()).then_some(package)
}

fn of_package(fields: &Map<String, Value>, paths: &mut BTreeSet<String>) {
    for (field, value) in fields.iter().filter(|(field, _)| !NAMES.contains(&field.as_str())) {
        match (field.as_str(), value.as_array()) {
            ("resources", Some(resources)) => {
                resources.iter().filter_map(Value::as_object).for_each(|resource| of_resource(resource, paths));
            }
            _ => drop(paths.insert(field.clone())),
        }
    }
}

fn of_resource(fields: &Map<String, Value>, paths: &mut BTreeSet<String>) {
    let written = fields.keys().filter(|field| !NAMES.contains(&field.as_str()));
    paths.extend(written.map(|field| format!("resources.*.{field}")));
}

/// `resources__1492a__hash` and its like.
fn of_key(key: &str, value: &Value, paths: &mut BTreeSet<String>) {
    match key.splitn(3, "__").collect::<Vec<_>>()[..] {
        ["resources", "extend"] => {
            let added = value.as_array().into_iter().flatten().filter_map(Value::as_object);
            added.for_each(|resource| of_resource(resource, paths));
        }
        ["resources", _] => of_resource(value.as_object().unwrap_or(&Map::new()), paths),
        ["resources", _, field] => {
            paths.insert(format!("resources.*.{}", field.split("__").next().unwrap_or(field)));
        }
        [field, ..] => {
            let one = Map::from_iter([(field.to_owned(), value.clone())]);
            of_package(&one, paths);
        }
        [] => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_call_writes_is_read_from_its_parameters() {
        let check = |action: &str, body: Value, expected: &[&str]| assert_eq!(paths(action, &body), expected, "{body}");
        check("package_patch", json!({"id": "p", "notes": "n", "tags": []}), &["notes", "tags"]);
        check(
            "package_patch",
            json!({"id": "p", "resources": [{"id": "r", "hash": "h"}, {"size": 1}]}),
            &["resources.*.hash", "resources.*.size"],
        );
        check("resource_patch", json!({"id": "r", "hash": "h"}), &["resources.*.hash"]);
        check(
            "package_revise",
            json!({
                "match": {"id": "p", "state": "active"}, "update": {"notes": "n"}, "include": ["-*"],
                "update__resources__abcde": {"hash": "h"}, "update__resources__abcde__size": 1,
                "update__resources__extend": [{"url": "u"}], "update__extras__0__value": "x",
            }),
            &["extras", "notes", "resources.*.hash", "resources.*.size", "resources.*.url"],
        );
        check("task_status_update", json!({"entity_id": "r"}), &[]);
        check("package_patch", json!([1]), &[]);
    }

    #[test]
    fn the_dataset_of_a_call_is_read_from_its_parameters() {
        let check = |action: &str, body: Value, expected: Option<&str>| {
            assert_eq!(package_of(action, &body).as_deref(), expected, "{action} {body}");
        };
        check("package_patch", json!({"id": "p"}), Some("p"));
        check("package_revise", json!({"match": {"id": "p"}}), Some("p"));
        check("package_revise", json!({"match__name": "p"}), Some("p"));
        check("resource_create", json!({"package_id": "p", "url": "u"}), Some("p"));
        check("resource_patch", json!({"id": "r"}), None);
        check("datastore_create", json!({"id": "x"}), None);
        check("package_patch", json!({"id": 7}), None);
    }

    #[test]
    fn the_dataset_in_an_answer_is_whole_or_not_there() {
        let dataset = json!({"id": "p", "metadata_modified": "2026-01-01T00:00:00"});
        assert_eq!(package_in("package_patch", &dataset), Some(&dataset));
        assert_eq!(package_in("package_revise", &json!({"package": dataset})), Some(&dataset));
        assert_eq!(package_in("package_revise", &json!({})), None);
        assert_eq!(package_in("package_revise", &json!({"package": {"id": "p"}})), None);
        assert_eq!(package_in("package_create", &json!("p")), None);
        assert_eq!(package_in("resource_patch", &dataset), None);
    }
}
