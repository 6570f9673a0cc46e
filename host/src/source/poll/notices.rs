//! What is to be told of a dataset, by what is known of it and what the portal shows: a plain decision.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::guard::View;
use crate::notification::published;
use crate::services::ckan::{Listed, to_millisecond};
use crate::source::Message;
use crate::source::sqlite::Seen;

/// A dataset as the portal shows it.
pub type Dataset = Map<String, Value>;

/// A dataset that is not as it is known.
pub struct Change<'a> {
    /// As it is listed.
    pub listed: &'a Listed,
    /// As it is shown.
    pub dataset: &'a Dataset,
    /// As it is known; `None` if nobody has seen it.
    pub known: Option<&'a Seen>,
    /// Whether it was made after this portal was asked for the first time.
    pub is_young: bool,
}

impl Change<'_> {
    /// What is known of it from now on.
    pub fn seen(&self) -> Seen {
        Seen {
            dataset: self.listed.id.clone(),
            stamp: self.listed.stamp.clone(),
            look: Some(self.listed.look),
            is_gone: is_deleted(self.dataset),
            resources: resources(self.dataset).map(|(id, resource)| (id.to_owned(), short_hash(resource))).collect(),
        }
    }

    /// Whether nobody has been told of it before.
    pub fn is_new(&self) -> bool {
        self.known.is_none() && self.is_young
    }

    /// The messages: resources that are new, changed or gone, and last the dataset. `site_url` has no slash at its end.
    pub fn messages(&self, site_url: &str) -> Vec<Message> {
        let names = Names::new(&self.listed.id, &self.listed.stamp);
        let none = BTreeMap::new();
        let known = self.known.map_or(&none, |known| &known.resources);
        let mut messages = Vec::new();
        for (id, resource) in resources(self.dataset) {
            let operation = match known.get(id) {
                Some(hash) if *hash == short_hash(resource) => continue,
                Some(_) => "changed",
                // What nobody knew of a dataset that was there all the time may be old.
                None if self.known.is_none() && !self.is_young => "changed",
                None => "new",
            };
            messages.push(names.message("Resource", id, operation, &published::resource(resource)));
        }
        let there: Vec<&str> = resources(self.dataset).map(|(id, _)| id).collect();
        for id in known.keys().filter(|id| !there.contains(&id.as_str())) {
            let payload = json!({ "id": id, "package_id": self.listed.id });
            messages.push(names.message("Resource", id, "deleted", &payload));
        }
        let operation = if self.is_new() { "new" } else { "changed" };
        messages.push(names.message("Package", "", operation, &published::package(self.dataset, site_url)));
        messages
    }
}

/// The message about a known dataset that is deleted and still shown.
pub fn deleted(known: &Seen, dataset: &Dataset, site_url: &str) -> Message {
    Names::new(&known.dataset, &known.stamp).message("Package", "", "changed", &published::package(dataset, site_url))
}

/// The message about a known dataset that the portal no longer shows us.
pub fn vanished(known: &Seen) -> Message {
    let payload = json!({ "id": known.dataset, "state": "deleted" });
    Names::new(&known.dataset, &known.stamp).message("Package", "", "deleted", &payload)
}

/// Whether a dataset says of itself that it is deleted.
pub fn is_deleted(dataset: &Dataset) -> bool {
    dataset.get("state").and_then(Value::as_str) == Some("deleted")
}

/// Whether a dataset is as new as it is listed. The search knows it before it is saved, and it may never be.
pub fn is_as_listed(dataset: &Dataset, listed: &Listed) -> bool {
    let stamp = dataset.get("metadata_modified").and_then(Value::as_str).unwrap_or_default();
    to_millisecond(stamp) >= listed.stamp
}

fn resources(dataset: &Dataset) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
    let resources = dataset.get("resources").and_then(Value::as_array).into_iter().flatten();
    resources.filter_map(|resource| Some((resource.get("id")?.as_str()?, resource.as_object()?)))
}

/// Stands for a resource, but for what changes by itself.
fn short_hash(resource: &Map<String, Value>) -> u64 {
    let hash = View::whole().fingerprint(&json!({ "resources": [resource] }));
    u64::from_be_bytes(hash.0[..8].try_into().expect("there are 16 bytes"))
}

/// The names of what is told of a dataset at one time. What has happened before and happens again has other names: what
/// workers have done is remembered by them.
struct Names {
    visit: String,
}

impl Names {
    fn new(dataset: &str, stamp: &str) -> Self {
        Self { visit: format!("poll/{dataset}/{stamp}/{:08x}", fastrand::u32(..)) }
    }

    fn message(&self, class: &str, resource: &str, operation: &str, payload: &Value) -> Message {
        let id = match resource {
            "" => format!("{}/{class}", self.visit),
            resource => format!("{}/{class}/{resource}", self.visit),
        };
        Message {
            routing_key: class.to_owned(),
            body: published::body(class, operation, payload).into(),
            id: Some(id),
            only: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(resources: &Value) -> Dataset {
        let dataset =
            json!({"id": "d", "name": "d", "metadata_modified": "2026-01-01T00:00:01", "resources": resources});
        dataset.as_object().unwrap().clone()
    }

    fn listed() -> Listed {
        let look = View::whole().fingerprint(&json!({}));
        let stamp = "2026-01-01T00:00:01.000Z".to_owned();
        Listed { id: "d".to_owned(), created: stamp.clone(), stamp, look }
    }

    /// What is told when resources were `before` (`None` for a dataset that nobody knew) and are `after`.
    #[track_caller]
    fn check(before: Option<&Value>, after: &Value, is_young: bool, expected: &[&str]) {
        let listed = listed();
        let before = before.map(dataset);
        let known = before.map(|dataset| Change { listed: &listed, dataset: &dataset, known: None, is_young }.seen());
        let after = dataset(after);
        let change = Change { listed: &listed, dataset: &after, known: known.as_ref(), is_young };
        let told: Vec<String> = change
            .messages("https://data.example")
            .iter()
            .map(|message| {
                let body: Value = serde_json::from_slice(&message.body).unwrap();
                assert_eq!(body["routing_key"], message.routing_key.as_str());
                let id = &body["payload"]["id"];
                format!("{} {} {}", message.routing_key, body["operation"].as_str().unwrap(), id.as_str().unwrap())
            })
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn resources_are_told_of_that_are_new_changed_or_gone_and_the_dataset_last() {
        let (a, b) = (json!({"id": "a", "url": "1"}), json!({"id": "b", "url": "1"}));
        let other = json!({"id": "a", "url": "2"});
        check(None, &json!([a, b]), true, &["Resource new a", "Resource new b", "Package new d"]);
        check(None, &json!([a]), false, &["Resource changed a", "Package changed d"]);
        check(Some(&json!([a, b])), &json!([a, b]), true, &["Package changed d"]);
        check(Some(&json!([a])), &json!([a, b]), true, &["Resource new b", "Package changed d"]);
        check(
            Some(&json!([a, b])),
            &json!([other]),
            false,
            &["Resource changed a", "Resource deleted b", "Package changed d"],
        );
        let stamped = json!({"id": "a", "url": "1", "metadata_modified": "2026"});
        check(Some(&json!([a])), &json!([stamped]), false, &["Package changed d"]);
    }

    #[test]
    fn a_dataset_that_is_older_than_it_is_listed_is_not_saved_yet() {
        for (stamp, expected) in
            [("2026-01-01T00:00:01.000999", true), ("2026-01-01T00:00:00.999999", false), ("", false)]
        {
            let mut dataset = dataset(&json!([]));
            dataset.insert("metadata_modified".to_owned(), json!(stamp));
            assert_eq!(is_as_listed(&dataset, &listed()), expected, "{stamp}");
        }
    }

    #[test]
    fn what_happens_twice_has_two_names() {
        let (listed, dataset) = (listed(), dataset(&json!([])));
        let change = Change { listed: &listed, dataset: &dataset, known: None, is_young: false };
        let name = || change.messages("")[0].id.clone().unwrap();
        let (one, other) = (name(), name());
        assert_ne!(one, other);
        assert!(one.starts_with("poll/d/2026-01-01T00:00:01.000Z/") && one.ends_with("/Package"), "{one}");
    }
}
