//! Knows a call's own writes again.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::Call;
use super::ending::Seen;
use crate::guard::{Fingerprint, View};
use crate::services::Failure;
use crate::services::ckan::{self, OwnWrites, Revision};
use crate::store::RunEnd;

/// Knows the call's own writes again.
pub(super) struct Own<'a> {
    pub call: &'a Call<'a>,
    pub seen: Option<&'a Seen>,
    /// Whether nothing but the end of the run comes after it.
    pub is_last: bool,
    /// Who writes, as CKAN is told.
    pub origin: String,
    /// What was noted before it was known to be done.
    pub noted: Mutex<Vec<(String, Fingerprint)>>,
}

impl Own<'_> {
    /// What the run is to leave behind once this write is known to have been done; `None` if more comes after it.
    fn run_end<'e>(&self, end: &'e RunEnd) -> Option<&'e RunEnd> {
        self.is_last.then_some(end)
    }

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
        Some(&self.origin)
    }

    fn before(&self, revision: &Revision) -> Result<(), Failure> {
        let end = self.call.end(self.seen, &revision.paths);
        let image = View::whole().fingerprint(&revision.after);
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push((revision.package.clone(), image));
        let end = self.run_end(&end).filter(|end| end.dataset == revision.package);
        Ok(self.call.store().note_write(self.call.worker, &revision.package, image, end)?)
    }

    fn after(&self, package: &Value) {
        // What CKAN made of it may look different from what was expected. If that cannot be noted, the fingerprint
        // still stops the loop.
        let image = View::whole().fingerprint(package);
        let end = self.call.end(self.seen, &[]);
        let end = self.run_end(&end).filter(|end| end.dataset == id_of(package));
        if let Err(error) = self.call.store().note_write(self.call.worker, id_of(package), image, end) {
            tracing::warn!(worker = self.call.worker, "{error}");
        }
    }
}

/// The id of a dataset.
pub(super) fn id_of(package: &Value) -> &str {
    package["id"].as_str().unwrap_or_default()
}
