//! What the portal says when something changed, in the published shape.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::dataset::{resources, text};

/// A notification to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The class of what changed, `Package` or `Resource`; also the AMQP routing key.
    pub routing_key: &'static str,
    /// What happened to it: `new`, `changed` or `deleted`.
    pub operation: &'static str,
    /// The id of what changed.
    pub entity_id: String,
    /// The message: a JSON object with `routing_key`, `operation` and `payload`, in this order.
    pub body: Vec<u8>,
}

#[derive(Serialize)]
struct Body<'a> {
    routing_key: &'a str,
    operation: &'a str,
    payload: &'a Value,
}

/// What `package_create` announces.
pub(super) fn created(package: &Map<String, Value>, site_url: &str) -> Vec<Notice> {
    let mut notices = vec![of_package(package, "new", site_url)];
    notices.extend(resources(package).map(|resource| of_resource(resource, "new")));
    notices.push(of_package(package, "changed", site_url));
    notices
}

/// What a write that made `after` of `before` announces: each resource that differs, then the dataset.
pub(super) fn changed(before: &Map<String, Value>, after: &Map<String, Value>, site_url: &str) -> Vec<Notice> {
    let was = |id: &str| resources(before).find(|resource| text(resource, "id") == id);
    let is = |id: &str| resources(after).any(|resource| text(resource, "id") == id);
    let mut notices = Vec::new();
    for resource in resources(after) {
        match was(text(resource, "id")) {
            None => notices.insert(0, of_resource(resource, "new")),
            Some(earlier) if earlier != resource => notices.push(of_resource(resource, "changed")),
            Some(_) => {}
        }
    }
    // CKAN announces a resource that was taken away as changed; nothing in the payload says that it is gone.
    let gone = resources(before).filter(|resource| !is(text(resource, "id")));
    notices.extend(gone.map(|resource| of_resource(resource, "changed")));
    notices.push(of_package(after, "changed", site_url));
    notices
}

/// A notification about a dataset.
pub(super) fn of_package(package: &Map<String, Value>, operation: &'static str, site_url: &str) -> Notice {
    notice("Package", operation, &package_as_dict(package, site_url))
}

/// A notification about a resource.
pub(super) fn of_resource(resource: &Map<String, Value>, operation: &'static str) -> Notice {
    notice("Resource", operation, &resource_as_dict(resource))
}

fn notice(routing_key: &'static str, operation: &'static str, payload: &Value) -> Notice {
    let body = Body { routing_key, operation, payload };
    Notice {
        routing_key,
        operation,
        entity_id: payload["id"].as_str().unwrap_or_default().to_owned(),
        body: serde_json::to_vec(&body).expect("a JSON value can be written as JSON"),
    }
}

/// What CKAN's `Package.as_dict()` gives, which is not what `package_show` gives.
fn package_as_dict(package: &Map<String, Value>, site_url: &str) -> Value {
    let mut dict = package.clone();
    for only_in_show in [
        "organization",
        "license_title",
        "num_resources",
        "num_tags",
        "relationships_as_subject",
        "relationships_as_object",
    ] {
        dict.remove(only_in_show);
    }
    let mut groups = names(package, "groups");
    groups.extend(package.get("organization").and_then(|organization| organization.get("name")).cloned());
    let changes = json!({
        "extras": extras(package),
        "tags": names(package, "tags"),
        "groups": groups,
        "resources": resources(package).map(resource_as_dict).collect::<Vec<_>>(),
        "license": package.get("license_title"),
        "ckan_url": format!("{site_url}/dataset/{}", text(package, "name")),
        "notes_rendered": format!("<p>{}</p>", text(package, "notes")),
        "relationships": [],
        "plugin_data": null,
    });
    dict.extend(changes.as_object().cloned().unwrap_or_default());
    Value::Object(dict)
}

/// What CKAN's `Resource.as_dict()` gives: no state, so that a deleted one looks alive.
fn resource_as_dict(resource: &Map<String, Value>) -> Value {
    let mut dict = resource.clone();
    dict.remove("state");
    Value::Object(dict)
}

fn names(package: &Map<String, Value>, field: &str) -> Vec<Value> {
    let items = package.get(field).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.get("name").cloned()).collect()
}

fn extras(package: &Map<String, Value>) -> Map<String, Value> {
    let items = package.get("extras").and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|extra| Some((extra.get("key")?.as_str()?.to_owned(), extra.get("value")?.clone()))).collect()
}
