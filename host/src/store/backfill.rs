//! How far a backfill has come, so that it can be interrupted.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError, now, signed};

/// Made when it is first needed, in a store of any version.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS backfill (
        place TEXT NOT NULL, arguments TEXT NOT NULL, run TEXT NOT NULL, since TEXT, last TEXT, total INTEGER NOT NULL,
        datasets INTEGER NOT NULL, notifications INTEGER NOT NULL, waiting INTEGER NOT NULL, unreadable INTEGER NOT NULL,
        began INTEGER NOT NULL, PRIMARY KEY (place, arguments)
    ) WITHOUT ROWID";

/// A backfill that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// The portal and the queue.
    pub place: String,
    /// What was asked for, as on the command line.
    pub arguments: String,
    /// A name that no other backfill has.
    pub run: String,
    /// Only datasets changed at this stamp or later.
    pub since: Option<String>,
    /// The id of the last dataset that is through; `None` before the first.
    pub last: Option<String>,
    /// How many datasets there were at the beginning.
    pub total: u64,
    /// How many of them are through.
    pub datasets: u64,
    /// How many notifications were confirmed.
    pub notifications: u64,
    /// How many were left out, for the same waited already.
    pub waiting: u64,
    /// How many were left out, for the portal could not show them.
    pub unreadable: u64,
    /// When it began, in seconds since 1970.
    pub began: u64,
}

impl Backfill {
    /// One that begins now.
    pub fn begin(place: &str, arguments: &str, since: Option<String>, total: u64) -> Self {
        let began = now();
        let run = format!("{began:x}-{:08x}", fastrand::u32(..));
        Self {
            place: place.to_owned(),
            arguments: arguments.to_owned(),
            run,
            since,
            last: None,
            total,
            datasets: 0,
            notifications: 0,
            waiting: 0,
            unreadable: 0,
            began,
        }
    }
}

impl Store {
    /// The backfills of a place that have not ended, the oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn backfills(&self, place: &str) -> Result<Vec<Backfill>, StoreError> {
        self.read(|connection| {
            if !is_there(connection)? {
                return Ok(Vec::new());
            }
            let mut select = connection.prepare(
                "SELECT place, arguments, run, since, last, total, datasets, notifications, waiting, unreadable,
                     began
                 FROM backfill WHERE place = ?1 ORDER BY began, arguments",
            )?;
            select.query_map([place], backfill)?.collect()
        })
    }

    /// Keeps how far a backfill has come, in place of what was known of one with the same arguments.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn keep_backfill(&self, backfill: &Backfill) -> Result<(), StoreError> {
        let Backfill { place, arguments, run, since, last, .. } = backfill;
        let numbers = [backfill.total, backfill.datasets, backfill.notifications, backfill.waiting];
        let [total, datasets, notifications, waiting] = numbers.map(signed);
        let [unreadable, began] = [backfill.unreadable, backfill.began].map(signed);
        self.change(|change| {
            change.execute_batch(TABLE)?;
            let mut keep = change.prepare_cached(
                "INSERT OR REPLACE INTO backfill VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?;
            let how_far =
                params![place, arguments, run, since, last, total, datasets, notifications, waiting, unreadable, began];
            keep.execute(how_far)?;
            Ok(())
        })
    }

    /// Forgets a backfill that has ended.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn end_backfill(&self, backfill: &Backfill) -> Result<(), StoreError> {
        self.change(|change| {
            change.execute_batch(TABLE)?;
            let ended = [&backfill.place, &backfill.arguments];
            change.execute("DELETE FROM backfill WHERE place = ?1 AND arguments = ?2", ended).map(drop)
        })
    }
}

fn is_there(connection: &Connection) -> rusqlite::Result<bool> {
    let found = connection.query_row("SELECT 1 FROM sqlite_schema WHERE name = 'backfill'", [], |_| Ok(()));
    found.optional().map(|found| found.is_some())
}

fn backfill(row: &Row<'_>) -> rusqlite::Result<Backfill> {
    let number = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(Backfill {
        place: row.get(0)?,
        arguments: row.get(1)?,
        run: row.get(2)?,
        since: row.get(3)?,
        last: row.get(4)?,
        total: number(5)?,
        datasets: number(6)?,
        notifications: number(7)?,
        waiting: number(8)?,
        unreadable: number(9)?,
        began: number(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_backfill_has_come_is_known_until_it_ends() {
        let store = Store::in_memory().unwrap();
        assert_eq!(store.backfills("portal").unwrap(), []);
        let mut first = Backfill::begin("portal", "archive", None, 10);
        store.keep_backfill(&first).unwrap();
        let other = Backfill::begin("portal", "qa", Some("2026-11-01T00:00:00.000Z".to_owned()), 3);
        store.keep_backfill(&other).unwrap();
        (first.last, first.datasets, first.notifications) = (Some("d-4".to_owned()), 4, 2);
        (first.waiting, first.unreadable) = (0, 2);
        store.keep_backfill(&first).unwrap();
        let mut kept = store.backfills("portal").unwrap();
        kept.sort_by(|one, another| one.arguments.cmp(&another.arguments));
        assert_eq!(kept, [first.clone(), other.clone()]);
        assert_ne!(first.run, other.run);
        assert_eq!(store.backfills("another").unwrap(), []);
        store.end_backfill(&first).unwrap();
        assert_eq!(store.backfills("portal").unwrap(), [other]);
    }
}
