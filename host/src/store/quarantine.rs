//! Workers that are not called for a dataset for a while.

use rusqlite::{Transaction, params};

use super::{Store, StoreError, now, signed};
use crate::guard::Quarantine;

/// A worker that is not called for a dataset for a while.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Quarantined {
    /// The worker.
    pub worker: String,
    /// The id of the dataset or the resource.
    pub subject: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Until when.
    pub until: u64,
    /// How many in a row this is.
    pub strikes: u32,
    /// Why, for people.
    pub reason: String,
}

impl Store {
    /// Puts a worker into quarantine for a dataset; the notification waits for the end of it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn quarantine(
        &self,
        worker: &str,
        subject: &str,
        quarantine: &Quarantine,
        body: &[u8],
    ) -> Result<(), StoreError> {
        self.change(|change| {
            // With the runs before it forgotten it begins anew afterwards, and the strikes remember.
            change
                .prepare_cached(
                    "INSERT INTO guarded (worker, subject, quarantined_until, strikes, reason, since)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (worker, subject)
                     DO UPDATE SET quarantined_until = ?3, strikes = ?4, reason = ?5, since = ?6, runs = x''",
                )?
                .execute(params![
                    worker,
                    subject,
                    signed(quarantine.until),
                    quarantine.strikes,
                    quarantine.reason,
                    signed(now())
                ])?;
            put(change, worker, subject, quarantine.until, body)
        })
    }

    /// Has a newer notification wait for the end of a quarantine, in place of an older one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn wait_for_release(&self, worker: &str, subject: &str, until: u64, body: &[u8]) -> Result<(), StoreError> {
        self.change(|change| put(change, worker, subject, until, body))
    }

    /// The workers that are in quarantine, the latest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.read(|connection| {
            let mut list = connection.prepare(
                "SELECT worker, subject, since, quarantined_until, strikes, reason FROM guarded
                 WHERE quarantined_until > ?1 ORDER BY since DESC, worker, subject",
            )?;
            let rows = list.query_map([signed(now())], |row| {
                Ok(Quarantined {
                    worker: row.get(0)?,
                    subject: row.get(1)?,
                    since: row.get::<_, i64>(2)?.unsigned_abs(),
                    until: row.get::<_, i64>(3)?.unsigned_abs(),
                    strikes: row.get(4)?,
                    reason: row.get(5)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Ends a quarantine: what waits for that is due at once. Answers whether there was one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn release(&self, worker: &str, subject: &str) -> Result<bool, StoreError> {
        self.change(|change| {
            let now = signed(now());
            let ended = change.execute(
                "UPDATE guarded SET quarantined_until = 0, strikes = 0, reason = '', runs = x''
                 WHERE worker = ?1 AND subject = ?2 AND quarantined_until > ?3",
                params![worker, subject, now],
            )?;
            change.execute(
                "UPDATE wake SET due = ?3, leased_until = 0 WHERE worker = ?1 AND subject = ?2 AND waits = 1",
                params![worker, subject, now],
            )?;
            Ok(ended > 0)
        })
    }
}

fn put(change: &Transaction<'_>, worker: &str, subject: &str, due: u64, body: &[u8]) -> rusqlite::Result<()> {
    change
        .prepare_cached(
            "INSERT INTO wake (worker, subject, waits, due, body) VALUES (?1, ?2, 1, ?3, ?4)
             ON CONFLICT (worker, subject, waits) DO UPDATE SET due = ?3, body = ?4, leased_until = 0",
        )?
        .execute(params![worker, subject, signed(due), body])
        .map(drop)
}
