//! A dataset as CKAN shows it.

use ckan_worker_plugin::prelude::*;

use crate::record::Inputs;

/// What `package_show` answers, as far as it matters here.
#[derive(Deserialize)]
pub struct Dataset {
    /// Its id.
    pub id: String,
    /// The name in its address.
    #[serde(default)]
    pub name: String,
    /// Whether only its organization may see it.
    #[serde(default)]
    pub private: bool,
    /// `active`, `draft` or `deleted`.
    #[serde(default = "active")]
    pub state: String,
    owner_org: Option<String>,
    organization: Option<Label>,
    #[serde(default)]
    groups: Vec<Label>,
    #[serde(default)]
    tags: Vec<Label>,
    #[serde(default)]
    resources: Vec<Resource>,
}

/// What something is called.
#[derive(Deserialize)]
struct Label {
    name: Option<String>,
    id: Option<String>,
}

/// One of its resources. CKAN leaves most of it to whoever wrote it.
#[derive(Deserialize)]
pub struct Resource {
    /// Its id.
    pub id: String,
    name: Option<String>,
    url: Option<String>,
    url_type: Option<String>,
    format: Option<String>,
    last_modified: Option<String>,
    state: Option<String>,
    /// Where CKAN says that a copy is.
    pub cache_url: Option<String>,
}

fn active() -> String {
    "active".to_owned()
}

impl Label {
    fn all(&self) -> impl Iterator<Item = &str> {
        self.name.iter().chain(&self.id).map(String::as_str)
    }
}

impl Dataset {
    /// Its name, or else its id, as it may be written down.
    pub fn title(&self) -> String {
        one_line(if self.name.is_empty() { &self.id } else { &self.name })
    }

    /// Whether it is published.
    pub fn is_active(&self) -> bool {
        self.state == "active"
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.state == "deleted"
    }

    /// The resources that are not deleted.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(|resource| resource.state.as_deref() != Some("deleted"))
    }

    /// The ids of all resources that CKAN shows, those of deleted ones too.
    pub fn all_ids(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(|resource| resource.id.as_str())
    }

    /// Whether a resource is shown and not deleted.
    pub fn has(&self, resource_id: &str) -> bool {
        self.resources().any(|resource| resource.id == resource_id)
    }

    /// The names of its organization.
    pub fn organization(&self) -> Vec<&str> {
        self.organization.iter().flat_map(Label::all).chain(self.owner_org.as_deref()).collect()
    }

    /// The names of its groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(Label::all)
    }

    /// Its tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().filter_map(|tag| tag.name.as_deref())
    }
}

impl Resource {
    /// Its name, or else its id.
    pub fn name(&self) -> &str {
        self.name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&self.id)
    }

    /// Its address; may be empty.
    pub fn url(&self) -> &str {
        self.url.as_deref().unwrap_or_default().trim()
    }

    /// The format that somebody said it has; may be empty.
    pub fn declared(&self) -> &str {
        self.format.as_deref().unwrap_or_default().trim()
    }

    /// Whether its file was uploaded to CKAN.
    pub fn is_upload(&self) -> bool {
        self.url_type.as_deref() == Some("upload")
    }

    /// What decides whether it is looked at again before its time.
    pub fn inputs(&self) -> Inputs {
        Inputs {
            url: crate::address::without_secrets(self.url()),
            format: self.declared().to_owned(),
            last_modified: self.last_modified.clone(),
        }
    }
}

/// The id of the dataset that a notification is about; one that cannot be an id is refused.
pub fn checked_id(notification: Notification<'_>) -> Result<&str> {
    let id = notification.package_id()?;
    if is_id(id) {
        return Ok(id);
    }
    let message = format!("the dataset's id is neither a UUID nor a name: {:?}", one_line(id));
    Err(Error::permanent(message).with_code("payload"))
}

/// Whether a text is a UUID or a slug, and so safe in a path.
pub fn is_id(text: &str) -> bool {
    (2..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
