#![doc = include_str!("../README.md")]
#![allow(unsafe_code, reason = "the symbols that `export_worker!` exports")]

mod address;
mod dataset;
mod finding;
mod name;
mod record;
mod report;
mod sniff;
mod status;
mod store;
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

use ckan_worker_plugin::prelude::*;

use crate::dataset::{Announced, Dataset};
use crate::report::Summary;
use crate::store::Store;
use crate::visit::Visit;

/// The section `[worker:archive]`.
#[derive(Deserialize)]
struct Settings {
    /// Where the copies are kept; made if it is not there.
    dir: PathBuf,
    /// The longest file that is kept.
    #[serde(default = "default_bytes_max")]
    bytes_max: u64,
}

fn default_bytes_max() -> u64 {
    50_000_000
}

/// Keeps a copy of every resource.
struct Archive {
    store: Store,
    bytes_max: u64,
}

impl Worker for Archive {
    type Config = Settings;

    fn create(settings: Settings, _: &Host<'_>) -> Result<Self> {
        Ok(Self { store: Store::open(&settings.dir)?, bytes_max: settings.bytes_max })
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        let id = dataset::checked_id(*notification)?;
        let Some(dataset) = dataset::read(host, id, &Announced::by(*notification))? else {
            return Ok(Outcome::skipped("the dataset does not exist (any more)"));
        };
        if dataset.private {
            return self.withdraw(&dataset, host);
        }
        if !dataset.is_active() {
            return Ok(Outcome::skipped(format!("the dataset is not published: its state is {:?}", dataset.state)));
        }
        self.archive(&dataset, host)
    }
}

impl Archive {
    /// Looks at each resource, tells CKAN once what was found, and says how it went.
    fn archive(&self, dataset: &Dataset, host: &Host<'_>) -> Result<Outcome> {
        let mut summary = Summary::default();
        let mut records = Vec::new();
        let mut postponed = None;
        for resource in dataset.resources() {
            host.check_cancelled()?;
            match visit::visit(&self.store, self.bytes_max, dataset, resource, host)? {
                Visit::Unchanged(record) => records.push((resource, record)),
                Visit::Recorded(record) => {
                    summary.count(&record);
                    records.push((resource, record));
                }
                Visit::Refused => summary.not_kept += 1,
                Visit::Postponed(error) => {
                    summary.postponed += 1;
                    postponed = Some(later(postponed, error));
                }
            }
        }
        summary.told = writeback::tell(dataset, records, &self.store, host)?;
        if let Some(error) = postponed {
            summary.log(dataset, host);
            return Err(error);
        }
        if summary == Summary::default() {
            return Ok(Outcome::skipped("nothing changed"));
        }
        summary.log(dataset, host);
        Ok(Outcome::done())
    }

    /// Takes back what is kept of a dataset that is private: the directory is for everybody to read.
    fn withdraw(&self, dataset: &Dataset, host: &Host<'_>) -> Result<Outcome> {
        let mut removed = 0;
        for place in dataset.resources().filter_map(|resource| self.store.place(&resource.id)) {
            removed += usize::from(place.forget()?);
        }
        if removed > 0 {
            report::withdrawn(dataset, removed, host);
        }
        Ok(Outcome::skipped("chose not to download: the dataset is private"))
    }
}

/// The one of two postponements that takes longer.
fn later(so_far: Option<Error>, error: Error) -> Error {
    match so_far {
        Some(longer) if longer.delay() >= error.delay() => longer,
        _ => error,
    }
}

export_worker!(
    Archive,
    routing_keys: &["Package", "Resource"],
    operations: &["new", "changed"],
    writes: &["package_revise"],
    coalesce_ms: 2000,
);
