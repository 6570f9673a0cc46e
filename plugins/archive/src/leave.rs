//! What is taken back: copies of what became private, and of what is deleted.

use std::collections::BTreeSet;

use ckan_worker_plugin::prelude::*;
use jiff::{SignedDuration, Timestamp};

use crate::dataset::Dataset;
use crate::memory::Memory;
use crate::record::Record;
use crate::round::Round;
use crate::settings::{Deleted, Rooms};
use crate::{report, schedule, writeback};

/// How long the record of a deleted resource is remembered while its dataset lives.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Forgets a dataset that is private and not to be looked at; its copies are gone already.
pub fn withdraw(round: &Round<'_>, memory: &mut Memory<'_>) -> Result<Outcome> {
    for id in memory.ids() {
        if memory.is_full() {
            break;
        }
        memory.forget(&id)?;
    }
    let wait = if memory.is_full() { schedule::WAIT_MIN } else { std::time::Duration::ZERO };
    round.host.recheck_after(&round.dataset.id, wait)?;
    memory.note_postponed(false, false)?;
    Ok(Outcome::skipped("chose not to download: the dataset is private"))
}

/// Removes what lies in the room for the other audience: the public one is for everybody to read.
pub fn leave_other_room(round: &Round<'_>, memory: &Memory<'_>) -> Result<()> {
    let (rooms, dataset) = (round.rooms, round.dataset);
    let other = if dataset.private { &rooms.public } else { &rooms.private };
    let Some(other) = other else { return Ok(()) };
    let mut ids: BTreeSet<String> = dataset.all_ids().map(str::to_owned).collect();
    ids.extend(memory.ids());
    let mut removed = 0;
    for place in ids.iter().filter_map(|id| other.place(id)) {
        removed += usize::from(place.forget()?);
    }
    if removed > 0 && dataset.private {
        report::withdrawn(dataset, removed, round.host);
        writeback::forget_cache_urls(round)?;
    }
    Ok(())
}

/// Buries the resources that are remembered and no longer in the dataset, and answers how many.
pub fn bury_orphans(round: &Round<'_>, memory: &mut Memory<'_>) -> Result<usize> {
    let mut buried = 0;
    for id in memory.ids() {
        if memory.is_full() {
            break;
        }
        if !round.dataset.has(&id) && bury(&id, round.policy.deleted, round.rooms, memory)? {
            buried += 1;
        }
    }
    if buried > 0 {
        report::buried(&round.dataset.title(), &round.dataset.id, buried, round.host);
    }
    Ok(buried)
}

/// Buries all resources of a dataset that is deleted; `what` becomes of the copies, `dataset` is what CKAN still shows.
pub fn bury_dataset(
    notification: Notification<'_>,
    dataset: Option<&Dataset>,
    (what, rooms): (Deleted, &Rooms),
    memory: &mut Memory<'_>,
    host: Host<'_>,
) -> Result<Outcome> {
    let id = dataset.map_or(notification.package_id()?, |dataset| &dataset.id);
    let mut ids: BTreeSet<String> = memory.ids().into_iter().collect();
    ids.extend(dataset.into_iter().flat_map(Dataset::all_ids).map(str::to_owned));
    ids.extend(named_in(notification));
    let mut buried = 0;
    for id in ids {
        if memory.is_full() {
            break;
        }
        buried += usize::from(bury(&id, what, rooms, memory)?);
    }
    let wait = if memory.is_full() { schedule::WAIT_MIN } else { std::time::Duration::ZERO };
    host.recheck_after(id, wait)?;
    memory.note_postponed(false, false)?;
    if buried > 0 {
        report::buried(&dataset.map_or_else(|| id.to_owned(), Dataset::title), id, buried, host);
        return Ok(Outcome::done());
    }
    Ok(Outcome::skipped(match dataset {
        Some(_) => "the dataset is deleted, and nothing was kept of it",
        None => "the dataset does not exist (any more)",
    }))
}

/// Writes down that a resource is deleted, and removes its copy if that is what becomes of such.
///
/// What belongs to another dataset, or is not remembered at all, is left alone: ids in a notification are only words.
fn bury(resource_id: &str, what: Deleted, rooms: &Rooms, memory: &mut Memory<'_>) -> Result<bool> {
    let places: Vec<_> =
        [&rooms.public, &rooms.private].into_iter().flatten().filter_map(|room| room.place(resource_id)).collect();
    let mut found: Option<Record> = memory.record(resource_id, None)?;
    for place in &places {
        found = found.or(memory.record(resource_id, Some(place))?);
    }
    let Some(mut record) = found else { return Ok(false) };
    let now = Timestamp::now();
    if let Some(deleted) = record.deleted_at {
        if now.duration_since(deleted) > REMEMBERED {
            memory.forget(resource_id)?;
        }
        return Ok(false);
    }
    record.deleted_at = Some(now);
    record.inputs = None;
    record.next_check_at = None;
    record.written_back = true;
    for place in &places {
        match what {
            Deleted::Remove => drop(place.forget()?),
            Deleted::Keep if place.record()?.is_some() => place.remember(&record)?,
            Deleted::Keep => {}
        }
    }
    if what == Deleted::Remove {
        record.forget_copy();
    }
    memory.keep(&record)?;
    Ok(true)
}

/// The ids of resources that a notification names: of copies that were made before there was a memory.
fn named_in(notification: Notification<'_>) -> Vec<String> {
    #[derive(Deserialize)]
    struct Payload {
        #[serde(default)]
        resources: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        id: Option<String>,
    }
    let resources = notification.json::<Payload>().map(|payload| payload.resources).unwrap_or_default();
    let own = (notification.routing_key() == "Resource").then(|| notification.entity_id().ok()).flatten();
    resources.into_iter().filter_map(|named| named.id).chain(own.map(str::to_owned)).collect()
}
