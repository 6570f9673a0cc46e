//! When workers are to be called without a notification of the portal's.

use std::time::Duration;

use rusqlite::params;

use super::{Store, StoreError, now, signed};

/// A worker that is to be called for a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    /// The worker.
    pub worker: String,
    /// The dataset's id.
    pub dataset: String,
    /// When it was due, in seconds since 1970.
    pub due: u64,
    /// The notification that waited for the end of a quarantine; `None` if the worker wants to look again.
    pub body: Option<Vec<u8>>,
}

impl Store {
    /// Takes up to `limit` of these workers' wishes that are due, the longest due first; for as long as the lease lasts
    /// nobody else gets them. They stay until their runs have ended.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn take_due(&self, workers: &[&str], limit: usize, lease: Duration) -> Result<Vec<Wake>, StoreError> {
        let now = now();
        // Mostly there is none: whoever only looks keeps nobody from writing.
        let is_any = self.read(|connection| {
            let mut look = connection
                .prepare_cached("SELECT count(*) FROM wake WHERE worker = ?1 AND due <= ?2 AND leased_until <= ?2")?;
            for worker in workers {
                if look.query_row(params![worker, signed(now)], |row| row.get::<_, i64>(0))? > 0 {
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
        if !is_any {
            return Ok(Vec::new());
        }
        self.change(|change| {
            let mut due = Vec::new();
            let mut find = change.prepare_cached(
                "SELECT dataset, due, body FROM wake WHERE worker = ?1 AND due <= ?2 AND leased_until <= ?2
                 ORDER BY due LIMIT ?3",
            )?;
            for worker in workers {
                let rows = find.query_map(params![worker, signed(now), signed(limit as u64)], |row| {
                    let (dataset, due): (String, i64) = (row.get(0)?, row.get(1)?);
                    Ok(Wake { worker: (*worker).to_owned(), dataset, due: due.unsigned_abs(), body: row.get(2)? })
                })?;
                for wake in rows {
                    due.push(wake?);
                }
            }
            due.sort_by_key(|wake| wake.due);
            due.truncate(limit);
            let mut take =
                change.prepare_cached("UPDATE wake SET leased_until = ?3 WHERE worker = ?1 AND dataset = ?2")?;
            for wake in &due {
                take.execute(params![wake.worker, wake.dataset, signed(now + lease.as_secs())])?;
            }
            Ok(due)
        })
    }

    /// Ends wishes whose notifications are settled, unless there is a newer one by now.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn end_wakes<'a>(&self, wakes: impl IntoIterator<Item = &'a Wake>) -> Result<(), StoreError> {
        self.change(|change| {
            let mut end = change.prepare_cached("DELETE FROM wake WHERE worker = ?1 AND dataset = ?2 AND due = ?3")?;
            for wake in wakes {
                end.execute(params![wake.worker, wake.dataset, signed(wake.due)])?;
            }
            Ok(())
        })
    }

    /// Gives wishes back that were taken and not answered: they are due again at once.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn give_back_wakes<'a>(&self, wakes: impl IntoIterator<Item = &'a Wake>) -> Result<(), StoreError> {
        self.change(|change| {
            let mut give_back = change
                .prepare_cached("UPDATE wake SET leased_until = 0 WHERE worker = ?1 AND dataset = ?2 AND due = ?3")?;
            for wake in wakes {
                give_back.execute(params![wake.worker, wake.dataset, signed(wake.due)])?;
            }
            Ok(())
        })
    }
}
