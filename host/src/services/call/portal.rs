//! A call's way to the portal.

use std::sync::Arc;

use bytes::Bytes;
use ckan_worker_plugin::{Delta, Written};
use serde_json::Value;

use super::ending::Seen;
use super::own::{Own, id_of};
use super::{Call, Shown, json};
use crate::guard::View;
use crate::services::Failure;
use crate::services::ckan::{self, Announced};
use crate::store::Image;

/// Stands among what a worker writes for what cannot be told: no field is called so.
const UNKNOWN: &str = "(unknown)";

impl Call<'_> {
    pub(in crate::services) fn action(&self, name: &str, body: &[u8]) -> Result<Bytes, Failure> {
        let result =
            self.wait(self.services.ckan.action_as(Some(&self.origin()), name, Bytes::copy_from_slice(body)))?;
        if ckan::kind(name, body) != ckan::Kind::Read {
            self.note_effects(name, body, &result);
        }
        Ok(result)
    }

    pub(in crate::services) fn get(&self, name: &str, query: &[u8]) -> Result<Bytes, Failure> {
        self.wait(self.services.ckan.get(name, query))
    }

    pub(in crate::services) fn upload(&self, name: &str, parameters: &[u8], file: &[u8]) -> Result<Bytes, Failure> {
        let result = self.wait(self.services.ckan.upload_as(Some(&self.origin()), name, parameters, file))?;
        self.note_effects(name, parameters, &result);
        Ok(result)
    }

    /// Notes what an ordinary action has written, so that it is known again when it comes back as a notification.
    fn note_effects(&self, name: &str, body: &[u8], result: &Bytes) {
        let is_about_datasets =
            ["package_", "resource_", "dataset_", "bulk_"].iter().any(|what| name.starts_with(what));
        if !is_about_datasets {
            return;
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let result: Value = serde_json::from_slice(result).unwrap_or_default();
        let written = ckan::package_in(name, &result);
        let before = {
            let mut notes = self.notes();
            let learned = learned(name, &body, &notes.shown);
            self.noted_end(&mut notes).outputs.extend(learned);
            // Whatever was read of it before is old by now.
            if let Some(package) = written {
                notes.shown.insert(id_of(package).to_owned(), Arc::new(package.clone()))
            } else {
                notes.shown.clear();
                None
            }
        };
        let Some(package) = written else { return };
        if is_ours_alone(name, &body, before.as_deref(), package) {
            let (subject, image) = (id_of(package), View::whole().fingerprint(package));
            let image = Image { worker: self.worker, subject, call: self.number, image };
            // It is done: failing now would have it done twice. The fingerprint still stops the loop.
            if let Err(error) = self.store().note_write(&image, None) {
                tracing::warn!(worker = self.worker, "{error}");
            }
        }
    }

    /// The dataset of this id or name, as it was announced.
    ///
    /// # Errors
    /// As [`ckan::Client::dataset`], or the call was taken back.
    pub fn dataset(&self, id: &str) -> Result<Arc<Value>, Failure> {
        let is_meant = |(key, dataset): &(&String, &Arc<Value>)| *key == id || dataset["name"] == id;
        if let Some((_, shown)) = self.notes().shown.iter().find(is_meant) {
            return Ok(Arc::clone(shown));
        }
        let announced = self.about.filter(|_| self.is_about(id));
        let announced = announced.map(|about| {
            Announced::by(
                about.notification.routing_key(),
                about.notification.operation(),
                about.notification.payload(),
            )
        });
        let dataset = Arc::new(self.wait(self.services.ckan.dataset(id, &announced.unwrap_or_default()))?);
        self.notes().shown.insert(id_of(&dataset).to_owned(), Arc::clone(&dataset));
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
        let own = Own::new(self, seen);
        let written = self.wait(ckan::flush(&self.services.ckan, deltas, about, &mut shown, &own));
        self.notes().shown = shown;
        if let Err(failure) = &written {
            own.forget_unless_done(failure)?;
        }
        crate::seed::point("ckan-written");
        written
    }
}

/// What an action teaches about what its worker writes: that it does, and of a patch the fields that it changed, as far as
/// it is known how they were. Who sends all of a dataset back says nothing about what it changed.
fn learned(name: &str, body: &Value, shown: &Shown) -> Vec<String> {
    let before = match name {
        "package_patch" => shown.get(body["id"].as_str().unwrap_or_default()).map(|dataset| (&**dataset, "")),
        "resource_patch" => shown
            .values()
            .flat_map(|dataset| dataset["resources"].as_array().into_iter().flatten())
            .find(|resource| resource["id"] == body["id"])
            .map(|resource| (resource, "resources.*.")),
        _ => None,
    };
    let changed = before.into_iter().flat_map(|(before, place)| {
        let fields = body.as_object().into_iter().flatten().filter(|(field, _)| *field != "resources");
        fields
            .filter(|(field, value)| before[field.as_str()] != **value)
            .map(move |(field, _)| format!("{place}{field}"))
    });
    std::iter::once(UNKNOWN.to_owned()).chain(changed).collect()
}

/// Whether a dataset looks as it does because of an action alone. If somebody else has changed it meanwhile, that is to be
/// looked at. Of what was sent as a whole nothing of theirs is left.
fn is_ours_alone(name: &str, body: &Value, before: Option<&Value>, package: &Value) -> bool {
    if matches!(name, "package_create" | "package_update") {
        return true;
    }
    let paths = ckan::paths(name, body);
    let beside = View::of_worker(&[], &paths);
    !paths.is_empty() && before.is_some_and(|before| beside.fingerprint(before) == beside.fingerprint(package))
}
