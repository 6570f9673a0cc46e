//! One message handed to us, and the right to settle it.

use std::time::SystemTime;

use bytes::Bytes;

/// One message handed to us by a [`Source`](crate::source::Source), not yet settled.
#[derive(Debug)]
pub struct Delivery {
    /// Names it in logs and in what it leads to: the publisher's message id, else one of our own.
    pub id: Box<str>,
    /// The message, byte for byte as it was published.
    pub body: Bytes,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The one worker it is addressed to; `None` for all.
    pub only: Option<Box<str>>,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The right to settle it.
    pub receipt: Receipt,
}

/// The right to settle a delivery, once: neither `Clone` nor `Copy`.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The session it came in; what an earlier session delivered can no longer be settled.
    pub(crate) session: u64,
    /// The source's number for it.
    pub(crate) tag: u64,
}

/// What is kept of a notification that failed for good, for one worker.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The delivery it was.
    pub delivery_id: String,
    /// The worker that gave up on it; `None` if no worker could even start, as with a malformed body.
    pub worker: Option<String>,
    /// Why it is dead.
    pub reason: DeadReason,
    /// The last error, for people.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first taken.
    pub first_seen: SystemTime,
    /// The message, byte for byte as it was published.
    pub body: Bytes,
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
}

impl DeadReason {
    /// The word for it in headers, logs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Permanent => "permanent",
            Self::AttemptsExhausted => "attempts_exhausted",
        }
    }
}
