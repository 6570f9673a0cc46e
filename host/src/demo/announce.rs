//! What the portal says when something changed, in the published shape.

use serde_json::{Map, Value};

use super::dataset::{resources, text};
use crate::notification::published;

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
    notice("Package", operation, &published::package(package, site_url))
}

/// A notification about a resource.
pub(super) fn of_resource(resource: &Map<String, Value>, operation: &'static str) -> Notice {
    notice("Resource", operation, &published::resource(resource))
}

fn notice(routing_key: &'static str, operation: &'static str, payload: &Value) -> Notice {
    Notice {
        routing_key,
        operation,
        entity_id: payload["id"].as_str().unwrap_or_default().to_owned(),
        body: published::body(routing_key, operation, payload),
    }
}
