#![doc = include_str!("../README.md")]
#![allow(unsafe_code, reason = "the symbols that `export_worker!` exports")]

mod address;
mod ask;
mod clock;
mod dataset;
mod filter;
mod finding;
mod leave;
mod memory;
mod name;
mod page;
mod record;
mod report;
mod round;
mod schedule;
mod service;
mod settings;
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

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::dataset::Dataset;
use crate::memory::Memory;
use crate::round::Round;
use crate::settings::{Policy, Rooms, Settings};

/// Keeps a copy of every resource.
struct Archive {
    policy: Policy,
    rooms: Rooms,
}

impl Worker for Archive {
    type Config = Settings;

    fn create(settings: Settings, _: &Host<'_>) -> Result<Self> {
        let (policy, rooms) = settings.read()?;
        Ok(Self { policy, rooms })
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        let clock = Clock::at_the_start(*host);
        let id = dataset::checked_id(*notification)?;
        let dataset: Option<Dataset> = host.ckan().dataset(id)?;
        let mut memory = Memory::of(dataset.as_ref().map_or(id, |dataset| &dataset.id), *host)?;
        let dataset = match &dataset {
            Some(dataset) if !dataset.is_deleted() => dataset,
            gone => {
                return leave::bury_dataset(
                    *notification,
                    gone.as_ref(),
                    (&self.policy, &self.rooms),
                    &mut memory,
                    *host,
                );
            }
        };
        if !dataset.is_active() {
            return Ok(Outcome::skipped(format!("the dataset is not published: its state is {:?}", dataset.state)));
        }
        let (policy, rooms) = (&self.policy, &self.rooms);
        let round = Round { policy, rooms, dataset, host: *host, started: Timestamp::now(), clock };
        if dataset.private && !policy.private {
            return leave::withdraw(&round, &mut memory);
        }
        round.go(&mut memory, is_doubtful(*notification, dataset))
    }
}

/// Whether CKAN announced that something is deleted, and still shows it: it announces before it commits.
fn is_doubtful(notification: Notification<'_>, dataset: &Dataset) -> bool {
    let is_there = match notification.routing_key() {
        "Resource" => notification.entity_id().is_ok_and(|id| dataset.has(id)),
        _ => true,
    };
    notification.operation() == "deleted" && is_there
}

export_worker!(
    Archive,
    routing_keys: &["Package", "Resource"],
    operations: &["new", "changed", "deleted", "recheck"],
    writes: &["package_revise"],
    coalesce_ms: 2000,
    inputs: &[
        "private",
        "state",
        "owner_org",
        "groups.*.name",
        "tags.*.name",
        "resources.*.id",
        "resources.*.url",
        "resources.*.url_type",
        "resources.*.format",
        "resources.*.last_modified",
        "resources.*.state",
    ],
    outputs: &[
        "resources.*.hash",
        "resources.*.size",
        "resources.*.mimetype",
        "resources.*.cache_url",
        "resources.*.cache_last_updated",
    ],
);
