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
use crate::settings::{Deleted, Policy, Rooms, Settings};

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
        let (policy, rooms) = (&self.policy, &self.rooms);
        rooms.be_dry(notification.is_dry_run());
        let (shown, deleted) = match host.ckan().dataset::<Dataset>(id) {
            // It is hidden from us, so it may have become private: nothing of it stays for everybody to read.
            Err(error) if is_deletion(*notification) && error.code() == "ckan.not-authorized" => {
                (None, Deleted::Remove)
            }
            shown => (shown?, policy.deleted),
        };
        let Some(dataset) = shown else {
            let mut memory = Memory::of(id, *host)?;
            return leave::bury_dataset(*notification, None, (deleted, rooms), &mut memory, *host);
        };
        let dataset = &dataset;
        let mut memory = Memory::of(&dataset.id, *host)?;
        let round = Round { policy, rooms, dataset, host: *host, started: Timestamp::now(), clock };
        // What became private is taken back before anything else is tried, whatever else became of the dataset.
        leave::leave_other_room(&round, &memory)?;
        match self.gate(dataset) {
            Gate::Deleted => leave::bury_dataset(*notification, Some(dataset), (deleted, rooms), &mut memory, *host),
            Gate::Private => leave::withdraw(&round, &mut memory),
            Gate::Unpublished => {
                Ok(Outcome::skipped(format!("the dataset is not published: its state is {:?}", dataset.state)))
            }
            Gate::Open => round.go(&mut memory, is_doubtful(*notification, dataset)),
        }
    }
}

/// What is done with a dataset.
enum Gate {
    /// It is deleted: what was kept of it goes.
    Deleted,
    /// It is private, and private ones are not looked at: what was kept of it goes.
    Private,
    /// It is not there for the public yet: it is left alone.
    Unpublished,
    /// Its resources are looked at.
    Open,
}

impl Archive {
    fn gate(&self, dataset: &Dataset) -> Gate {
        match dataset {
            dataset if dataset.is_deleted() => Gate::Deleted,
            dataset if dataset.private && !self.policy.private => Gate::Private,
            dataset if !dataset.is_active() => Gate::Unpublished,
            _ => Gate::Open,
        }
    }
}

fn is_deletion(notification: Notification<'_>) -> bool {
    notification.routing_key() == "Package" && notification.operation() == "deleted"
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
