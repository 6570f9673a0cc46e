use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{Ckan, Result, Search};

/// The method names of `ckanclient`, the Python client of CKAN's first years, over today's actions.
///
/// For workers that are brought over from then: each method calls the one action that its documentation names, and
/// fails as [`Ckan::action`] does. New ones use [`Ckan`] itself.
///
/// ```
/// # use ckan_worker_plugin::prelude::*;
/// fn title(host: &Host<'_>, name: &str) -> Result<String> {
///     let dataset: Value = host.ckan().legacy().package_entity_get(name)?;
///     Ok(dataset["title"].as_str().unwrap_or_default().to_owned())
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Legacy<'a> {
    ckan: Ckan<'a>,
}

impl<'a> Ckan<'a> {
    /// The portal by the method names of `ckanclient`.
    pub fn legacy(&self) -> Legacy<'a> {
        Legacy { ckan: *self }
    }
}

#[expect(clippy::missing_errors_doc, reason = "all fail as `Ckan::action` does, and the type says so")]
impl<'a> Legacy<'a> {
    /// The names of all public datasets: `package_list`.
    pub fn package_register_get(&self) -> Result<Vec<String>> {
        self.package_list()
    }

    /// Makes a dataset: `package_create`.
    pub fn package_register_post<T: DeserializeOwned>(&self, package: impl Serialize) -> Result<T> {
        self.ckan.action("package_create", package)
    }

    /// A dataset, by its id or name: `package_show`.
    pub fn package_entity_get<T: DeserializeOwned>(&self, id: &str) -> Result<T> {
        self.package_show(id)
    }

    /// Replaces a whole dataset, by its id or name: `package_update`.
    ///
    /// What others have changed since it was read is lost. [`Ckan::merge_package`] changes what is to be changed alone.
    pub fn package_entity_put<T: DeserializeOwned>(&self, id: &str, package: impl Serialize) -> Result<T> {
        self.ckan.action("package_update", with(package, &[("id", id)])?)
    }

    /// Deletes a dataset, by its id or name: `package_delete`.
    pub fn package_entity_delete(&self, id: &str) -> Result<()> {
        self.ckan.action::<Value>("package_delete", json!({ "id": id })).map(drop)
    }

    /// The relationships of a dataset, with another and of one type if they are given: `package_relationships_list`.
    pub fn package_relationship_register_get<T: DeserializeOwned>(
        &self,
        id: &str,
        relationship: Option<&str>,
        other: Option<&str>,
    ) -> Result<T> {
        self.ckan.action("package_relationships_list", json!({ "id": id, "id2": other, "rel": relationship }))
    }

    /// Makes a relationship of two datasets: `package_relationship_create`.
    pub fn package_relationship_entity_post<T: DeserializeOwned>(
        &self,
        subject: &str,
        relationship: &str,
        object: &str,
        comment: &str,
    ) -> Result<T> {
        self.ckan.action("package_relationship_create", relation(subject, relationship, object, Some(comment)))
    }

    /// Changes the comment of a relationship: `package_relationship_update`.
    pub fn package_relationship_entity_put<T: DeserializeOwned>(
        &self,
        subject: &str,
        relationship: &str,
        object: &str,
        comment: &str,
    ) -> Result<T> {
        self.ckan.action("package_relationship_update", relation(subject, relationship, object, Some(comment)))
    }

    /// Deletes a relationship: `package_relationship_delete`.
    pub fn package_relationship_entity_delete(&self, subject: &str, relationship: &str, object: &str) -> Result<()> {
        let relation = relation(subject, relationship, object, None);
        self.ckan.action::<Value>("package_relationship_delete", relation).map(drop)
    }

    /// The names of all tags: `tag_list`.
    pub fn tag_register_get(&self) -> Result<Vec<String>> {
        self.ckan.get("tag_list", json!({}))
    }

    /// A tag with its datasets, in `packages`: `tag_show`.
    pub fn tag_entity_get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        self.ckan.action("tag_show", json!({ "id": name, "include_datasets": true }))
    }

    /// The names of all groups: `group_list`.
    pub fn group_register_get(&self) -> Result<Vec<String>> {
        self.ckan.get("group_list", json!({}))
    }

    /// Makes a group: `group_create`.
    pub fn group_register_post<T: DeserializeOwned>(&self, group: impl Serialize) -> Result<T> {
        self.ckan.action("group_create", group)
    }

    /// A group, by its id or name: `group_show`.
    pub fn group_entity_get<T: DeserializeOwned>(&self, id: &str) -> Result<T> {
        self.ckan.get("group_show", json!({ "id": id }))
    }

    /// Replaces a whole group, by its id or name: `group_update`.
    pub fn group_entity_put<T: DeserializeOwned>(&self, id: &str, group: impl Serialize) -> Result<T> {
        self.ckan.action("group_update", with(group, &[("id", id)])?)
    }

    /// Deletes a group, by its id or name: `group_delete`.
    pub fn group_entity_delete(&self, id: &str) -> Result<()> {
        self.ckan.action::<Value>("group_delete", json!({ "id": id })).map(drop)
    }

    /// All datasets that match, page after page, as [`Ckan::search`]: `package_search`.
    ///
    /// # Errors
    /// `ckan.bad-request` if `options` is not an object.
    pub fn package_search<T: DeserializeOwned>(&self, query: &str, options: impl Serialize) -> Result<Search<'a, T>> {
        Ok(self.ckan.search(with(options, &[("q", query)])?))
    }

    /// Adds a resource, by its address, to a dataset: `resource_create`.
    ///
    /// `fields` is an object with what else is known of it, as in `name` and `format`. A file is added by
    /// [`Ckan::upload`].
    pub fn add_package_resource<T: DeserializeOwned>(
        &self,
        package: &str,
        url: &str,
        fields: impl Serialize,
    ) -> Result<T> {
        self.ckan.action("resource_create", with(fields, &[("package_id", package), ("url", url)])?)
    }

    /// The names of all public datasets: `package_list`.
    pub fn package_list(&self) -> Result<Vec<String>> {
        self.ckan.get("package_list", json!({}))
    }

    /// A dataset, by its id or name: `package_show`.
    pub fn package_show<T: DeserializeOwned>(&self, id: &str) -> Result<T> {
        self.ckan.package_show(id)
    }

    /// What the portal says about itself: `status_show`.
    pub fn status_show<T: DeserializeOwned>(&self) -> Result<T> {
        self.ckan.get("status_show", json!({}))
    }

    /// The portal's version, from `status_show`; `None` if it hides it.
    pub fn ckan_version(&self) -> Result<Option<String>> {
        let status: Value = self.status_show()?;
        Ok(status["ckan_version"].as_str().map(str::to_owned))
    }

    /// Whether a text is an id, and not a name: 32 hexadecimal digits in five groups. Asks nobody.
    pub fn is_id(text: &str) -> bool {
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        groups == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    }
}

fn relation(subject: &str, relationship: &str, object: &str, comment: Option<&str>) -> Value {
    let mut relation = json!({ "subject": subject, "type": relationship, "object": object });
    if let Some(comment) = comment {
        relation["comment"] = comment.into();
    }
    relation
}

/// The fields with these texts in them.
fn with(fields: impl Serialize, texts: &[(&str, &str)]) -> Result<Map<String, Value>> {
    let mut fields = crate::ckan::object(fields)?;
    fields.extend(texts.iter().map(|(field, text)| ((*field).to_owned(), Value::from(*text))));
    Ok(fields)
}
