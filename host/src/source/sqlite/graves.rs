//! The dead letters in a queue's file.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};

use super::clock::time;
use super::file::drop_body;
use super::statements;
use super::store::Store;
use crate::source::graveyard::{DeadLetter, Grave, Graveyard};
use crate::source::{Settings, SourceError};

/// The dead letters in a queue's file.
pub struct SqliteGraveyard {
    store: Store,
    queue: String,
    /// How many there were at the start, the last of them, and the last that was looked at.
    count: u64,
    end: i64,
    at: i64,
}

impl SqliteGraveyard {
    /// Opens a file that is there.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(path: &Path, settings: &Settings) -> Result<Self, SourceError> {
        let (store, queue) = (Store::open(path)?, settings.name.clone());
        let (end, count) = store
            .read(|file| file.query_row(statements::DEAD, [&queue], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?))))?;
        Ok(Self { store, queue, count: count.unsigned_abs(), end, at: 0 })
    }

    fn read_next(&mut self) -> Result<Option<DeadLetter>, SourceError> {
        let found = self.store.read(|file| {
            let mut next = file.prepare_cached(statements::NEXT_DEAD)?;
            let found = next.query_row(params![self.queue, self.at, self.end], |row| {
                let (number, body): (i64, Vec<u8>) = (row.get(0)?, row.get(11)?);
                let letter = DeadLetter {
                    id: row.get(1)?,
                    worker: row.get(2)?,
                    reason: row.get(3)?,
                    error: row.get(4)?,
                    attempts: row.get(5)?,
                    hops: row.get(6)?,
                    first_seen: Some(time(row.get(7)?)),
                    died: Some(time(row.get(8)?)),
                    replayed: row.get(9)?,
                    routing_key: Some(row.get(10)?).filter(|class: &String| !class.is_empty()),
                    body: body.into(),
                    grave: Grave { tag: number.unsigned_abs(), origin: None },
                };
                Ok((number, letter))
            });
            found.optional()
        })?;
        let Some((number, letter)) = found else { return Ok(None) };
        self.at = number;
        Ok(Some(letter))
    }
}

#[async_trait]
impl Graveyard for SqliteGraveyard {
    fn count(&self) -> u64 {
        self.count
    }

    async fn next(&mut self) -> Result<Option<DeadLetter>, SourceError> {
        self.read_next()
    }

    async fn replay(&mut self, letters: Vec<DeadLetter>, done: &mut u64) -> Result<(), SourceError> {
        let replayed = self.store.write(|change| {
            let mut replayed = 0;
            for letter in &letters {
                let number = letter.grave.tag.cast_signed();
                // Whoever else is at it may have been faster: then there is nothing left to insert or to delete.
                replayed += change.prepare_cached(statements::REPLAY)?.execute(params![number, letter.renamed()])?;
                change.prepare_cached(statements::UNBURY)?.query_row([number], |_| Ok(())).optional()?;
            }
            Ok(replayed)
        })?;
        *done += replayed as u64;
        Ok(())
    }

    async fn remove(&mut self, letters: Vec<DeadLetter>, done: &mut u64) -> Result<(), SourceError> {
        let removed = self.store.write(|change| {
            let mut removed = 0;
            for letter in &letters {
                let number = letter.grave.tag.cast_signed();
                let body =
                    change.prepare_cached(statements::UNBURY)?.query_row([number], |row| row.get(0)).optional()?;
                if let Some(body) = body {
                    drop_body(change, body)?;
                    removed += 1;
                }
            }
            Ok(removed)
        })?;
        *done += removed;
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), SourceError> {
        // What was not touched lies where it lay.
        Ok(())
    }
}

/// A dead letter as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// The delivery it was.
    pub delivery: String,
    /// The worker that gave up on it.
    pub worker: Option<String>,
    /// The word for why it is dead.
    pub reason: String,
    /// The last error.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The message, byte for byte as it was published.
    pub body: Vec<u8>,
}

/// The dead letters in a queue file, oldest first, all at once.
///
/// # Errors
/// The file cannot be read.
pub fn letters(path: &Path, settings: &Settings) -> Result<Vec<StoredLetter>, SourceError> {
    let mut graveyard = SqliteGraveyard::open(path, settings)?;
    let mut letters = Vec::new();
    while let Some(DeadLetter { id, worker, reason, error, attempts, body, .. }) = graveyard.read_next()? {
        letters.push(StoredLetter { delivery: id, worker, reason, error, attempts, body: body.into() });
    }
    Ok(letters)
}
