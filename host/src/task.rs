//! Notifications on their way through the workers, and how far they have come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::SystemTime;

use crate::delivery::{DeadReason, DeliveryId, Fate, Letter, Origin, Past};
use crate::notification::Notification;

/// A notification on its way through the workers.
pub struct Job {
    /// The dispatcher's number for it.
    pub ticket: usize,
    /// What CKAN said.
    pub notification: Notification,
    /// The delivery's name.
    pub delivery: DeliveryId,
    /// What became of it before.
    pub past: Option<Box<Past>>,
    /// Whether it may have come before.
    pub redelivered: bool,
    /// When it was taken.
    pub taken: SystemTime,
    /// What its source knows beside the body.
    pub origin: Option<Origin>,
}

impl Job {
    /// What is to be kept of it for a worker that gave up on it.
    pub fn letter(&self, worker: &str, reason: DeadReason, error: String, attempts: u32) -> Letter {
        Letter {
            delivery: self.delivery.clone(),
            worker: Some(worker.into()),
            fate: Fate::Dead(reason),
            error,
            attempts,
            hops: 1,
            first_seen: self.taken,
            held_since: None,
            body: self.notification.body().clone(),
            origin: self.origin.clone(),
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
    /// Which attempt of the run in hand this is.
    attempt: AtomicU32,
}

impl Task {
    const TAKEN_AWAY: usize = usize::MAX;

    /// A task that begins at a given run.
    pub fn new(lane: Option<u64>, jobs: Arc<[Job]>, turn: usize) -> Self {
        Self { lane, jobs, turn: AtomicUsize::new(turn), attempt: AtomicU32::new(0) }
    }

    /// The run that is next or in hand.
    pub fn turn(&self) -> usize {
        self.turn.load(Ordering::Acquire)
    }

    /// Notes which attempt of the run in hand begins.
    pub fn begin_attempt(&self, number: u32) {
        self.attempt.store(number, Ordering::Release);
    }

    /// Which attempt of the run in hand this is.
    pub fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Acquire)
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

/// What the dispatcher is told.
pub enum Event {
    /// A worker gave up on a notification.
    Dead(usize, Box<Letter>),
    /// All workers are through with a notification; the second is the lane that is given up with it.
    Over(usize, Option<u64>),
    /// A notification is to come back: it was not started, or a run of it was interrupted.
    Unsettled(usize),
}
