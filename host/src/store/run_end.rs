//! What a run leaves behind, written in one transaction with the fact that it has ended.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::wake::{self, WakeKey};
use super::{Store, StoreError, now, signed};
use crate::guard::Fingerprint;

/// For how long an end is remembered here: the journal has it, too, unless the process died in between.
const ENDED_KEPT_SECONDS: u64 = 7 * 24 * 3600;

/// For how long an own write is known again.
pub(super) const OWN_WRITE_KEPT_SECONDS: u64 = 24 * 3600;

/// What a run that ended well leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// The worker.
    pub worker: String,
    /// The id of the dataset that it was about, or of the resource; empty if about none.
    pub subject: String,
    /// The number of the call.
    pub call: u64,
    /// The run's key in the journal and how often its notification had been sent on, if it can be known again.
    pub run: Option<(u64, u32)>,
    /// The keys that it set, or with `None` deleted.
    pub state: BTreeMap<String, Option<String>>,
    /// The values that keys must still have, or with `None` none, as the run saw them before it set them.
    pub expected: BTreeMap<String, Option<String>>,
    /// What it looked at.
    pub fingerprint: Option<[u8; 16]>,
    /// What it was seen to write.
    pub outputs: BTreeSet<String>,
    /// When it wants to be called again, by dataset, in seconds since 1970; `None` takes an earlier wish back.
    pub wakes: BTreeMap<String, Option<u64>>,
    /// The wish, or the notification that waited, that this run was the answer to.
    pub woken: Option<WakeKey>,
    /// Whether what is known of the subject is to be forgotten: it is gone.
    pub forget: bool,
}

/// How storing went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// All of it is stored.
    All,
    /// Nothing is: another run has changed this key since.
    Overtaken(String),
}

impl RunEnd {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.state.is_empty()
            && self.fingerprint.is_none()
            && self.outputs.is_empty()
            && self.wakes.is_empty()
            && self.woken.is_none()
            && !self.forget
    }

    /// Sets the fingerprint of what the run looked at.
    #[must_use]
    pub fn having_seen(mut self, fingerprint: Option<Fingerprint>) -> Self {
        self.fingerprint = fingerprint.map(|fingerprint| fingerprint.0);
        self
    }
}

impl Store {
    /// Stores what a run leaves behind, all of it or nothing.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn end(&self, end: &RunEnd) -> Result<Stored, StoreError> {
        self.change(|change| match overtaken(change, end)? {
            Some(key) => Ok(Stored::Overtaken(key)),
            None => store(change, end).map(|()| Stored::All),
        })
    }

    /// The runs whose ends were stored last, with their hops and when that was.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn ended(&self, limit: usize) -> Result<Vec<(u64, u32, u32)>, StoreError> {
        self.read(|connection| {
            let mut ended = connection.prepare("SELECT run, hops, at FROM ended ORDER BY at DESC LIMIT ?1")?;
            let rows = ended.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?, row.get(2)?))
            })?;
            rows.collect()
        })
    }
}

/// The first key that no longer has the value that the run expected.
fn overtaken(change: &Transaction<'_>, end: &RunEnd) -> rusqlite::Result<Option<String>> {
    for (key, expected) in &end.expected {
        let mut get = change.prepare_cached("SELECT value FROM state WHERE worker = ?1 AND key = ?2")?;
        let is: Option<String> = get.query_row([&end.worker, key], |row| row.get(0)).optional()?;
        if is != *expected {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

/// Stores it, within a transaction.
pub(super) fn store(change: &Transaction<'_>, end: &RunEnd) -> rusqlite::Result<()> {
    store_state(change, end)?;
    for path in &end.outputs {
        change
            .prepare_cached("INSERT OR IGNORE INTO output (worker, path) VALUES (?1, ?2)")?
            .execute([&end.worker, path])?;
    }
    if let Some(fingerprint) = &end.fingerprint {
        change
            .prepare_cached(
                "INSERT INTO guarded (worker, subject, fingerprint) VALUES (?1, ?2, ?3)
                 ON CONFLICT (worker, subject) DO UPDATE SET fingerprint = ?3",
            )?
            .execute(params![end.worker, end.subject, fingerprint])?;
    }
    if let Some(woken) = &end.woken {
        wake::end(change, &end.worker, woken)?;
    }
    store_wakes(change, end)?;
    settle_own_writes(change, end)?;
    if let Some((run, hops)) = end.run {
        let at = signed(now());
        change
            .prepare_cached(
                "INSERT INTO ended (run, hops, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (run) DO UPDATE SET hops = max(hops, ?2), at = ?3",
            )?
            .execute(params![run.cast_signed(), hops, at])?;
        // Mostly there is nothing to forget, and the index says so at once.
        change.prepare_cached("DELETE FROM ended WHERE at < ?1")?.execute([at - signed(ENDED_KEPT_SECONDS)])?;
    }
    Ok(())
}

fn settle_own_writes(change: &Transaction<'_>, end: &RunEnd) -> rusqlite::Result<()> {
    // What earlier runs wrote is history: should it look so again, somebody else has made it so.
    change
        .prepare_cached("DELETE FROM own_write WHERE worker = ?1 AND subject = ?2 AND (call <> ?3 OR ?4)")?
        .execute(params![end.worker, end.subject, end.call.cast_signed(), end.forget])?;
    // What the run meant to leave behind once its write was known to be done, it does now.
    change
        .prepare_cached(
            "UPDATE own_write SET run_end = NULL WHERE worker = ?1 AND subject = ?2 AND run_end IS NOT NULL",
        )?
        .execute([&end.worker, &end.subject])?;
    if end.forget {
        change
            .prepare_cached("UPDATE guarded SET fingerprint = NULL WHERE worker = ?1 AND subject = ?2")?
            .execute([&end.worker, &end.subject])?;
    }
    Ok(())
}

fn store_state(change: &Transaction<'_>, end: &RunEnd) -> rusqlite::Result<()> {
    for (key, value) in &end.state {
        match value {
            Some(value) => change
                .prepare_cached(
                    "INSERT INTO state (worker, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (worker, key) DO UPDATE SET value = ?3",
                )?
                .execute([&end.worker, key, value])?,
            None => change
                .prepare_cached("DELETE FROM state WHERE worker = ?1 AND key = ?2")?
                .execute([&end.worker, key])?,
        };
    }
    Ok(())
}

fn store_wakes(change: &Transaction<'_>, end: &RunEnd) -> rusqlite::Result<()> {
    for (dataset, due) in &end.wakes {
        match due {
            Some(due) => change
                .prepare_cached(
                    "INSERT INTO wake (worker, subject, waits, due) VALUES (?1, ?2, 0, ?3)
                     ON CONFLICT (worker, subject, waits) DO UPDATE SET due = ?3, leased_until = 0",
                )?
                .execute(params![end.worker, dataset, signed(*due)])?,
            None => change
                .prepare_cached("DELETE FROM wake WHERE worker = ?1 AND subject = ?2 AND waits = 0")?
                .execute([&end.worker, dataset])?,
        };
    }
    Ok(())
}
