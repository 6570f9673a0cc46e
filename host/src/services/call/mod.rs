//! One call into a worker: what it may ask for while it lasts, and what it leaves behind.

mod ending;
mod own;
mod portal;
mod strangers;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ckan_worker_plugin::{Delta, Level};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{Failure, ckan, fetch};
use crate::guard::{Budget, Subject};
use crate::notification::Notification;
use crate::observe::{LogLine, Observer, log};
use crate::store::{RunEnd, Store, WakeKey};

pub use ending::Seen;

/// What all calls of all workers share.
pub struct Services {
    /// The portal.
    pub ckan: ckan::Client,
    /// The way to strangers' addresses.
    pub fetcher: fetch::Fetcher,
    /// The name of this machine, as CKAN is told with each write.
    pub host_id: String,
    /// Where fetched files lie until the call ends.
    pub fetched_dir: PathBuf,
    /// What workers remember.
    pub store: Store,
    /// How often a worker may be called for one dataset.
    pub budget: Budget,
    /// The runtime that waits for the network.
    pub runtime: Handle,
    /// Becomes `true` when work in hand is to be given up.
    pub give_up: watch::Receiver<bool>,
    /// Who is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Services {
    /// How a worker's writes are signed: with this machine's name and its own.
    pub fn origin(&self, worker: &str) -> String {
        format!("{};{worker}", self.host_id)
    }

    /// How the services were used so far, for a log line; `None` if nobody used them.
    pub fn usage(&self) -> Option<String> {
        let calls = self
            .ckan
            .counted()
            .calls
            .into_iter()
            .map(|(kind, ended, count)| (format!("ckan {} {}", lower(kind), lower(ended)), count));
        let fetches = self.fetcher.counts().snapshot().outcomes.into_iter();
        let fetches = fetches.map(|(outcome, count)| (format!("fetch {outcome}"), count));
        let used: Vec<String> = calls
            .chain(fetches)
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        (!used.is_empty()).then(|| used.join(", "))
    }
}

/// The name of a variant as a word in a sentence.
fn lower(variant: impl std::fmt::Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

/// One call into a worker.
pub struct Call<'a> {
    pub(super) services: &'a Services,
    worker: &'a str,
    deadline: Option<Instant>,
    about: Option<About<'a>>,
    /// Its own, by which what it noted is told from what others did.
    number: u64,
    /// Files that were fetched, to be deleted when the call ends.
    fetched: Mutex<Vec<PathBuf>>,
    notes: Mutex<Notes>,
}

/// What a call is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The delivery's name.
    pub delivery: &'a str,
    /// What CKAN said.
    pub notification: &'a Notification,
    /// The run's key in the journal and how often its notification had been sent on, if it can be known again.
    pub run: Option<(u64, u32)>,
    /// Which of the worker's calls it is, if nobody else asked for it.
    pub woken: Option<&'a WakeKey>,
    /// Whether two notifications about two resources of a dataset are two things to the worker.
    pub is_by_resource: bool,
}

/// The datasets that were read on behalf of a notification, by their ids; its workers share them.
pub type Shown = HashMap<String, Arc<Value>>;

/// What was noted during a call.
#[derive(Default)]
struct Notes {
    deltas: Vec<Delta>,
    shown: Shown,
    /// What the run leaves behind; mostly nothing.
    end: Option<Box<RunEnd>>,
}

impl<'a> Call<'a> {
    /// A call about a notification, or about none, as when a worker is made.
    pub fn new(services: &'a Services, worker: &'a str, about: Option<About<'a>>, deadline: Option<Instant>) -> Self {
        let number = fastrand::u64(1..);
        Self { services, worker, deadline, about, number, fetched: Mutex::default(), notes: Mutex::default() }
    }

    /// The same with datasets that were read on behalf of the notification before.
    #[must_use]
    pub fn having_shown(self, shown: Shown) -> Self {
        self.notes().shown = shown;
        self
    }

    /// The datasets that were read on behalf of the notification.
    pub fn take_shown(&self) -> Shown {
        std::mem::take(&mut self.notes().shown)
    }

    /// The worker's name.
    pub fn worker(&self) -> &'a str {
        self.worker
    }

    /// Who writes, as CKAN is told with each write.
    pub fn origin(&self) -> String {
        self.services.origin(self.worker)
    }

    /// What the call is about, as far as the loop guard is concerned; `None` if it is about no dataset.
    pub fn subject(&self) -> Option<Subject> {
        let About { notification, is_by_resource, .. } = self.about?;
        let is_resource = is_by_resource && notification.routing_key() == "Resource";
        Some(Subject::new(notification.package_id()?, notification.entity_id().filter(|_| is_resource)))
    }

    /// Whether it is about this dataset.
    fn is_about(&self, dataset: &str) -> bool {
        self.about.is_some_and(|about| about.notification.package_id() == Some(dataset))
    }

    /// What workers remember.
    pub fn store(&self) -> &'a Store {
        &self.services.store
    }

    /// Whether the work should be given up.
    pub fn is_cancelled(&self) -> bool {
        *self.services.give_up.borrow() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// How long is left; `None` without a deadline.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits until the work should be given up.
    async fn cancelled(&self) {
        let mut give_up = self.services.give_up.clone();
        let stopping = async {
            // An error means that the host is gone.
            let _ = give_up.wait_for(|given_up| *given_up).await;
        };
        match self.deadline {
            Some(deadline) => tokio::select! {
                () = stopping => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            },
            None => stopping.await,
        }
    }

    /// Waits on the calling thread, which is the worker's own, until `work` is done or the call is cancelled.
    fn wait<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        if self.is_cancelled() {
            return Err(Failure::cancelled());
        }
        self.services.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancelled() => Err(Failure::cancelled()),
                done = work => done,
            }
        })
    }

    /// Waits that long; `false`, at once, when the call is cancelled.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        self.wait(async {
            tokio::time::sleep(time).await;
            Ok(())
        })
        .is_ok()
    }

    /// Writes a line to the host's log, and tells whoever watches.
    pub(super) fn log(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let delivery = self.about.map(|about| about.delivery);
        let line = LogLine { worker: self.worker, delivery, level, message, fields };
        log(&line);
        if let Some(observer) = &self.services.observer {
            observer.logged(&line);
        }
    }

    /// What the run leaves behind as of now.
    fn noted_end<'n>(&self, notes: &'n mut Notes) -> &'n mut RunEnd {
        notes.end.get_or_insert_with(|| {
            Box::new(RunEnd {
                worker: self.worker.to_owned(),
                subject: self.subject().map_or_else(String::new, |subject| subject.key().to_owned()),
                call: self.number,
                run: self.about.and_then(|about| about.run),
                woken: self.about.and_then(|about| about.woken.cloned()),
                ..RunEnd::default()
            })
        })
    }

    /// What is noted is written when a run ends well; outside of one that would be never.
    fn check_run(&self) -> Result<(), Failure> {
        match self.about {
            Some(_) => Ok(()),
            None => Err(Failure::permanent(
                "host.no-run",
                "this is written when a run ends, and there is none: it can be done in `consume` alone",
            )),
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        for path in self.fetched.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // A worker that kept the file has renamed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// An answer as it crosses the border.
fn json(answer: &impl serde::Serialize) -> Result<Bytes, Failure> {
    let json = serde_json::to_vec(answer)
        .map_err(|error| Failure::permanent("fetch.path", format!("a path that is not text: {error}")))?;
    Ok(json.into())
}
