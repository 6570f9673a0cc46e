//! One message handed to us, the right to settle it, and what is kept of it when it failed for good.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

/// One message handed to us by a [`Source`](crate::source::Source), not yet settled.
#[derive(Debug)]
pub struct Delivery {
    /// Names it in logs and in what it leads to.
    pub id: DeliveryId,
    /// The message, byte for byte as it was published.
    pub body: Bytes,
    /// What became of it before; `None` for a fresh one, which is for all workers.
    pub past: Option<Box<Past>>,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The right to settle it.
    pub receipt: Receipt,
    /// What its source wants back with a dead letter: the properties it was published with.
    pub origin: Option<Origin>,
}

/// What a source knows of a message beside its body, for nobody but that source.
pub type Origin = Arc<dyn Any + Send + Sync>;

/// The name of a delivery: the publisher's message id, or the source's number for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryId {
    /// The publisher's message id.
    Named(Box<str>),
    /// The session and the number in it.
    Numbered(u64, u64),
}

impl DeliveryId {
    /// It as a text, without making one where there is one.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Named(id) => Cow::Borrowed(id),
            Self::Numbered(..) => Cow::Owned(self.to_string()),
        }
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(id) => formatter.write_str(id),
            Self::Numbered(session, number) => write!(formatter, "{session}-{number}"),
        }
    }
}

/// The right to settle a delivery, once: neither `Clone` nor `Copy`.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The session it came in; what an earlier session delivered can no longer be settled.
    pub(crate) session: u64,
    /// The source's number for it.
    pub(crate) tag: u64,
}

/// What became of a notification before, for the one worker that this copy of it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The one worker it is for.
    pub worker: Box<str>,
    /// How often that worker has tried it; 0 if nobody has, or if somebody gave it a fresh start.
    pub attempts: u32,
    /// How often it was sent on for that worker: to wait, or as a dead letter. Never begins anew, so that of two copies
    /// the later one is known.
    pub hops: u32,
    /// When the first of these copies, or its original, was taken.
    pub first_seen: SystemTime,
    /// Since when it only waits, without being tried: for CKAN, or for its worker; `None` after a real try.
    pub held_since: Option<SystemTime>,
}

impl Past {
    /// Of a message that somebody addressed to one worker, and that nobody has tried.
    pub fn none(worker: impl Into<Box<str>>, now: SystemTime) -> Self {
        Self { worker: worker.into(), attempts: 0, hops: 0, first_seen: now, held_since: None }
    }
}

impl Receipt {
    /// A right to settle nothing: no session has the number 0.
    pub(crate) const VOID: Self = Self { session: 0, tag: 0 };
}

/// What is sent on of a notification, for one worker alone, before its delivery is settled.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The delivery it was.
    pub delivery: DeliveryId,
    /// The worker it is for; `None` if none could even start, as with a malformed body.
    pub worker: Option<Box<str>>,
    /// Whether it comes again.
    pub fate: Fate,
    /// The last error, for people.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it was sent on, this time included.
    pub hops: u32,
    /// When the notification was first taken.
    pub first_seen: SystemTime,
    /// Since when it only waits, without being tried.
    pub held_since: Option<SystemTime>,
    /// The message, byte for byte as it was published.
    pub body: Bytes,
    /// What its source knows beside the body.
    pub origin: Option<Origin>,
}

/// What becomes of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It comes again after this time.
    Retry(Duration),
    /// It is kept as a dead letter, for this reason.
    Dead(DeadReason),
}

/// Why a notification is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// The body is not a notification.
    Malformed,
    /// The worker said that trying again is of no use.
    Permanent,
    /// It was tried as often as is allowed.
    AttemptsExhausted,
    /// The worker panicked, at the last attempt too.
    Panicked,
    /// The worker outlived its deadline, at the last attempt too.
    TimedOut,
    /// The process died while the worker had it, as often as is allowed.
    Crashed,
    /// It is addressed to a worker that does not run here.
    WorkerNotLoaded,
}

impl DeadReason {
    /// The word for it in headers, logs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Permanent => "permanent",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed_out",
            Self::Crashed => "crashed",
            Self::WorkerNotLoaded => "worker_not_loaded",
        }
    }
}
