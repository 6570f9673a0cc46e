//! Notifications on their way through the workers, and how far they have come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use crate::delivery::{DeliveryId, Fate, Letter, Origin, Past};
use crate::journal::DeliveryKey;
use crate::notification::Notification;
use crate::store::WakeKey;

/// A notification on its way through the workers.
pub struct Job {
    /// The dispatcher's number for it.
    pub ticket: usize,
    /// What CKAN said.
    pub notification: Notification,
    /// The delivery's name.
    pub delivery: DeliveryId,
    /// The delivery's key in the journal.
    pub key: DeliveryKey,
    /// What became of it before.
    pub past: Option<Box<Past>>,
    /// Which workers are through with it, by their order; `None` for none.
    pub ended: Option<Box<[bool]>>,
    /// Whether it may have come before.
    pub redelivered: bool,
    /// When it was taken.
    pub taken: SystemTime,
    /// Which of a worker's calls it is, if nobody else asked for it.
    pub woken: Option<WakeKey>,
    /// What its source knows beside the body.
    pub origin: Option<Origin>,
}

impl Job {
    /// Whether a worker is known to be through with it.
    pub fn has_ended(&self, member: usize) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended[member])
    }

    /// The one worker it is for; `None` for all.
    pub fn only(&self) -> Option<&str> {
        self.past.as_ref().map(|past| &*past.worker)
    }

    /// How often that worker has tried it.
    pub fn attempts(&self) -> u32 {
        self.past.as_ref().map_or(0, |past| past.attempts)
    }

    /// How often it was sent on for that worker.
    pub fn hops(&self) -> u32 {
        self.past.as_ref().map_or(0, |past| past.hops)
    }

    /// Since when it only waits.
    pub fn held_since(&self) -> Option<SystemTime> {
        self.past.as_ref().and_then(|past| past.held_since)
    }

    /// What is sent on of it for a worker.
    pub fn letter(&self, worker: &str, fate: Fate, error: String, attempts: u32) -> Letter {
        Letter {
            delivery: self.lasting_id(),
            worker: Some(worker.into()),
            fate,
            error,
            attempts,
            hops: self.hops() + 1,
            first_seen: self.past.as_ref().map_or(self.taken, |past| past.first_seen),
            held_since: None,
            body: self.notification.body().clone(),
            origin: self.origin.clone(),
        }
    }

    /// A name that is good beyond this session.
    fn lasting_id(&self) -> DeliveryId {
        match &self.delivery {
            DeliveryId::Named(_) => self.delivery.clone(),
            DeliveryId::Numbered(..) => {
                DeliveryId::Named(format!("{}-{:08x}", self.delivery, fastrand::u32(..)).into())
            }
        }
    }
}

/// Notifications of one lane, to be worked on in order, and how far that has come.
pub struct Task {
    /// The lane that is to be given up when the last one is over.
    pub lane: Option<u64>,
    /// The notifications.
    pub jobs: Arc<[Job]>,
    /// The run that is next or in hand: the number of the job times the number of workers, plus that of the worker.
    /// [`TAKEN_AWAY`](Self::TAKEN_AWAY) once somebody else goes on with it.
    turn: AtomicUsize,
}

impl Task {
    const TAKEN_AWAY: usize = usize::MAX;

    /// A task that begins at a given run.
    pub fn new(lane: Option<u64>, jobs: Arc<[Job]>, turn: usize) -> Self {
        Self { lane, jobs, turn: AtomicUsize::new(turn) }
    }

    /// The run that is next or in hand.
    pub fn turn(&self) -> usize {
        self.turn.load(Ordering::Acquire)
    }

    /// Ends the run in hand; `false` if it was taken away, and its end is somebody else's to tell.
    pub fn end(&self, turn: usize) -> bool {
        self.turn.compare_exchange(turn, turn + 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether the rest was taken away.
    pub fn was_taken_away(&self) -> bool {
        self.turn() == Self::TAKEN_AWAY
    }

    /// Takes the rest away from the thread that is stuck in it; `false` if the run in hand has just ended.
    pub fn take_away(&self, turn: usize) -> bool {
        self.turn.compare_exchange(turn, Self::TAKEN_AWAY, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What the dispatcher is told. Notifications are named by their tickets, workers by their place in the order.
pub enum Event {
    /// A worker is through with a notification, and nothing is to be sent on for it.
    Ended(usize, usize),
    /// A worker is through with a notification when this has been sent on for it.
    Letter(usize, usize, Box<Letter>),
    /// A worker is through with a notification, and another one is to hear of it.
    Outcome(usize, usize, Box<Letter>),
    /// A worker is through with a notification once it is with a newer one about the same.
    Superseded {
        /// The older one.
        ticket: usize,
        /// The worker.
        member: usize,
        /// The newer one.
        by: usize,
    },
    /// All workers have had a notification; the second is the lane that is given up with it.
    Over(usize, Option<u64>),
    /// A notification is to come back: it was not started, or a run of it was interrupted.
    Unsettled(usize),
}
