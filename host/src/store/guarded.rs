//! What the loop guard knows of a worker and a dataset.

use rusqlite::{Connection, OptionalExtension, params};

use super::run_end::OWN_WRITE_KEPT_SECONDS;
use super::{RunEnd, Store, StoreError, now, signed};
use crate::guard::{Budget, Fingerprint, Quarantine};

/// What the loop guard knows of a worker and a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// What it looked at when it last ended well.
    pub fingerprint: Option<Fingerprint>,
    /// When it was called, in seconds since 1970.
    pub runs: Vec<u64>,
    /// How many quarantines there have been in a row.
    pub strikes: u32,
    /// Until when it is in quarantine, and why; `None` if it is in none.
    pub quarantine: Option<Quarantine>,
}

/// What a dataset or a resource looks like after a write of a worker.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The worker.
    pub worker: &'a str,
    /// The id of the dataset or the resource.
    pub subject: &'a str,
    /// The number of the call in which it wrote.
    pub call: u64,
    /// What it looks like.
    pub image: Fingerprint,
}

/// A write of a worker that is known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnWrite {
    /// What its run is to leave behind, if the process died before it could.
    pub run_end: Option<RunEnd>,
}

impl Store {
    /// What is known of a worker and a dataset.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn known(&self, worker: &str, subject: &str) -> Result<Known, StoreError> {
        self.read(|connection| known(connection, worker, subject, now()))
    }

    /// Counts a call of a worker for a dataset, if it may be called once more.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn begin(&self, worker: &str, subject: &str, budget: &Budget) -> Result<Result<(), Quarantine>, StoreError> {
        self.change(|change| {
            let now = now();
            let known = known(change, worker, subject, now)?;
            if let Err(quarantine) = budget.allow(&known.runs, known.strikes, now) {
                return Ok(Err(quarantine));
            }
            let mut runs = budget.recent(&known.runs, now);
            runs.push(now);
            let runs: Vec<u8> = runs.into_iter().flat_map(u64::to_le_bytes).collect();
            change
                .prepare_cached(
                    // What it saw last does not count from now on: a run that fails may have done half of its work.
                    "INSERT INTO guarded (worker, subject, runs) VALUES (?1, ?2, ?3)
                     ON CONFLICT (worker, subject) DO UPDATE SET runs = ?3, fingerprint = NULL",
                )?
                .execute(params![worker, subject, runs])?;
            Ok(Ok(()))
        })
    }

    /// What a worker was seen to write.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn outputs(&self, worker: &str) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut outputs = connection.prepare_cached("SELECT path FROM output WHERE worker = ?1")?;
            let rows = outputs.query_map([worker], |row| row.get(0))?;
            rows.collect()
        })
    }

    /// Notes what a dataset will look like, or looks like, after a write of a worker, before anybody else can see it;
    /// `run_end` is what the run is to leave behind once that is known to have been done.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn note_write(&self, own: &Image<'_>, run_end: Option<&RunEnd>) -> Result<(), StoreError> {
        let Image { worker, subject, call, image } = *own;
        let run_end = run_end.and_then(|end| serde_json::to_string(end).ok());
        self.change(|change| {
            let at = signed(now());
            change
                .prepare_cached("DELETE FROM own_write WHERE worker = ?1 AND subject = ?2 AND at < ?3")?
                .execute(params![worker, subject, at - signed(OWN_WRITE_KEPT_SECONDS)])?;
            change
                .prepare_cached(
                    "INSERT INTO own_write (worker, subject, image, at, call, run_end) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (worker, subject, image)
                     DO UPDATE SET at = ?4, call = ?5, run_end = ifnull(?6, run_end)",
                )?
                .execute(params![worker, subject, image.0, at, call.cast_signed(), run_end])
                .map(drop)
        })
    }

    /// Forgets a write that is known not to have been done.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn forget_write(&self, own: &Image<'_>) -> Result<(), StoreError> {
        let Image { worker, subject, image, .. } = *own;
        self.change(|change| {
            change
                .prepare_cached("DELETE FROM own_write WHERE worker = ?1 AND subject = ?2 AND image = ?3")?
                .execute(params![worker, subject, image.0])
                .map(drop)
        })
    }

    /// The write of a worker after which a dataset looks like this.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn own_write(&self, worker: &str, subject: &str, image: Fingerprint) -> Result<Option<OwnWrite>, StoreError> {
        self.read(|connection| {
            let mut find = connection.prepare_cached(
                "SELECT run_end FROM own_write WHERE worker = ?1 AND subject = ?2 AND image = ?3 AND at >= ?4",
            )?;
            let since = signed(now()) - signed(OWN_WRITE_KEPT_SECONDS);
            let found = find
                .query_row(params![worker, subject, image.0, since], |row| row.get::<_, Option<String>>(0))
                .optional()?;
            Ok(found.map(|text| OwnWrite { run_end: text.and_then(|text| serde_json::from_str(&text).ok()) }))
        })
    }
}

fn known(connection: &Connection, worker: &str, subject: &str, now: u64) -> rusqlite::Result<Known> {
    let mut find = connection.prepare_cached(
        "SELECT fingerprint, runs, quarantined_until, strikes, reason FROM guarded WHERE worker = ?1 AND subject = ?2",
    )?;
    let found = find.query_row([worker, subject], |row| {
        let (until, strikes): (i64, u32) = (row.get(2)?, row.get(3)?);
        let until = until.unsigned_abs();
        let runs: Vec<u8> = row.get(1)?;
        Ok(Known {
            fingerprint: row.get::<_, Option<[u8; 16]>>(0)?.map(Fingerprint),
            runs: runs.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect(),
            strikes: Budget::strikes(strikes, until, now),
            quarantine: (until > now).then_some(Quarantine { until, strikes, reason: row.get(4)? }),
        })
    });
    Ok(found.optional()?.unwrap_or_default())
}
