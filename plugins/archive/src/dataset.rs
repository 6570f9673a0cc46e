//! A dataset as CKAN shows it.

use std::time::Duration;

use ckan_worker_plugin::prelude::*;

use crate::record::Inputs;

/// How long to wait before each further look for what CKAN has announced and does not show yet.
const WAITS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(800),
];

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
    metadata_modified: Option<String>,
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
    last_modified: Option<String>,
    metadata_modified: Option<String>,
    state: Option<String>,
    /// The hash that CKAN has.
    pub hash: Option<String>,
    /// The length that CKAN has: a number, a text, or nothing.
    #[serde(default)]
    pub size: Value,
    /// The media type that CKAN has.
    pub mimetype: Option<String>,
}

fn active() -> String {
    "active".to_owned()
}

impl Dataset {
    /// Whether it is published.
    pub fn is_active(&self) -> bool {
        self.state == "active"
    }

    /// The resources that are not deleted.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(|resource| resource.state.as_deref() != Some("deleted"))
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

    /// What decides whether it is looked at again.
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
    Err(Error::permanent(format!("the dataset's id is neither a UUID nor a name: {:?}", crate::status::clean(id)))
        .with_code("payload"))
}

/// Whether a text is a UUID or a slug, and so safe in a path.
pub fn is_id(text: &str) -> bool {
    (2..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// When what a notification is about was changed, as the notification says.
pub struct Announced {
    /// The resource; `None` if it is about the dataset itself.
    resource: Option<String>,
    changed: Option<String>,
}

impl Announced {
    /// Reads it from a payload; one that does not say leaves nothing to wait for.
    pub fn by(notification: Notification<'_>) -> Self {
        #[derive(Deserialize)]
        struct Payload {
            metadata_modified: Option<String>,
        }
        let is_dataset = notification.routing_key() == "Package";
        Self {
            resource: if is_dataset { None } else { notification.entity_id().ok().map(str::to_owned) },
            changed: notification.json::<Payload>().ok().and_then(|payload| payload.metadata_modified),
        }
    }

    /// Whether CKAN shows an older state than was announced. It writes all times in one form, so texts compare.
    fn is_newer_than(&self, dataset: &Dataset) -> bool {
        let shown = match &self.resource {
            None => dataset.metadata_modified.as_ref(),
            Some(id) => dataset
                .resources
                .iter()
                .find(|resource| resource.id == *id)
                .and_then(|resource| resource.metadata_modified.as_ref()),
        };
        self.changed.as_ref().zip(shown).is_some_and(|(announced, shown)| announced > shown)
    }
}

/// Reads a dataset; `None` if CKAN does not know it.
///
/// CKAN announces a change before it is committed: a dataset that is not there yet, or not yet changed, may be in a
/// moment. One that stays as it was is answered as it is, for not every announced change comes to be.
pub fn read(host: &Host<'_>, id: &str, announced: &Announced) -> Result<Option<Dataset>> {
    let mut waits = WAITS.iter();
    loop {
        let dataset: Option<Dataset> = match host.ckan().get("package_show", json!({ "id": id })) {
            Err(error) if error.is_not_found() => None,
            answer => Some(answer?),
        };
        if dataset.as_ref().is_some_and(|dataset| !announced.is_newer_than(dataset)) {
            return Ok(dataset);
        }
        match waits.next() {
            Some(wait) => host.sleep(*wait)?,
            None => return Ok(dataset),
        }
    }
}
