//! A call's way to the portal.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ckan_worker_plugin::{Delta, Written};
use serde_json::Value;

use super::ending::Seen;
use super::own::{Own, id_of};
use super::{Call, json};
use crate::guard::View;
use crate::services::Failure;
use crate::services::ckan::{self, Announced};

/// Stands among what a worker writes for what cannot be told: no field is called so.
const UNKNOWN: &str = "(unknown)";

impl Call<'_> {
    pub(in crate::services) fn action(&self, name: &str, body: &[u8]) -> Result<Bytes, Failure> {
        let result =
            self.wait(self.services.ckan.action_as(Some(&self.origin()), name, Bytes::copy_from_slice(body)))?;
        if ckan::kind(name, body) != ckan::Kind::Read {
            self.note_effects(name, body, &result)?;
        }
        Ok(result)
    }

    pub(in crate::services) fn get(&self, name: &str, query: &[u8]) -> Result<Bytes, Failure> {
        self.wait(self.services.ckan.get(name, query))
    }

    pub(in crate::services) fn upload(&self, name: &str, parameters: &[u8], file: &[u8]) -> Result<Bytes, Failure> {
        let result = self.wait(self.services.ckan.upload_as(Some(&self.origin()), name, parameters, file))?;
        self.note_effects(name, parameters, &result)?;
        Ok(result)
    }

    /// Notes what an ordinary action has written, so that it is known again when it comes back as a notification.
    fn note_effects(&self, name: &str, body: &[u8], result: &Bytes) -> Result<(), Failure> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        // Who updates a dataset sends all of it back; that says nothing about what it changed.
        let paths = if name.ends_with("_update") { Vec::new() } else { ckan::paths(name, &body) };
        let is_about_datasets =
            ["package_", "resource_", "dataset_", "bulk_"].iter().any(|what| name.starts_with(what));
        if !is_about_datasets {
            return Ok(());
        }
        let result: Value = serde_json::from_slice(result).unwrap_or_default();
        let written = ckan::package_in(name, &result);
        {
            let mut notes = self.notes();
            let outputs = &mut self.noted_end(&mut notes).outputs;
            outputs.insert(UNKNOWN.to_owned());
            outputs.extend(paths.into_iter().filter(|path| path != "resources"));
            // Whatever was read of it before is old by now.
            match written {
                Some(package) => drop(notes.shown.insert(id_of(package).to_owned(), Arc::new(package.clone()))),
                None => notes.shown.clear(),
            }
        }
        if let Some(package) = written {
            self.store().note_write(self.worker, id_of(package), View::whole().fingerprint(package), None)?;
        }
        Ok(())
    }

    /// The dataset of this id, as it was announced.
    ///
    /// # Errors
    /// As [`ckan::Client::dataset`], or the call was taken back.
    pub fn dataset(&self, id: &str) -> Result<Arc<Value>, Failure> {
        if let Some(shown) = self.notes().shown.get(id) {
            return Ok(Arc::clone(shown));
        }
        let announced = self.about.filter(|about| about.notification.package_id() == Some(id));
        let announced =
            announced.map(|about| Announced::by(about.notification.routing_key(), about.notification.payload()));
        let dataset = Arc::new(self.wait(self.services.ckan.dataset(id, &announced.unwrap_or_default()))?);
        self.notes().shown.insert(id.to_owned(), Arc::clone(&dataset));
        Ok(dataset)
    }

    pub(in crate::services) fn merge(&self, delta: &[u8]) -> Result<Bytes, Failure> {
        self.check_run()?;
        let delta: Delta = serde_json::from_slice(delta)
            .map_err(|error| Failure::permanent("ckan.bad-request", format!("not a change to note: {error}")))?;
        self.notes().deltas.push(delta);
        Ok(Bytes::new())
    }

    /// Writes what was noted so far.
    pub(in crate::services) fn flush(&self) -> Result<Bytes, Failure> {
        json(&self.write(None)?)
    }

    pub(super) fn write(&self, seen: Option<&Seen>) -> Result<Written, Failure> {
        let (deltas, mut shown) = {
            let mut notes = self.notes();
            (std::mem::take(&mut notes.deltas), std::mem::take(&mut notes.shown))
        };
        let about = self.about.and_then(|about| about.notification.package_id());
        let own = Own { call: self, seen, is_last: seen.is_some(), origin: self.origin(), noted: Mutex::default() };
        let written = self.wait(ckan::flush(&self.services.ckan, deltas, about, &mut shown, &own));
        self.notes().shown = shown;
        if let Err(failure) = &written {
            own.forget_unless_done(failure)?;
        }
        crate::seed::point("ckan-written");
        written
    }
}
