//! When workers are to be called without a notification of the portal's.

use std::time::Duration;

use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, now, signed};

/// A worker that is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    /// The worker.
    pub worker: String,
    /// Which.
    pub key: WakeKey,
    /// The notification that waited for the end of a quarantine; `None` if the worker wants to look again.
    pub body: Option<Vec<u8>>,
}

/// Which of a worker's calls this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeKey {
    /// The id of the dataset; of what waits for the end of a quarantine, that of what the quarantine is for.
    pub subject: String,
    /// Whether it is a notification that waited, and no wish.
    pub waits: bool,
    /// When it was due, in seconds since 1970.
    pub due: u64,
}

impl Store {
    /// Takes up to `limit` of these workers' calls that are due, the longest due first; for as long as the lease lasts
    /// nobody else gets them. They stay until their runs have ended.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn take_due(&self, workers: &[&str], limit: usize, lease: Duration) -> Result<Vec<Wake>, StoreError> {
        let now = now();
        // Mostly there is none: whoever only looks keeps nobody from writing.
        if self.read(|connection| due(connection, workers, 1, now))?.is_empty() {
            return Ok(Vec::new());
        }
        self.change(|change| {
            let due = due(change, workers, limit, now)?;
            let mut take = change.prepare_cached(
                "UPDATE wake SET leased_until = ?4 WHERE worker = ?1 AND subject = ?2 AND waits = ?3",
            )?;
            for Wake { worker, key, .. } in &due {
                take.execute(params![worker, key.subject, key.waits, signed(now + lease.as_secs())])?;
            }
            Ok(due)
        })
    }

    /// Ends calls whose notifications are settled, unless there is a newer one by now.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn end_wakes(&self, wakes: &[Wake]) -> Result<(), StoreError> {
        self.change(|change| wakes.iter().try_for_each(|wake| end(change, &wake.worker, &wake.key)))
    }

    /// Gives calls back that were taken and not made: they are due again at once.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn give_back_wakes(&self, wakes: &[Wake]) -> Result<(), StoreError> {
        self.change(|change| {
            let mut give_back = change.prepare_cached(
                "UPDATE wake SET leased_until = 0 WHERE worker = ?1 AND subject = ?2 AND waits = ?3 AND due = ?4",
            )?;
            for Wake { worker, key, .. } in wakes {
                give_back.execute(params![worker, key.subject, key.waits, signed(key.due)])?;
            }
            Ok(())
        })
    }
}

fn due(connection: &Connection, workers: &[&str], limit: usize, now: u64) -> rusqlite::Result<Vec<Wake>> {
    let mut due = Vec::new();
    let mut find = connection.prepare_cached(
        "SELECT subject, waits, due, body FROM wake WHERE worker = ?1 AND due <= ?2 AND leased_until <= ?2
         ORDER BY due LIMIT ?3",
    )?;
    for worker in workers {
        let wake = |row: &Row<'_>| {
            let due: i64 = row.get(2)?;
            let key = WakeKey { subject: row.get(0)?, waits: row.get(1)?, due: due.unsigned_abs() };
            Ok(Wake { worker: (*worker).to_owned(), key, body: row.get(3)? })
        };
        for wake in find.query_map(params![worker, signed(now), signed(limit as u64)], wake)? {
            due.push(wake?);
        }
    }
    due.sort_by_key(|wake| wake.key.due);
    due.truncate(limit);
    Ok(due)
}

/// Ends one, within a transaction, unless there is a newer one by now.
pub(super) fn end(change: &Transaction<'_>, worker: &str, key: &WakeKey) -> rusqlite::Result<()> {
    change
        .prepare_cached("DELETE FROM wake WHERE worker = ?1 AND subject = ?2 AND waits = ?3 AND due = ?4")?
        .execute(params![worker, key.subject, key.waits, signed(key.due)])
        .map(drop)
}
