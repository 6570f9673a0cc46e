#![doc = include_str!("../README.md")]
#![allow(unsafe_code, reason = "the symbols that `export_worker!` exports")]

mod dataset;
mod format;
mod licence;
mod record;
mod report;
mod score;
mod sniff;
mod source;
#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "tests say what they expect where they expect it"
)]
mod tests;
mod visit;
mod writeback;

use std::path::PathBuf;
use std::time::Duration;

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;

use crate::dataset::Dataset;
use crate::format::Scores;
use crate::licence::Licences;
use crate::record::{DatasetRecord, Record, dataset_key, remembered, resource_key};
use crate::report::Summary;
use crate::source::Source;
use crate::visit::Visit;
use crate::writeback::{Write, WriteBack};

/// A server that asks for less time is left alone for this long all the same.
const POSTPONED_MIN: Duration = Duration::from_secs(60);
/// How much of a file may be looked at: less tells no format from another, and more is no head.
const HEAD_BYTES: std::ops::RangeInclusive<u64> = 4096..=262_144;

/// The section `[worker:qa]`.
#[derive(Debug, Deserialize)]
struct Settings {
    /// The directory that the worker `archive` keeps; without it files are fetched.
    archive_dir: Option<PathBuf>,
    /// How much of a file is looked at.
    #[serde(default = "default_head_bytes")]
    head_bytes: u64,
    /// How long a ZIP file or an old office document may be that is fetched as a whole.
    #[serde(default = "default_bytes_max")]
    bytes_max: u64,
    /// Where results are written.
    #[serde(default)]
    write: Write,
    /// Scores other than those of the table, as in `Parquet=3`.
    #[serde(default)]
    scores: Vec<String>,
    /// Licences that are open, whatever CKAN says of them.
    #[serde(default)]
    licenses_open: Vec<String>,
}

fn default_head_bytes() -> u64 {
    65_536
}

fn default_bytes_max() -> u64 {
    5_000_000
}

/// Scores resources.
struct Qa {
    source: Source,
    scores: Scores,
    licences: Licences,
    write_back: WriteBack,
    /// The settings that a score rests on, as one text.
    settings: String,
}

impl Worker for Qa {
    type Config = Settings;

    fn create(settings: Settings, _: &Host<'_>) -> Result<Self> {
        let Settings { archive_dir, head_bytes, bytes_max, write, scores, licenses_open } = settings;
        if !HEAD_BYTES.contains(&head_bytes) {
            let (min, max) = (HEAD_BYTES.start(), HEAD_BYTES.end());
            return Err(Error::permanent(format!("head_bytes: expected {min} to {max} bytes, got {head_bytes}")));
        }
        let scores = Scores::read(&scores)?;
        Ok(Self {
            settings: format!("{head_bytes} {bytes_max} {}", scores.told()),
            source: Source { archive_dir, head_bytes, bytes_max },
            scores,
            licences: Licences::new(&licenses_open),
            write_back: WriteBack::new(write),
        })
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        if notification.operation() == "deleted" && notification.routing_key() == "Resource" {
            host.state().delete(&resource_key(notification.entity_id()?))?;
            if notification.package_id().is_err() {
                return Ok(Outcome::done());
            }
        }
        let id = dataset::checked_id(*notification)?;
        let found = if is_purged(*notification) { None } else { host.ckan().dataset::<Dataset>(id)? };
        let Some(dataset) = found else {
            forget(id, host)?;
            return Ok(Outcome::skipped("the dataset does not exist (any more)"));
        };
        if dataset.private {
            forget(&dataset.id, host)?;
            return Ok(Outcome::skipped("the dataset is private"));
        }
        match dataset.state.as_str() {
            "active" => self.score(&dataset, host),
            state => {
                if state == "deleted" {
                    forget(&dataset.id, host)?;
                }
                Ok(Outcome::skipped(format!("the dataset is not published: its state is {state:?}")))
            }
        }
    }
}

impl Qa {
    /// Looks at each resource, tells CKAN what is new, and says how it went.
    fn score(&self, dataset: &Dataset, host: &Host<'_>) -> Result<Outcome> {
        let is_open = self.licences.is_open(dataset);
        let mut summary = Summary::default();
        let mut records = Vec::new();
        let mut wait = None;
        for resource in dataset.resources() {
            host.check_cancelled()?;
            let record = match self.visit(dataset, resource, is_open, host)? {
                Visit::Unchanged(record) => {
                    summary.unchanged += 1;
                    Some(record)
                }
                Visit::Scored(record) => {
                    summary.scored += 1;
                    Some(record)
                }
                Visit::Postponed(record, delay) => {
                    summary.postponed += 1;
                    wait = wait.max(Some(delay.max(POSTPONED_MIN)));
                    record
                }
                Visit::Refused => {
                    summary.refused += 1;
                    None
                }
            };
            if let Some(record) = record {
                records.push((resource.id.as_str(), record));
            }
        }
        for (id, record) in &mut records {
            let told = self.write_back.tell(id, record, host)?;
            summary.told += usize::from(told);
            remember(&resource_key(id), record, host)?;
        }
        if let Some(wait) = wait {
            host.recheck_after(&dataset.id, wait)?;
        }
        conclude(dataset, &records, &summary, host)
    }
}

/// Takes down what the dataset scores, forgets resources that it no longer has, and logs its line.
fn conclude(dataset: &Dataset, records: &[(&str, Record)], summary: &Summary, host: &Host<'_>) -> Result<Outcome> {
    let key = dataset_key(&dataset.id);
    let before: Option<DatasetRecord> = remembered(&key, host)?;
    let score = records.iter().map(|(_, record)| record.openness_score).max();
    let resources: Vec<String> = records.iter().map(|(id, _)| (*id).to_owned()).collect();
    let gone = before.iter().flat_map(|before| &before.resources).filter(|id| !resources.contains(id));
    for id in gone {
        host.state().delete(&resource_key(id))?;
    }
    let is_same = before.is_some_and(|before| before.openness_score == score && before.resources == resources);
    if !is_same {
        let record = DatasetRecord { openness_score: score, resources, updated: Timestamp::now() };
        host.state().put(&key, &record)?;
    }
    if is_same && summary.told == 0 && summary.scored + summary.postponed == 0 {
        return Ok(Outcome::skipped("nothing changed"));
    }
    summary.log(dataset, score, host);
    Ok(Outcome::done())
}

/// Puts a record, unless it is there.
fn remember(key: &str, record: &Record, host: &Host<'_>) -> Result<()> {
    if remembered::<Record>(key, host)?.as_ref() == Some(record) { Ok(()) } else { host.state().put(key, record) }
}

/// Forgets all that is known about a dataset and its resources.
fn forget(id: &str, host: &Host<'_>) -> Result<()> {
    let key = dataset_key(id);
    if let Some(record) = remembered::<DatasetRecord>(&key, host)? {
        for resource in &record.resources {
            host.state().delete(&resource_key(resource))?;
        }
        host.state().delete(&key)?;
    }
    Ok(())
}

/// Whether a notification says that a whole dataset is gone for good.
fn is_purged(notification: Notification<'_>) -> bool {
    notification.operation() == "deleted" && notification.routing_key() == "Package"
}

export_worker!(
    Qa,
    routing_keys: &["Package", "Resource"],
    operations: &["new", "changed", "deleted", "recheck"],
    writes: &["task_status_update", "package_revise"],
    coalesce_ms: 2000,
    inputs: &[
        "license_id",
        "isopen",
        "private",
        "state",
        "resources.*.id",
        "resources.*.url",
        "resources.*.format",
        "resources.*.hash",
        "resources.*.last_modified",
        "resources.*.state",
        "resources.*.mimetype",
        "resources.*.size",
    ],
    outputs: &["resources.*.openness_score", "resources.*.openness_score_reason"],
);
