//! Writes what workers have noted: one `package_revise` for each dataset, and none where CKAN has it so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ckan_worker_plugin::{Delta, Written};
use serde_json::Value;

use super::delta::{self, Revision};
use super::{Client, LOST_RACE, NOT_FOUND, answer, bad_request};
use crate::services::Failure;

/// How often a dataset is written again after others were faster.
const TRIES_MAX: u32 = 5;
const ACTION: &str = "package_revise";

/// Who keeps a ledger of our own writes, so that their echo is recognised.
pub trait OwnWrites: Sync {
    /// Told before a dataset is written, and again before a further try with what was read then: the notification of a
    /// write may come before CKAN's answer. The dataset looks like `dataset` now; `is_last` says that no other is written
    /// after it.
    ///
    /// # Errors
    /// It cannot be noted; then nothing is written.
    fn before(&self, revision: &Revision, dataset: &Value, is_last: bool) -> Result<(), Failure>;

    /// Told the dataset as CKAN has it after the write.
    fn after(&self, package: &Value);

    /// Who writes, for the header `X-CKAN-Worker-Origin`.
    fn origin(&self) -> Option<&str> {
        None
    }
}

/// Writes what was noted. `about` is the dataset that the notification is about; `known` are those that were read in
/// this run, by id, and holds afterwards what was read and written.
///
/// # Errors
/// As [`Client::action`]; `ckan.lost-race` if what was expected does not hold, or others wrote each time. What was
/// written of other datasets before stays.
#[expect(clippy::implicit_hasher, reason = "a run has one map of what it has read")]
pub async fn flush(
    client: &Client,
    deltas: Vec<Delta>,
    about: Option<&str>,
    known: &mut HashMap<String, Arc<Value>>,
    own: &dyn OwnWrites,
) -> Result<Written, Failure> {
    let mut desk = Desk { client, known, fresh: HashSet::new(), own };
    let mut written = Written::default();
    let mut groups = desk.by_dataset(deltas, about).await?;
    // What the notification is about comes last: once that is written, all is.
    groups.sort_by_key(|(id, _)| about == Some(id));
    let last = groups.len().saturating_sub(1);
    for (index, (id, deltas)) in groups.into_iter().enumerate() {
        desk.write(id, &deltas, index == last, &mut written).await?;
    }
    Ok(written)
}

/// One flush.
struct Desk<'a> {
    client: &'a Client,
    known: &'a mut HashMap<String, Arc<Value>>,
    /// The datasets that were read just now.
    fresh: HashSet<String>,
    own: &'a dyn OwnWrites,
}

impl Desk<'_> {
    /// Groups what was noted by dataset, in the order in which the datasets were first named.
    async fn by_dataset(
        &mut self,
        deltas: Vec<Delta>,
        about: Option<&str>,
    ) -> Result<Vec<(String, Vec<Delta>)>, Failure> {
        let mut groups: Vec<(String, Vec<Delta>)> = Vec::new();
        for delta in deltas {
            let id = self.dataset_of(&delta, about).await?;
            match groups.iter_mut().find(|(other, _)| *other == id) {
                Some((_, group)) => group.push(delta),
                None => groups.push((id, vec![delta])),
            }
        }
        Ok(groups)
    }

    /// The id of the dataset that a change is about; afterwards it is known.
    async fn dataset_of(&mut self, delta: &Delta, about: Option<&str>) -> Result<String, Failure> {
        if let Some(package) = &delta.package {
            return self.id_of(package).await;
        }
        let Some(resource) = &delta.resource else {
            let about =
                about.ok_or_else(|| bad_request(ACTION, "no dataset is named, and the notification is about none"))?;
            return self.id_of(about).await;
        };
        if let Some(id) = self.with_resource(resource) {
            return Ok(id);
        }
        let shown = self.client.show("resource_show", resource).await?;
        let package = shown["package_id"].as_str();
        self.id_of(package.ok_or_else(|| answer::incompatible("resource_show", "the resource has no dataset"))?).await
    }

    fn with_resource(&self, resource: &str) -> Option<String> {
        let has_it = |dataset: &Value| {
            dataset["resources"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == resource))
        };
        self.known.iter().find(|(_, dataset)| has_it(dataset)).map(|(id, _)| id.clone())
    }

    /// The id of a dataset that is named by its id or its name; reads it if it is not known.
    async fn id_of(&mut self, name: &str) -> Result<String, Failure> {
        if self.known.contains_key(name) {
            return Ok(name.to_owned());
        }
        match self.known.iter().find(|(_, dataset)| dataset["name"] == name) {
            Some((id, _)) => Ok(id.clone()),
            None => self.read(name).await,
        }
    }

    async fn read(&mut self, name: &str) -> Result<String, Failure> {
        let dataset = self.client.show("package_show", name).await?;
        let id = dataset["id"].as_str().ok_or_else(|| answer::incompatible("package_show", "the dataset has no id"))?;
        let id = id.to_owned();
        self.fresh.insert(id.clone());
        self.known.insert(id.clone(), Arc::new(dataset));
        Ok(id)
    }

    async fn write(
        &mut self,
        id: String,
        deltas: &[Delta],
        is_last: bool,
        written: &mut Written,
    ) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let revision = match delta::revision(&self.known[&id], deltas) {
                Ok(Some(revision)) => revision,
                Ok(None) => {
                    written.unchanged += delta::things(deltas);
                    return Ok(());
                }
                // It was read a while ago, and may be otherwise by now.
                Err(failure) if may_be_stale(&failure) && !self.fresh.contains(&id) && tries < TRIES_MAX => {
                    self.read(&id).await?;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            match self.send(&revision, is_last).await {
                Ok(()) => {
                    written.changed += revision.changed;
                    written.unchanged += revision.unchanged;
                    written.datasets.push(id);
                    return Ok(());
                }
                Err(failure) if is_behind(&failure) && tries < TRIES_MAX => drop(self.read(&id).await?),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Sends a revision, and takes the dataset from the answer.
    async fn send(&mut self, revision: &Revision, is_last: bool) -> Result<(), Failure> {
        if self.client.is_dry_run() {
            self.client.tell_revision(revision);
            self.known.insert(revision.package.clone(), Arc::new(revision.after.clone()));
            return Ok(());
        }
        self.own.before(revision, &self.known[&revision.package], is_last)?;
        let body = Bytes::from(Value::Object(revision.parameters.clone()).to_string());
        let answered = self.client.action_as(self.own.origin(), ACTION, body).await?;
        let mut answered: Value =
            serde_json::from_slice(&answered).map_err(|error| answer::incompatible(ACTION, &error.to_string()))?;
        let package = answered["package"].take();
        if package["id"] != revision.package.as_str() {
            return Err(answer::incompatible(ACTION, "the answer has no dataset, or another one"));
        }
        self.own.after(&package);
        self.known.insert(revision.package.clone(), Arc::new(package));
        Ok(())
    }
}

fn may_be_stale(failure: &Failure) -> bool {
    matches!(failure.code, LOST_RACE | NOT_FOUND)
}

/// Whether CKAN refused a revision because the dataset is not as it was read: a field differs, or a resource is gone.
fn is_behind(failure: &Failure) -> bool {
    failure.code == LOST_RACE
        || matches!(failure.code, "ckan.validation" | "ckan.bad-request")
            && ["Unmatched key", "Integrity Error"].iter().any(|words| failure.detail.contains(words))
}
