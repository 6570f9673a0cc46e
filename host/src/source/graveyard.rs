//! The dead letters of a queue, gone through one after another.

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::SourceError;
use crate::delivery::Origin;

/// The dead letters of a queue. Those that were there at the start are gone through once, the oldest first as far
/// as the queue keeps its order; what is neither replayed nor removed stays.
#[async_trait]
pub trait Graveyard: Send {
    /// How many there were at the start; no more are gone through.
    fn count(&self) -> u64;

    /// The next one; `None` behind the last.
    ///
    /// # Errors
    /// They cannot be reached.
    async fn next(&mut self) -> Result<Option<DeadLetter>, SourceError>;

    /// Puts letters back on the queue, with a fresh start, each for the worker it died for: each is confirmed there
    /// first and then removed here. Adds to `done` how many that were, also when it fails half-way; of those that it
    /// failed with some may be in both places, and none in neither.
    ///
    /// # Errors
    /// They could not all be put back.
    async fn replay(&mut self, letters: Vec<DeadLetter>, done: &mut u64) -> Result<(), SourceError>;

    /// Removes letters for good. Adds to `done` how many that were, also when it fails half-way.
    ///
    /// # Errors
    /// They could not all be removed.
    async fn remove(&mut self, letters: Vec<DeadLetter>, done: &mut u64) -> Result<(), SourceError>;

    /// Leaves; when this answers, all that was replayed or removed is gone from here.
    async fn close(self: Box<Self>);
}

/// A dead letter, with all that is known of it.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The name of the delivery it was. Letters of several workers about one delivery have the same.
    pub id: String,
    /// The worker it died for; `None` if it was for all of them.
    pub worker: Option<String>,
    /// The word for why it is dead: ours, or the broker's if that gave it up.
    pub reason: String,
    /// The last error.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it was sent on.
    pub hops: u32,
    /// When the notification was first taken.
    pub first_seen: Option<SystemTime>,
    /// When it died.
    pub died: Option<SystemTime>,
    /// How often it was replayed before.
    pub replayed: u32,
    /// The class of what changed, as it was published.
    pub routing_key: Option<String>,
    /// The message, byte for byte as it was published.
    pub body: Bytes,
    /// Where it lies.
    pub(crate) grave: Grave,
}

/// Where a letter lies, for nobody but its graveyard.
#[derive(Debug, Clone)]
pub(crate) struct Grave {
    /// Its number there.
    pub(crate) tag: u64,
    /// What is known beside the letter.
    pub(crate) origin: Option<Origin>,
}
