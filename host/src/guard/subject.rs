//! What a run is about, as far as the loop guard is concerned.

use std::borrow::Cow;

use serde_json::{Value, json};

/// What a run is about: a dataset or, for workers that work on what each notification is about, one of its resources.
///
/// Of a worker that declares what of a dataset it looks at, or that has bursts become one run, it is known that it looks
/// at the whole dataset, whatever the notification is about. Of another it is not: two notifications about two resources
/// are two things to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    dataset: String,
    resource: Option<String>,
}

impl Subject {
    /// A dataset, or one of its resources.
    pub fn new(dataset: &str, resource: Option<&str>) -> Self {
        Self { dataset: dataset.to_owned(), resource: resource.map(str::to_owned) }
    }

    /// The id of the dataset.
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// Its own id.
    pub fn key(&self) -> &str {
        self.resource.as_deref().unwrap_or(&self.dataset)
    }

    /// What of a dataset it is, in the dataset's shape; empty if the dataset does not have it.
    pub fn part<'a>(&self, dataset: &'a Value) -> Cow<'a, Value> {
        let Some(id) = &self.resource else { return Cow::Borrowed(dataset) };
        let mut resources = dataset["resources"].as_array().into_iter().flatten();
        let resource = resources.find(|resource| resource["id"] == id.as_str());
        Cow::Owned(json!({ "resources": resource.into_iter().collect::<Vec<_>>() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_a_resource_is_a_dataset_with_nothing_else_in_it() {
        let dataset = json!({ "id": "d", "title": "x", "resources": [{ "id": "a", "url": "u" }, { "id": "b" }] });
        let subject = Subject::new("d", Some("a"));
        assert_eq!((subject.key(), subject.dataset()), ("a", "d"));
        assert_eq!(*subject.part(&dataset), json!({ "resources": [{ "id": "a", "url": "u" }] }));
        assert_eq!(*Subject::new("d", Some("gone")).part(&dataset), json!({ "resources": [] }));
        assert_eq!(*Subject::new("d", None).part(&dataset), dataset);
    }
}
