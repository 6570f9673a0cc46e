//! What a notification is about, and who may hear of it.

use std::cell::OnceCell;

use ckan_worker_plugin::prelude::*;

use crate::payload::Payload;

/// The dataset that a notification is about. CKAN is asked at most once, and only if the payload does not say.
pub struct Subject<'a> {
    package_id: Option<&'a str>,
    /// The payload, if it is the dataset's own.
    told: Option<&'a Payload<'a>>,
    shown: OnceCell<Result<Option<Dataset>>>,
    host: Host<'a>,
}

/// What `package_show` answers, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
struct Dataset {
    private: Option<bool>,
    state: Option<String>,
    owner_org: Option<String>,
    organization: Option<Organization>,
}

#[derive(Debug, Clone, Deserialize)]
struct Organization {
    name: Option<String>,
}

impl<'a> Subject<'a> {
    /// What `notification` is about.
    pub fn of(notification: Notification<'a>, payload: &'a Payload<'a>, host: Host<'a>) -> Self {
        let is_dataset = notification.routing_key() == "Package";
        Self {
            // Whatever belongs to no dataset has no such id: then nothing is known of it.
            package_id: notification.package_id().ok(),
            told: is_dataset.then_some(payload),
            shown: OnceCell::new(),
            host,
        }
    }

    /// Whether it is a dataset that everybody may see, or belongs to one. What is not known to be is not.
    ///
    /// # Errors
    /// CKAN cannot be asked.
    pub fn is_public(&self) -> Result<bool> {
        if let Some(told) = self.told.and_then(is_public_by_payload) {
            return Ok(told);
        }
        Ok(self.shown()?.is_some_and(|dataset| dataset.private == Some(false) && is_public_state(dataset.state())))
    }

    /// Whether its organization, by id or name, is one of these.
    ///
    /// # Errors
    /// CKAN cannot be asked.
    pub fn is_of(&self, organizations: &[String]) -> Result<bool> {
        let is_one = |organization: &String| organizations.contains(organization);
        if self.told.and_then(|payload| payload.text("owner_org")).as_ref().is_some_and(is_one) {
            return Ok(true);
        }
        let Some(dataset) = self.shown()? else { return Ok(false) };
        let name = dataset.organization.as_ref().and_then(|organization| organization.name.as_ref());
        Ok(dataset.owner_org.as_ref().into_iter().chain(name).any(is_one))
    }

    /// The dataset as CKAN shows it; `None` if there is none, or none for us to see.
    fn shown(&self) -> Result<Option<&Dataset>> {
        let look = || match self.package_id {
            None => Ok(None),
            // Asked without a token, or with one that may not see everything, CKAN refuses what is private.
            Some(id) => match self.host.ckan().dataset(id) {
                Err(error) if error.code() == "ckan.not-authorized" => Ok(None),
                answer => answer.map_err(|error| error.context("asking CKAN about the dataset")),
            },
        };
        match self.shown.get_or_init(look) {
            Ok(dataset) => Ok(dataset.as_ref()),
            Err(error) => Err(error.clone()),
        }
    }
}

impl Dataset {
    fn state(&self) -> &str {
        self.state.as_deref().unwrap_or_default()
    }
}

/// Whether a dataset's own payload says that everybody may see it; `None` if it does not say.
fn is_public_by_payload(payload: &Payload<'_>) -> Option<bool> {
    let state = payload.text("state")?;
    let mut said = payload.all::<bool>("private").peekable();
    said.peek()?;
    // Said twice, the stricter word counts.
    said.try_fold(is_public_state(&state), |so_far, is_private| Some(so_far && !is_private?))
}

/// What is deleted was published before; what is a draft was not yet.
fn is_public_state(state: &str) -> bool {
    matches!(state, "active" | "deleted")
}
