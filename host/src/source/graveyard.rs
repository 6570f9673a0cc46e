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
    ///
    /// # Errors
    /// That is not certain: some of it may still be here.
    async fn close(self: Box<Self>) -> Result<(), SourceError>;
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

/// How long the name of a replay may be, in bytes: whatever is longer is cut on its next way.
const ID_BYTES_MAX: usize = 255;

impl DeadLetter {
    /// The new name that its replay needs; `None` if it keeps its own.
    ///
    /// Of a letter for one worker it is known by its hops that it is a later copy. One for all workers has none: under
    /// its old name it would be taken for what has long been dealt with.
    pub(crate) fn renamed(&self) -> Option<String> {
        if self.worker.is_some() {
            return None;
        }
        let suffix = format!("~{:08x}", fastrand::u32(..));
        let id = without_suffix(&self.id, suffix.len());
        let end = id.floor_char_boundary(ID_BYTES_MAX - suffix.len());
        Some(format!("{}{suffix}", &id[..end]))
    }
}

#[cfg(test)]
impl DeadLetter {
    /// One that nothing is known of but its number.
    pub(crate) fn numbered(tag: u64) -> Self {
        Self {
            id: tag.to_string(),
            worker: None,
            reason: "malformed".to_owned(),
            error: String::new(),
            attempts: 0,
            hops: 0,
            first_seen: None,
            died: None,
            replayed: 0,
            routing_key: None,
            body: Bytes::new(),
            grave: Grave { tag, origin: None },
        }
    }
}

/// A name without what an earlier replay added to it, so that it does not grow with each.
fn without_suffix(id: &str, len: usize) -> &str {
    let is_suffix = |suffix: &str| {
        suffix.strip_prefix('~').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    id.len()
        .checked_sub(len)
        .and_then(|at| id.split_at_checked(at))
        .filter(|(_, end)| is_suffix(end))
        .map_or(id, |(id, _)| id)
}

/// Where a letter lies, for nobody but its graveyard.
#[derive(Debug, Clone)]
pub(crate) struct Grave {
    /// Its number there.
    pub(crate) tag: u64,
    /// What is known beside the letter.
    pub(crate) origin: Option<Origin>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: &str, worker: Option<&str>) -> DeadLetter {
        DeadLetter { id: id.to_owned(), worker: worker.map(str::to_owned), ..DeadLetter::numbered(1) }
    }

    #[test]
    fn a_letter_for_one_worker_keeps_its_name() {
        assert_eq!(letter("m-1", Some("archive")).renamed(), None);
    }

    #[test]
    fn a_letter_for_all_workers_gets_another_name_at_each_replay_and_none_that_grows() {
        let first = letter("m-1", None).renamed().unwrap();
        let second = letter(&first, None).renamed().unwrap();
        assert!(first != second && first.len() == 12 && second.len() == 12, "{first} {second}");
        assert!(first.starts_with("m-1~") && second.starts_with("m-1~"), "{first} {second}");
        for id in ["", "~", "ä", "ab~1234567", "x~1234567g", "ä1234567"] {
            assert!(letter(id, None).renamed().unwrap().starts_with(&format!("{id}~")), "{id}");
        }
        let long = letter(&"ä".repeat(200), None).renamed().unwrap();
        assert!(long.len() <= ID_BYTES_MAX && long.contains("ä~"), "{long}");
    }
}
