//! What this worker remembers of a dataset from one run to the next: in the host's state, by dataset and resource.

use std::collections::BTreeMap;

use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::serde_json;

use crate::record::Record;
use crate::store::Place;

/// A run may write 10,000 keys; these are left for what remains to be said at its end.
const WRITES_MAX: usize = 4_500;

/// The records of a dataset's resources: `resource/<dataset>/<resource>` in the state.
pub struct Memory<'a> {
    host: Host<'a>,
    dataset_id: String,
    records: BTreeMap<String, Record>,
    writes: usize,
}

/// What is remembered of a dataset itself: `dataset/<dataset>` in the state.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Postponed {
    /// How often in a row something had to be postponed.
    times: u32,
}

impl<'a> Memory<'a> {
    /// Reads what is remembered of a dataset. What cannot be read counts as forgotten.
    pub fn of(dataset_id: &str, host: Host<'a>) -> Result<Self> {
        let prefix = format!("resource/{dataset_id}/");
        let found = host.state().scan::<Value>(&prefix)?;
        let read = |(key, value): (String, Value)| {
            let record: Record = serde_json::from_value(value).ok()?;
            Some((key.strip_prefix(&prefix)?.to_owned(), record.completed()))
        };
        let records = found.into_iter().filter_map(read).collect();
        Ok(Self { host, dataset_id: dataset_id.to_owned(), records, writes: 0 })
    }

    /// The record of a resource: that of the state, or else what lies beside its copy.
    ///
    /// A run that failed has stored nothing in the state, but has kept its copies with their records; these are newer.
    pub fn record(&self, resource_id: &str, place: Option<&Place>) -> Result<Option<Record>> {
        let remembered = self.records.get(resource_id).cloned();
        let beside = place.map(Place::record).transpose()?.flatten();
        let beside = beside.filter(|record| record.package_id == self.dataset_id);
        Ok(match (remembered, beside) {
            (Some(remembered), Some(beside)) if beside.updated > remembered.updated => Some(beside),
            (None, beside) => beside,
            (remembered, _) => remembered,
        })
    }

    /// Remembers a record, if it differs.
    pub fn keep(&mut self, record: &Record) -> Result<()> {
        if self.records.get(&record.resource_id) != Some(record) {
            self.writes += 1;
            self.host.state().put(&self.key(&record.resource_id), record)?;
            self.records.insert(record.resource_id.clone(), record.clone());
        }
        Ok(())
    }

    /// Forgets a resource.
    pub fn forget(&mut self, resource_id: &str) -> Result<()> {
        if self.records.remove(resource_id).is_some() {
            self.writes += 1;
            self.host.state().delete(&self.key(resource_id))?;
        }
        Ok(())
    }

    /// The ids of the resources that something is remembered of.
    pub fn ids(&self) -> Vec<String> {
        self.records.keys().cloned().collect()
    }

    /// All records.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Whether this run has written as much as one run should.
    pub fn is_full(&self) -> bool {
        self.writes >= WRITES_MAX
    }

    /// Notes whether something had to be postponed, and answers how often that has been so in a row, with nothing else
    /// done.
    pub fn note_postponed(&self, is_postponed: bool, has_progress: bool) -> Result<u32> {
        let key = format!("dataset/{}", self.dataset_id);
        let so_far = self.host.state().get::<Value>(&key)?;
        if !is_postponed {
            return if so_far.is_some() { self.host.state().delete(&key).map(|()| 0) } else { Ok(0) };
        }
        let so_far: Postponed = so_far.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
        let times = if has_progress { 1 } else { so_far.times.saturating_add(1) };
        self.host.state().put(&key, &Postponed { times })?;
        Ok(times)
    }

    fn key(&self, resource_id: &str) -> String {
        format!("resource/{}/{resource_id}", self.dataset_id)
    }
}
