//! What is sent on: to wait until it is due, or to the dead.
//!
//! What waits is not in the queue but in a table of its own, and moves into the queue when it is due. It is due by the
//! time of day, for it has to outlast the process. A clock that is set forward brings it early, oldest first and no
//! faster than the queue is worked on. One that is set back must not make it wait for hours: what seems to have been
//! sent in the future waits its whole time, once more, from when that is noticed.

use std::time::{Duration, Instant};

use rusqlite::params;

use super::clock::{millis, now_ms, since_epoch_ms};
use super::file::{Published, QueueFile, count, put_body};
use super::statements;
use crate::delivery::{Fate, Letter};
use crate::source::SourceError;

/// How many of what is due move at once; the queue is not kept from others for longer.
const MOVED_MAX: usize = 1000;

/// How often it is looked whether another process has sent something to wait.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long an error text may be, in bytes; a queue at a broker keeps no more either.
const ERROR_BYTES_MAX: usize = 2048;

/// When it is to be looked for what is due.
pub struct Alarm {
    /// When the next is due, as far as is known, and when that was looked up.
    next: Option<(Option<i64>, Instant)>,
    /// The latest time of day that was seen.
    latest: i64,
}

impl Alarm {
    /// Nothing is known yet.
    pub fn new(now: i64) -> Self {
        Self { next: None, latest: now }
    }

    /// Notes that something is due at a time.
    fn set(&mut self, due: i64) {
        if let Some((next, _)) = &mut self.next {
            *next = Some(next.map_or(due, |next| next.min(due)));
        }
    }

    /// How long nobody needs to look.
    fn rest(&self, now: i64) -> Duration {
        let Some((next, looked)) = self.next else { return Duration::ZERO };
        let again = LOOK_EVERY.saturating_sub(looked.elapsed());
        let due = next.map(|due| Duration::from_millis(due.saturating_sub(now).max(0).unsigned_abs()));
        due.map_or(again, |due| due.min(again))
    }
}

impl QueueFile {
    /// Keeps a letter: to come again when its time is over, or as a dead one.
    pub fn keep(&mut self, letter: &Letter) -> Result<(), SourceError> {
        let queue = &self.queue;
        let origin = letter.origin.as_ref().and_then(|origin| origin.downcast_ref::<Published>());
        let now = now_ms();
        let (class, published, replayed) = match origin {
            Some(Published { routing_key, at_ms, replayed }) => (&**routing_key, *at_ms, *replayed),
            None => (self.only_class.as_deref().unwrap_or_default(), now, 0),
        };
        let (id, first_seen) = (letter.delivery.text(), since_epoch_ms(letter.first_seen));
        let due = match letter.fate {
            Fate::Retry(delay) => Some(now.saturating_add(millis(delay))),
            Fate::Dead(_) => None,
        };
        self.store.write(|change| {
            let (size, body) = put_body(change, &letter.body)?;
            let Letter { worker, attempts, hops, .. } = letter;
            match letter.fate {
                Fate::Retry(_) => {
                    let held_since = letter.held_since.map(since_epoch_ms);
                    change.prepare_cached(statements::WAIT)?.execute(params![
                        queue, class, id, published, replayed, size, body, worker, attempts, hops, first_seen,
                        held_since, now, due
                    ])?;
                }
                Fate::Dead(reason) => {
                    let error = beginning(&letter.error, ERROR_BYTES_MAX);
                    change.prepare_cached(statements::BURY)?.execute(params![
                        queue,
                        class,
                        id,
                        published,
                        replayed,
                        size,
                        body,
                        worker,
                        attempts,
                        hops,
                        first_seen,
                        reason.as_str(),
                        error,
                        now
                    ])?;
                }
            }
            Ok(())
        })?;
        if let Some(due) = due {
            self.alarm.set(due);
        }
        Ok(())
    }

    /// How long nothing is due, as far as is known.
    pub fn rest(&self) -> Duration {
        self.alarm.rest(now_ms())
    }

    /// Moves what is due into the queue, if it is time to look.
    pub fn bring_what_is_due(&mut self) -> Result<(), SourceError> {
        let now = now_ms();
        if !self.alarm.rest(now).is_zero() {
            return Ok(());
        }
        self.bring(now)
    }

    fn bring(&mut self, now: i64) -> Result<(), SourceError> {
        self.mind_the_clock(now)?;
        let mut next = self.next_due()?;
        if next.is_some_and(|due| due <= now) {
            let queue = &self.queue;
            self.store.write(|change| {
                // Both see the same rows: nobody else writes meanwhile.
                let due = params![queue, now, count(MOVED_MAX)];
                change.prepare_cached(statements::COME_AGAIN)?.execute(due)?;
                change.prepare_cached(statements::WAIT_NO_MORE)?.execute(due)
            })?;
            next = self.next_due()?;
        }
        self.alarm.next = Some((next, Instant::now()));
        Ok(())
    }

    fn next_due(&self) -> Result<Option<i64>, SourceError> {
        self.store.read(|file| file.prepare_cached(statements::NEXT_DUE)?.query_row([&self.queue], |row| row.get(0)))
    }

    /// Has nothing wait for longer than its time, should the clock have been set back.
    pub(super) fn mind_the_clock(&mut self, now: i64) -> Result<(), SourceError> {
        let is_first_look = self.alarm.next.is_none();
        if now >= self.alarm.latest && !is_first_look {
            self.alarm.latest = now;
            return Ok(());
        }
        let values = params![self.queue, now];
        let waits = self.store.read(|file| file.query_row(statements::WAITS_SINCE_LATER, values, |row| row.get(0)))?;
        if waits {
            let queue = &self.queue;
            let moved = self.store.write(|change| change.execute(statements::WAIT_FROM_NOW, params![queue, now]))?;
            tracing::warn!("the clock was set back: {moved} notifications that wait begin to wait anew");
        }
        self.alarm.latest = now;
        Ok(())
    }
}

/// The beginning of a text, at most so many bytes, cut between characters.
fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
