//! The record of posts: a line in the log for each, and the last ones of each target in the worker's state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;

use crate::event::Event;
use crate::post::{Answer, Posted};

/// How many posts of a target are remembered.
const POSTS_MAX: u64 = 100;
/// How many posts wait for a run that ends well; the oldest is left out first.
const WAITING_MAX: usize = 1_000;

/// The record of posts.
///
/// What a run stores is kept only if it ends well, so a post that failed waits in memory for the next run that does. What
/// waits when the process ends is in the log alone.
#[derive(Debug, Default)]
pub struct Record(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    waiting: VecDeque<(String, Entry)>,
    /// The number that each target's next post has.
    next: BTreeMap<String, u64>,
}

/// One post, as it is remembered under `log/TARGET/SLOT`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    /// Its number among the posts of this target.
    number: u64,
    time: Timestamp,
    event: String,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    attempt: u32,
    outcome: String,
    status: Option<u16>,
    reason: String,
    duration_ms: u64,
}

impl Record {
    /// Takes down a post: says it in the log, and remembers it for later.
    pub fn take_down(&self, target: &str, event: &Event<'_>, id: &str, attempt: u32, posted: &Posted, host: &Host<'_>) {
        let entry = Entry::of(event, id, attempt, posted);
        entry.log(target, host);
        let mut inside = self.inside();
        if inside.waiting.len() >= WAITING_MAX {
            inside.waiting.pop_front();
        }
        inside.waiting.push_back((target.to_owned(), entry));
    }

    /// Stores what waits, with a run that is about to end well.
    ///
    /// # Errors
    /// The host does not store it. What waited is in the log alone then.
    pub fn store(&self, host: &Host<'_>) -> Result<()> {
        let waiting = std::mem::take(&mut self.inside().waiting);
        for (target, mut entry) in waiting {
            entry.number = self.number(&target, host)?;
            host.state().put(&format!("log/{target}/{:02}", entry.number % POSTS_MAX), &entry)?;
        }
        Ok(())
    }

    /// The number of a target's next post: one more than the last that is remembered.
    fn number(&self, target: &str, host: &Host<'_>) -> Result<u64> {
        if !self.inside().next.contains_key(target) {
            // Asked without the lock, which is for short work. Who was faster has asked the same.
            let stored = host.state().scan::<Entry>(&format!("log/{target}/"))?;
            let next = stored.iter().map(|(_, entry)| entry.number + 1).max().unwrap_or(0);
            self.inside().next.entry(target.to_owned()).or_insert(next);
        }
        let mut inside = self.inside();
        let next = inside.next.entry(target.to_owned()).or_default();
        *next += 1;
        Ok(*next - 1)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn of(event: &Event<'_>, id: &str, attempt: u32, posted: &Posted) -> Self {
        let (outcome, reason) = match &posted.answer {
            Answer::Delivered => ("delivered", ""),
            Answer::Failed(error) if error.class() == ckan_worker_plugin::Class::Permanent => {
                ("refused", error.message())
            }
            Answer::Failed(error) => ("failed", error.message()),
        };
        Self {
            number: 0,
            time: Timestamp::now(),
            event: id.to_owned(),
            kind: event.kind.clone(),
            subject: event.subject.map(ckan_worker_plugin::one_line),
            attempt,
            outcome: outcome.to_owned(),
            status: posted.status,
            reason: reason.to_owned(),
            duration_ms: posted.duration_ms,
        }
    }

    fn log(&self, target: &str, host: &Host<'_>) {
        let is_delivered = self.outcome == "delivered";
        let message = match (is_delivered, self.status) {
            (true, Some(status)) => format!("{target}: delivered {} ({status})", self.kind),
            (true, None) => format!("{target}: delivered {}", self.kind),
            // The reason begins with the name of the target.
            (false, _) => format!("{}: {}", self.reason, self.kind),
        };
        host.log(
            if is_delivered { Level::Info } else { Level::Warn },
            &message,
            &[
                ("target", target),
                ("outcome", &self.outcome),
                ("status", &self.status.map(|status| status.to_string()).unwrap_or_default()),
                ("duration_ms", &self.duration_ms.to_string()),
                ("event", &self.event),
                ("type", &self.kind),
                ("subject", self.subject.as_deref().unwrap_or_default()),
                ("attempt", &self.attempt.to_string()),
                ("reason", &self.reason),
            ],
        );
    }
}
