//! A dataset as CKAN shows it, as far as it matters here.

use ckan_worker_plugin::prelude::*;

/// What `package_show` answers.
#[derive(Deserialize)]
pub struct Dataset {
    /// Its id.
    pub id: String,
    /// The name in its address.
    #[serde(default)]
    name: Option<String>,
    /// Whether only its organization may see it.
    #[serde(default)]
    pub private: bool,
    /// `active`, `draft` or `deleted`.
    #[serde(default = "active")]
    pub state: String,
    /// Its licence.
    pub license_id: Option<String>,
    /// Whether CKAN takes that licence for open.
    pub isopen: Option<bool>,
    #[serde(default)]
    resources: Vec<Resource>,
}

/// One of its resources. CKAN leaves most of it to whoever wrote it.
#[derive(Deserialize)]
pub struct Resource {
    /// Its id.
    pub id: String,
    name: Option<String>,
    url: Option<String>,
    format: Option<String>,
    /// When its content changed, as CKAN says.
    pub last_modified: Option<String>,
    state: Option<String>,
    /// The hash that CKAN has.
    pub hash: Option<String>,
    /// The media type that CKAN has.
    pub mimetype: Option<String>,
    /// The length that CKAN has: a number, a text, or nothing.
    #[serde(default)]
    pub size: Value,
}

fn active() -> String {
    "active".to_owned()
}

impl Dataset {
    /// The resources that are not deleted.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(|resource| resource.state.as_deref() != Some("deleted"))
    }

    /// Its name, or else its id.
    pub fn name(&self) -> &str {
        self.name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&self.id)
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
}

/// The id of the dataset that a notification is about; one that cannot be an id is refused.
pub fn checked_id(notification: Notification<'_>) -> Result<&str> {
    let id = notification.package_id()?;
    if is_id(id) {
        return Ok(id);
    }
    Err(Error::permanent(format!("the dataset's id is neither a UUID nor a name: {:?}", one_line(id)))
        .with_code("payload"))
}

/// Whether a text is a UUID or a slug, and so safe in a path and in a key.
pub fn is_id(text: &str) -> bool {
    (2..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
