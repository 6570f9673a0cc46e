//! What a call leaves behind: what is remembered, and what decides whether its worker is called again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ckan_worker_plugin::entity;
use serde_json::Value;

use super::Call;
use crate::guard::{Fingerprint, Look};
use crate::services::remembered::{Remembered, framed};
use crate::services::{Failure, http};
use crate::store::{self, RunEnd, Stored};

/// What a run looked at, which decides whether its worker is called again.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The dataset as it was then, or the part of it that the run was about.
    pub part: Arc<Value>,
    /// How the worker looks at it.
    pub look: Look,
    /// Whether the worker hears that it is deleted: that is something new, whatever else it has seen.
    pub is_deletion: bool,
}

impl Seen {
    /// The fingerprint of it, without what the worker is also known to write.
    pub fn fingerprint(&self, also: &BTreeSet<String>) -> Fingerprint {
        let fingerprint = self.look.fingerprint(&self.part, also);
        if self.is_deletion { fingerprint.of_edition("deleted") } else { fingerprint }
    }
}

impl Call<'_> {
    pub(in crate::services) fn get_state(&self, key: &str) -> Result<Bytes, Failure> {
        let value = self.state(|state| state.get(key))?;
        value.map(Bytes::from).ok_or_else(|| Failure::permanent("state.absent", "nothing is remembered under this key"))
    }

    pub(in crate::services) fn set_state(&self, key: &str, value: Option<&[u8]>) -> Result<Bytes, Failure> {
        self.check_run()?;
        self.state(|state| state.set(key, value)).map(|()| Bytes::new())
    }

    pub(in crate::services) fn swap_state(&self, key: &str, expected: &[u8], value: &[u8]) -> Result<Bytes, Failure> {
        self.check_run()?;
        let swapped = self.state(|state| state.swap(key, expected, value))?;
        Ok(Bytes::copy_from_slice(&[u8::from(swapped)]))
    }

    pub(in crate::services) fn scan_state(&self, prefix: &str, after: &str, limit: usize) -> Result<Bytes, Failure> {
        self.state(|state| Ok(framed(&state.scan(prefix, after, limit)?).into()))
    }

    fn state<T>(&self, work: impl FnOnce(&mut Remembered<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut notes = self.notes();
        work(&mut Remembered { store: self.store(), end: self.noted_end(&mut notes) })
    }

    pub(in crate::services) fn recheck(&self, dataset: &str, milliseconds: u64) -> Result<Bytes, Failure> {
        self.check_run()?;
        if !entity::is_id(dataset) {
            let message = format!("not the id of a dataset: {:?}", http::plain(dataset, 100));
            return Err(Failure::permanent("recheck.id", message));
        }
        let seconds = milliseconds.div_ceil(1000);
        let due = (milliseconds > 0).then(|| store::now().saturating_add(seconds));
        let mut notes = self.notes();
        self.noted_end(&mut notes).wakes.insert(dataset.to_owned(), due);
        Ok(Bytes::new())
    }

    /// Writes what was noted and stores what is remembered; for a run that ended well. `seen` is what it looked at, if
    /// that decides whether it is called again; `is_gone` that there is nothing any more to look at.
    ///
    /// # Errors
    /// CKAN does not take it, or it cannot be stored: then the run has not ended well.
    pub fn finish(&self, seen: Option<&Seen>, is_gone: bool) -> Result<(), Failure> {
        if !self.notes().deltas.is_empty() {
            self.write(seen)?;
        }
        let is_woken = self.about.is_some_and(|about| about.woken.is_some());
        if seen.is_none() && !is_gone && !is_woken && self.notes().end.is_none() {
            return Ok(());
        }
        let end = RunEnd { forget: is_gone, ..self.end(seen, &[]) };
        if end.is_empty() {
            return Ok(());
        }
        let stored = self.store().end(&end)?;
        crate::seed::point("store-written");
        match stored {
            Stored::All => Ok(()),
            Stored::Overtaken(key) => Err(Failure::retryable(
                "state.overtaken",
                format!("another run has changed what is remembered under {key:?} meanwhile"),
            )),
        }
    }

    /// What the run leaves behind as of now, if it also writes these.
    pub(super) fn end(&self, seen: Option<&Seen>, paths: &[String]) -> RunEnd {
        let mut notes = self.notes();
        let end = self.noted_end(&mut notes);
        end.outputs.extend(paths.iter().cloned());
        let fingerprint = seen.map(|seen| seen.fingerprint(&end.outputs));
        end.clone().having_seen(fingerprint)
    }

    /// What the worker was seen to write during the call.
    pub fn outputs(&self) -> BTreeSet<String> {
        self.notes().end.as_ref().map(|end| end.outputs.clone()).unwrap_or_default()
    }
}
