//! What a worker remembers, by key.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};

impl Store {
    /// The value of a worker's key.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn get(&self, worker: &str, key: &str) -> Result<Option<String>, StoreError> {
        self.read(|connection| {
            let mut get = connection.prepare_cached("SELECT value FROM state WHERE worker = ?1 AND key = ?2")?;
            get.query_row([worker, key], |row| row.get(0)).optional()
        })
    }

    /// Up to `limit` of a worker's keys that begin with `prefix` and come behind `after`, in order, with their values.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn scan(
        &self,
        worker: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.read(|connection| {
            // No text is larger than one that begins with the largest letter there is.
            let mut scan = connection.prepare_cached(
                "SELECT key, value FROM state WHERE worker = ?1 AND key >= ?2 AND key > ?3 AND key < ?2 || ?4
                 ORDER BY key LIMIT ?5",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = scan
                .query_map(params![worker, prefix, after, "\u{10ffff}", limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }
}
