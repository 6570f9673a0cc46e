//! Knows a call's own writes again.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::Call;
use super::ending::Seen;
use crate::guard::{Fingerprint, View};
use crate::services::Failure;
use crate::services::ckan::{self, OwnWrites, Revision};

/// Knows the call's own writes again.
pub(super) struct Own<'a> {
    pub call: &'a Call<'a>,
    pub seen: Option<&'a Seen>,
    /// Whether nothing but the end of the run comes after it.
    pub is_last: bool,
    /// What was noted before it was known to be done.
    pub noted: Mutex<Vec<(String, Fingerprint)>>,
}

impl Own<'_> {
    /// Forgets what was noted, unless it may have been done all the same.
    pub fn forget_unless_done(&self, failure: &Failure) -> Result<(), Failure> {
        if matches!(failure.code, ckan::UNAVAILABLE | "ckan.server" | "cancelled") {
            return Ok(());
        }
        for (dataset, image) in self.noted.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.call.store().forget_write(self.call.worker, &dataset, image)?;
        }
        Ok(())
    }
}

impl OwnWrites for Own<'_> {
    fn origin(&self) -> Option<&str> {
        Some(self.call.worker)
    }

    fn before(&self, revision: &Revision) -> Result<(), Failure> {
        let end = self.call.end(self.seen, &revision.paths);
        let is_end = self.is_last && end.dataset == revision.package;
        let image = View::whole().fingerprint(&revision.after);
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push((revision.package.clone(), image));
        Ok(self.call.store().note_write(self.call.worker, &revision.package, image, is_end.then_some(&end))?)
    }

    fn after(&self, package: &Value) {
        // What CKAN made of it may look different from what was expected. If that cannot be noted, the fingerprint
        // still stops the loop.
        let image = View::whole().fingerprint(package);
        if let Err(error) = self.call.store().note_write(self.call.worker, id_of(package), image, None) {
            tracing::warn!(worker = self.call.worker, "{error}");
        }
    }
}

/// The id of a dataset.
pub(super) fn id_of(package: &Value) -> &str {
    package["id"].as_str().unwrap_or_default()
}
