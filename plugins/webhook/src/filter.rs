//! Which notifications a target asks for.

use ckan_worker_plugin::prelude::*;

use crate::subject::Subject;

/// The class of notifications that tell how the run of another worker ended.
const RUN: &str = "Run";

/// Which notifications a target asks for; an empty list asks for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The classes, as in `Package`; how runs ended, `Run`, is only told to who names it.
    pub routing_keys: Vec<String>,
    /// The operations, as in `changed`.
    pub operations: Vec<String>,
    /// The ids or names of organizations.
    pub organizations: Vec<String>,
    /// Whether it asks for what not everybody may see, too.
    pub private: bool,
}

impl Filter {
    /// Whether it asks for such a notification, as far as that can be said without asking CKAN.
    pub fn takes(&self, notification: Notification<'_>) -> bool {
        let is_asked_for = notification.routing_key() != RUN || !self.routing_keys.is_empty();
        is_asked_for
            && allows(&self.routing_keys, notification.routing_key())
            && allows(&self.operations, notification.operation())
    }

    /// Whether it asks for notifications about this.
    ///
    /// # Errors
    /// CKAN must be asked, and cannot be.
    pub fn takes_subject(&self, subject: &Subject<'_>) -> Result<bool> {
        if !self.private && !subject.is_public()? {
            return Ok(false);
        }
        if self.organizations.is_empty() { Ok(true) } else { subject.is_of(&self.organizations) }
    }
}

fn allows(asked: &[String], value: &str) -> bool {
    asked.is_empty() || asked.iter().any(|one| one == value)
}
