//! Datasets as the sample portal keeps them: in the shape of `package_show`.

use serde_json::{Map, Value, json};

use super::digest::sha256;

/// When everything on the portal was made.
const CREATED: &str = "2026-01-01T00:00:00.000000";

/// What a portal is started with: its datasets, and who may write to them.
#[derive(Debug, Clone, Default)]
pub struct Datasets {
    pub(super) packages: Vec<Map<String, Value>>,
    pub(super) users: Vec<User>,
}

/// Someone with a token; may read and write everything.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) token: String,
}

impl Datasets {
    /// Adds a dataset.
    #[must_use]
    pub fn with(mut self, dataset: Dataset) -> Self {
        self.packages.push(dataset.fields);
        self
    }

    /// Adds a user, who may read and write everything with this token.
    #[must_use]
    pub fn with_user(mut self, name: &str, token: &str) -> Self {
        self.users.push(User { name: name.into(), token: token.into() });
        self
    }
}

/// A dataset to put on a portal.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub(super) fields: Map<String, Value>,
}

impl Dataset {
    /// A public dataset without resources. Its id is made from the name, and so is the same in every run.
    pub fn new(name: &str) -> Self {
        let fields = json!({
            "id": id_of("dataset", name), "name": name, "title": name, "type": "dataset", "state": "active",
            "private": false, "notes": "", "version": null, "url": null, "author": null, "author_email": null,
            "maintainer": null, "maintainer_email": null, "license_id": "cc-zero", "license_title": "CC0 1.0",
            "isopen": true, "owner_org": null, "organization": null, "creator_user_id": id_of("user", "admin"),
            "metadata_created": CREATED, "metadata_modified": CREATED, "extras": [], "tags": [], "groups": [],
            "resources": [], "num_resources": 0, "num_tags": 0,
            "relationships_as_subject": [], "relationships_as_object": [],
        });
        Self { fields: object(fields) }
    }

    /// The dataset's id.
    pub fn id(&self) -> &str {
        text(&self.fields, "id")
    }

    /// Sets a field to a value, which must have the shape of `package_show`.
    #[must_use]
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }

    /// Sets what people read first.
    #[must_use]
    pub fn titled(self, title: &str) -> Self {
        self.set("title", title)
    }

    /// Hides it from everyone without a token.
    #[must_use]
    pub fn private(self) -> Self {
        self.set("private", true)
    }

    /// Marks it deleted, as CKAN does when a person deletes it.
    #[must_use]
    pub fn deleted(self) -> Self {
        self.set("state", "deleted")
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, name: &str) -> Self {
        list(&mut self.fields, "tags").push(json!({"name": name, "display_name": name, "state": "active"}));
        self.counted()
    }

    /// Adds a field that CKAN knows nothing of.
    #[must_use]
    pub fn extra(mut self, key: &str, value: &str) -> Self {
        list(&mut self.fields, "extras").push(json!({"key": key, "value": value}));
        self
    }

    /// Adds a resource. Its id is made from the dataset's name and its own.
    #[must_use]
    pub fn resource(mut self, name: &str, url: &str, format: &str) -> Self {
        let id = id_of(text(&self.fields, "name"), name);
        let resource = object(json!({"id": id, "name": name, "url": url, "format": format}));
        list(&mut self.fields, "resources").push(Value::Object(resource));
        complete_resources(&mut self.fields);
        self
    }

    /// Sets a field of the resource added last.
    #[must_use]
    pub fn resource_set(mut self, field: &str, value: impl Into<Value>) -> Self {
        if let Some(resource) = list(&mut self.fields, "resources").last_mut() {
            resource[field] = value.into();
        }
        self
    }

    fn counted(mut self) -> Self {
        let tags = list(&mut self.fields, "tags").len();
        self.set("num_tags", tags)
    }
}

/// Gives each resource the fields CKAN would, where it has none.
pub(super) fn complete_resources(package: &mut Map<String, Value>) {
    let package_id = text(package, "id").to_owned();
    let resources = list(package, "resources");
    let count = resources.len();
    for (position, resource) in resources.iter_mut().enumerate() {
        let Value::Object(resource) = resource else { continue };
        let id = id_of(&package_id, &format!("{position} {}", text(resource, "url")));
        resource.insert("position".into(), position.into());
        for (field, value) in [("id", id.as_str()), ("package_id", &package_id), ("state", "active")] {
            resource.entry(field).or_insert_with(|| value.into());
        }
        for field in ["created", "metadata_modified"] {
            resource.entry(field).or_insert_with(|| CREATED.into());
        }
        for field in ["hash", "description", "format", "name", "url"] {
            resource.entry(field).or_insert_with(|| "".into());
        }
        for field in NULL_AT_FIRST {
            resource.entry(*field).or_insert(Value::Null);
        }
    }
    package.insert("num_resources".into(), count.into());
}

/// What a resource has no value for until somebody sets one.
const NULL_AT_FIRST: &[&str] = &[
    "size",
    "mimetype",
    "mimetype_inner",
    "last_modified",
    "cache_url",
    "cache_last_updated",
    "resource_type",
    "url_type",
];

/// An id in the shape of CKAN's, made from two names.
fn id_of(within: &str, name: &str) -> String {
    let hex = sha256(format!("{within}/{name}"));
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// The text in a field, empty if there is none.
pub(super) fn text<'a>(object: &'a Map<String, Value>, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The list in a field; makes one if there is none.
pub(super) fn list<'a>(object: &'a mut Map<String, Value>, field: &str) -> &'a mut Vec<Value> {
    let value = object.entry(field).or_insert(Value::Null);
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().expect("it was made a list above")
}

/// The resources of a dataset.
pub(super) fn resources(package: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    package.get("resources").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}
