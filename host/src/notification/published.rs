//! The published shape: what CKAN's `as_dict()` gives, made of what `package_show` gives.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// What `package_show` gives and `as_dict()` does not.
const ONLY_IN_SHOW: [&str; 6] = [
    "organization",
    "license_title",
    "num_resources",
    "num_tags",
    "relationships_as_subject",
    "relationships_as_object",
];

#[derive(Serialize)]
struct Body<'a> {
    routing_key: &'a str,
    operation: &'a str,
    payload: &'a Value,
}

/// The message about an entity: a JSON object with `routing_key`, `operation` and `payload`, in this order.
pub fn body(routing_key: &str, operation: &str, payload: &Value) -> Vec<u8> {
    serde_json::to_vec(&Body { routing_key, operation, payload }).expect("a JSON value can be written as JSON")
}

/// A dataset in the published shape: extras are an object, tags and groups names, with the organization's among them.
/// `site_url` is the portal's address, without a slash at its end.
pub fn package(package: &Map<String, Value>, site_url: &str) -> Value {
    let mut dict = package.clone();
    for only_in_show in ONLY_IN_SHOW {
        dict.remove(only_in_show);
    }
    let mut groups = names(package, "groups");
    groups.extend(package.get("organization").and_then(|organization| organization.get("name")).cloned());
    let text = |field: &str| package.get(field).and_then(Value::as_str).unwrap_or_default();
    let changes = json!({
        "extras": extras(package),
        "tags": names(package, "tags"),
        "groups": groups,
        "resources": list(package, "resources").filter_map(Value::as_object).map(resource).collect::<Vec<_>>(),
        "license": package.get("license_title"),
        "ckan_url": format!("{site_url}/dataset/{}", text("name")),
        "notes_rendered": format!("<p>{}</p>", escaped(text("notes"))),
        "relationships": [],
        "plugin_data": package.get("plugin_data"),
    });
    dict.extend(changes.as_object().cloned().unwrap_or_default());
    Value::Object(dict)
}

/// A resource in the published shape: without a state, so that a deleted one looks alive.
pub fn resource(resource: &Map<String, Value>) -> Value {
    let mut dict = resource.clone();
    dict.remove("state");
    Value::Object(dict)
}

/// A text as it stands in HTML. CKAN renders Markdown there; it is not read here, and must not be taken for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn list<'a>(package: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a Value> {
    package.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn names(package: &Map<String, Value>, field: &str) -> Vec<Value> {
    list(package, field).filter_map(|item| item.get("name").cloned()).collect()
}

fn extras(package: &Map<String, Value>) -> Map<String, Value> {
    let items = list(package, "extras");
    items.filter_map(|extra| Some((extra.get("key")?.as_str()?.to_owned(), extra.get("value")?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_portal_shows_becomes_what_it_would_have_published() {
        let shown = json!({
            "id": "d1", "name": "trees", "notes": "Trees & <b>shrubs</b>", "organization": {"name": "town"}, "num_tags": 1,
            "license_title": "CC-BY", "tags": [{"name": "green", "id": "t"}], "groups": [{"name": "nature"}],
            "extras": [{"key": "spatial", "value": "none"}],
            "resources": [{"id": "r1", "state": "active", "url": "http://x/y"}],
        });
        let expected = json!({
            "id": "d1", "name": "trees", "notes": "Trees & <b>shrubs</b>", "license": "CC-BY", "tags": ["green"],
            "groups": ["nature", "town"], "extras": {"spatial": "none"}, "resources": [{"id": "r1", "url": "http://x/y"}],
            "ckan_url": "https://data.example/dataset/trees", "notes_rendered": "<p>Trees &amp; &lt;b&gt;shrubs&lt;/b&gt;</p>", "relationships": [],
            "plugin_data": null,
        });
        assert_eq!(package(shown.as_object().unwrap(), "https://data.example"), expected);
        let body = body("Package", "new", &json!({"id": "d1"}));
        assert_eq!(body, br#"{"routing_key":"Package","operation":"new","payload":{"id":"d1"}}"#);
    }
}
