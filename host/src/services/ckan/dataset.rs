//! Reads a dataset as it was announced: CKAN says so before it has committed it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Client, NOT_FOUND, answer};
use crate::services::Failure;

/// How long to wait before each further look for what CKAN has announced and does not show yet.
const WAITS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(800),
];

/// When what a notification is about was changed, as the notification says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// The resource; `None` if it is about the dataset itself.
    pub resource: Option<String>,
    /// When it was changed, as CKAN writes it; `None` if that was not said.
    pub changed: Option<String>,
    /// Whether it is said to be gone.
    pub is_gone: bool,
}

impl Announced {
    /// Reads it from a payload; one that does not say leaves nothing to wait for.
    pub fn by(routing_key: &str, operation: &str, payload: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        struct Payload {
            #[serde(default)]
            id: Value,
            #[serde(default)]
            metadata_modified: Value,
        }
        let payload: Payload = serde_json::from_slice(payload).unwrap_or_default();
        let text = |value: Value| if let Value::String(text) = value { Some(text) } else { None };
        let resource = if routing_key == "Resource" { text(payload.id) } else { None };
        Self { resource, changed: text(payload.metadata_modified), is_gone: operation == "deleted" }
    }

    /// Whether a dataset is older than was announced. CKAN writes all times in one form, so texts compare.
    fn is_newer_than(&self, dataset: &Value) -> bool {
        if self.is_gone {
            // Deleting dates nothing.
            return self.resource.is_none() && dataset["state"] == "active";
        }
        let shown = match &self.resource {
            None => Some(dataset),
            Some(id) => dataset["resources"]
                .as_array()
                .and_then(|resources| resources.iter().find(|resource| resource["id"] == id.as_str())),
        };
        let shown = shown.and_then(|shown| shown["metadata_modified"].as_str());
        self.changed.as_deref().zip(shown).is_some_and(|(announced, shown)| announced > shown)
    }
}

impl Client {
    /// The dataset of this id or name, in the shape of `package_show`, as it was announced.
    ///
    /// One that is not there yet, or not yet as new, is looked for again for about two seconds. After that one that
    /// stays as it was is answered as it is: not every change that is announced comes to be.
    ///
    /// # Errors
    /// As [`action`](Self::action); `ckan.not-found` if it is not there in the end.
    pub async fn dataset(&self, id: &str, announced: &Announced) -> Result<Value, Failure> {
        let mut waits = WAITS.iter();
        loop {
            let shown = self.show("package_show", id).await;
            let is_there = match &shown {
                Ok(dataset) => !announced.is_newer_than(dataset),
                Err(failure) => failure.code != NOT_FOUND || announced.is_gone,
            };
            match waits.next() {
                Some(wait) if !is_there => tokio::time::sleep(*wait).await,
                _ => return shown,
            }
        }
    }

    /// What `package_show` or its like answers now.
    pub(super) async fn show(&self, action: &str, id: &str) -> Result<Value, Failure> {
        let shown = self.get(action, json!({ "id": id }).to_string().as_bytes()).await?;
        serde_json::from_slice(&shown).map_err(|error| answer::incompatible(action, &error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_announced_is_compared_with_what_is_shown() {
        let dataset = json!({
            "id": "p", "metadata_modified": "2026-01-01T00:00:02",
            "resources": [{"id": "r", "metadata_modified": "2026-01-01T00:00:01"}],
        });
        let check = |routing_key: &str, payload: Value, expected: bool| {
            let announced = Announced::by(routing_key, "changed", payload.to_string().as_bytes());
            assert_eq!(announced.is_newer_than(&dataset), expected, "{routing_key} {payload}");
        };
        check("Package", json!({"id": "p", "metadata_modified": "2026-01-01T00:00:02"}), false);
        check("Package", json!({"id": "p", "metadata_modified": "2026-01-01T00:00:03"}), true);
        check("Resource", json!({"id": "r", "metadata_modified": "2026-01-01T00:00:01"}), false);
        check("Resource", json!({"id": "r", "metadata_modified": "2026-01-01T00:00:02"}), true);
        check("Resource", json!({"id": "gone", "metadata_modified": "2026-01-01T00:00:09"}), false);
        check("Package", json!({"id": "p", "metadata_modified": 7}), false);
        check("Package", json!(null), false);
        assert_eq!(Announced::by("Package", "new", b"{"), Announced::default());
        let gone = Announced::by("Package", "deleted", br#"{"id": "p"}"#);
        assert!(gone.is_newer_than(&json!({"id": "p", "state": "active"})));
        assert!(!gone.is_newer_than(&json!({"id": "p", "state": "deleted"})));
    }
}
