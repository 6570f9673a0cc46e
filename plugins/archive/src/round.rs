//! One round through the resources of a dataset.

use std::collections::BTreeSet;
use std::time::Duration;

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::dataset::{Dataset, Resource};
use crate::memory::Memory;
use crate::record::Record;
use crate::report::Summary;
use crate::settings::{Mode, Policy, Rooms, Uploads};
use crate::store::{Place, Store};
use crate::visit::{Visit, visit};
use crate::{leave, schedule, writeback};

/// What a round goes through, and by which rules.
pub struct Round<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// The directories.
    pub rooms: &'a Rooms,
    /// The dataset.
    pub dataset: &'a Dataset,
    /// The host.
    pub host: Host<'a>,
    /// When the round began; what is found in it comes due together.
    pub started: Timestamp,
    /// How long it may take.
    pub clock: Clock,
}

/// What is done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A copy is kept.
    Copy,
    /// Its link is looked at.
    Look,
}

/// What is left for later, and how long it waits.
#[derive(Default)]
struct Later {
    /// The servers that are busy: they are not asked again in this round.
    busy: BTreeSet<String>,
    /// What it asked for; the least of several.
    wish: Option<Duration>,
    /// Whether this run had no more time.
    out_of_time: bool,
}

impl<'a> Round<'a> {
    /// Looks at each resource that is due, tells CKAN once what was found, and says when to go on.
    pub fn go(&self, memory: &mut Memory<'a>, doubtful: bool) -> Result<Outcome> {
        let mut summary = Summary::default();
        let mut later = Later::default();
        let mut untold = Vec::new();
        let buried = leave::bury_orphans(self, memory)?;
        for resource in self.dataset.resources() {
            self.host.check_cancelled()?;
            let place = self.place(resource);
            let record = memory.record(&resource.id, place.as_ref())?;
            let is_over = self.is_over(memory);
            if is_over || later.has(resource) {
                later.out_of_time |= is_over;
                summary.postponed += usize::from(self.is_to_be_asked(resource, record.as_ref(), place.as_ref()));
                continue;
            }
            match visit(self, resource, place, record)? {
                Visit::NotDue(record) => untold.extend(self.remember(memory, resource, record)?),
                Visit::Recorded(record) => {
                    summary.count(&record);
                    untold.extend(self.remember(memory, resource, record)?);
                }
                Visit::LeftOut => {}
                Visit::Refused => summary.not_kept += 1,
                Visit::Postponed(error) => {
                    summary.postponed += 1;
                    later.add(resource, &error);
                }
            }
        }
        summary.told = writeback::tell(self, untold, memory)?;
        self.schedule(memory, &later, summary.has_progress(), doubtful)?;
        if summary != Summary::default() {
            summary.log(self.dataset, self.host);
        } else if buried == 0 {
            return Ok(Outcome::skipped(self.why_nothing()));
        }
        Ok(Outcome::done())
    }

    /// Where the copy of a resource is kept; `None` where none is.
    pub fn place(&self, resource: &Resource) -> Option<Place> {
        match self.wanted(resource) {
            Wanted::Copy => self.room().and_then(|room| room.place(&resource.id)),
            Wanted::Look => None,
        }
    }

    /// The room for the copies of this dataset.
    pub fn room(&self) -> Option<&'a Store> {
        if self.dataset.private { self.rooms.private.as_ref() } else { self.rooms.public.as_ref() }
    }

    /// What is done with a resource that is not left out.
    pub fn wanted(&self, resource: &Resource) -> Wanted {
        let only_looked_at = resource.is_upload() && self.policy.uploads == Uploads::Check;
        if self.policy.mode == Mode::Check || only_looked_at { Wanted::Look } else { Wanted::Copy }
    }

    /// Why a resource is left out; `None` if it is not.
    pub fn refuses(&self, resource: &Resource) -> Option<String> {
        if resource.is_upload() && self.policy.uploads == Uploads::Skip {
            return Some("left out by the settings: it was uploaded to CKAN".to_owned());
        }
        let filter = &self.policy.filter;
        filter.refuses_dataset(self.dataset).or_else(|| filter.refuses(resource))
    }

    /// Whether a resource is to be looked at now.
    pub fn is_due(&self, resource: &Resource, record: Option<&Record>, place: Option<&Place>) -> bool {
        let Some(record) = record else { return true };
        record.is_due(&resource.inputs(), self.policy.bytes_max, self.started)
            || record.private != self.dataset.private
            || !self.has_its_copy(resource, record, place)
    }

    fn is_to_be_asked(&self, resource: &Resource, record: Option<&Record>, place: Option<&Place>) -> bool {
        self.refuses(resource).is_none() && self.is_due(resource, record, place)
    }

    fn has_its_copy(&self, resource: &Resource, record: &Record, place: Option<&Place>) -> bool {
        if record.is_broken != Some(false) || self.wanted(resource) == Wanted::Look {
            return true;
        }
        place.zip(record.copy_name()).is_some_and(|(place, name)| place.has(&name))
    }

    fn is_over(&self, memory: &Memory<'_>) -> bool {
        self.clock.is_short(self.host) || memory.is_full()
    }

    /// Remembers a record, and answers it if CKAN is still to be told.
    fn remember<'r>(
        &self,
        memory: &mut Memory<'_>,
        resource: &'r Resource,
        mut record: Record,
    ) -> Result<Option<(&'r Resource, Record)>> {
        if record.next_check_at.is_none() && record.inputs.is_some() {
            record.next_check_at = schedule::next_check(&record, &self.dataset.id, record.updated);
        }
        memory.keep(&record)?;
        Ok((!record.written_back).then_some((resource, record)))
    }

    /// Says when to go on: with what was postponed, or else with what comes due first.
    fn schedule(&self, memory: &Memory<'_>, later: &Later, has_progress: bool, doubtful: bool) -> Result<()> {
        let is_busy = !later.busy.is_empty();
        let times = memory.note_postponed(is_busy, has_progress)?;
        let due = memory.records().filter_map(|record| record.next_check_at).min();
        // What is overdue was postponed.
        let due = due.map(|due| until(self.started, due)).filter(|wait| !wait.is_zero());
        let busy = is_busy.then(|| schedule::postponement(later.wish, times));
        let soon = (later.out_of_time || doubtful).then_some(schedule::WAIT_MIN);
        // Whoever mends the dataset changes nothing that is looked at here.
        let untold = memory.records().any(|record| record.not_stored.is_some()).then_some(schedule::TELL_AGAIN);
        let wait = [due, busy, soon, untold].into_iter().flatten().min();
        self.host.recheck_after(&self.dataset.id, wait.unwrap_or_default())
    }

    fn why_nothing(&self) -> String {
        let mut reasons = self.dataset.resources().map(|resource| self.refuses(resource));
        match reasons.next() {
            Some(Some(first)) if reasons.all(|reason| reason.is_some()) => format!("chose not to download: {first}"),
            _ => "nothing changed".to_owned(),
        }
    }
}

impl Later {
    fn add(&mut self, resource: &Resource, error: &Error) {
        if error.code() == crate::status::OUT_OF_TIME {
            self.out_of_time = true;
            return;
        }
        self.busy.insert(server_of(resource));
        let wish = error.delay();
        self.wish = self.wish.map_or(wish, |so_far| wish.map(|wish| wish.min(so_far)).or(Some(so_far)));
    }

    /// Whether a resource is on a server that is busy.
    fn has(&self, resource: &Resource) -> bool {
        !self.busy.is_empty() && self.busy.contains(&server_of(resource))
    }
}

/// The host in an address, as far as one can tell.
fn server_of(resource: &Resource) -> String {
    let url = url::Url::parse(resource.url()).ok();
    url.as_ref().and_then(url::Url::host_str).unwrap_or_default().to_owned()
}

/// How long from one moment to another; zero if it is over.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}
