//! Reads what the actors wrote down, so that a test in another process sees order and overlap.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// One run of an actor, from its lines in the journal.
#[derive(Debug, Clone, Deserialize)]
pub struct Consumed {
    /// The actor's name: `actor` or `actor2`.
    pub worker: String,
    /// What the notification said.
    pub routing_key: String,
    /// What the notification said.
    pub operation: String,
    /// The id of the entity, if its payload has one.
    pub id: Option<String>,
    /// The id of the dataset, if its payload names one.
    pub package_id: Option<String>,
    /// The title of what the payload shows, if it is a text.
    #[serde(default, deserialize_with = "text")]
    pub title: Option<String>,
    /// Which attempt this was, from 1.
    pub attempt: u32,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// Of the payload's bytes.
    pub payload_sha256: String,
    /// How long the payload was.
    pub payload_bytes: u64,
    /// The process it ran in.
    pub pid: u32,
    /// The thread it ran on.
    pub thread: String,
    /// When it started, in milliseconds since 1970.
    pub start_ms: u64,
    /// When it ended; `None` if it panicked, hangs, or took the process with it.
    pub end_ms: Option<u64>,
    /// `done`, `skipped`, `retryable`, `permanent` or `cancelled`; `None` as above.
    pub outcome: Option<String>,
    event: Event,
}

fn text<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    Ok(serde_json::Value::deserialize(reader)?.as_str().map(str::to_owned))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Start,
    End,
}

impl Consumed {
    /// Whether both ran at the same time for a while.
    pub fn overlaps(&self, other: &Self) -> bool {
        let end = |run: &Self| run.end_ms.unwrap_or(u64::MAX);
        self.start_ms < end(other) && other.start_ms < end(self)
    }

    fn is_end_of(&self, start: &Self) -> bool {
        (&self.worker, &self.thread, self.pid, self.start_ms, &self.payload_sha256, self.attempt)
            == (&start.worker, &start.thread, start.pid, start.start_ms, &start.payload_sha256, start.attempt)
    }
}

/// The SHA-256 of some bytes as the journal has it, 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The runs in the journal, in the order they started; none if there is no journal yet.
pub fn consumed(journal: &Path) -> Vec<Consumed> {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let mut runs: Vec<Consumed> = Vec::new();
    // The last line may still be under way.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: Consumed =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", journal.display()));
        match line.event {
            Event::Start => runs.push(line),
            Event::End => {
                let start = runs.iter_mut().rev().find(|start| start.end_ms.is_none() && line.is_end_of(start));
                let Some(start) = start else { panic!("{}: an end without a start: {line:?}", journal.display()) };
                *start = line;
            }
        }
    }
    runs
}
