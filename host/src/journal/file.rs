//! The journal's SQLite file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{DeliveryKey, Ended, RunKey};
use crate::database::{self, is_damaged, seconds, version};

/// The version of the tables.
const VERSION: i64 = 1;

/// One row for each batch, named after the number of the last run in it: runs are only ever read all together, and a row
/// for each would cost more than the work it is about.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS ended (last INTEGER PRIMARY KEY, runs BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS crash (
        run INTEGER PRIMARY KEY, delivery INTEGER NOT NULL, crashes INTEGER NOT NULL, at INTEGER NOT NULL
    );
    PRAGMA user_version = 1;
";

/// How long a crash is remembered if its run never comes again.
const CRASH_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be written.
    #[error("the journal {path} cannot be written: {problem}; {help}")]
    Unwritable {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        problem: String,
        /// What to do.
        help: String,
    },
    /// It was written by a later version.
    #[error("the journal {0} was written by a later version of worker; use that, or name another in `journal.path`")]
    Later(PathBuf),
}

impl JournalError {
    /// What the system says about a file.
    pub(super) fn unwritable(path: &Path, source: &io::Error) -> Self {
        let help =
            "its directory must be this user's and on a disk that has room; another can be named in `journal.path`";
        Self::Unwritable { path: path.to_owned(), problem: source.to_string(), help: help.to_owned() }
    }
}

/// The journal's SQLite file, open.
pub struct JournalFile {
    /// `None` after a damaged file was closed and before a new one could be made.
    connection: Option<Connection>,
    path: PathBuf,
    keep: i64,
    /// The number of the last run.
    last: i64,
    /// Runs up to here have been forgotten.
    forgotten: i64,
}

impl JournalFile {
    /// Opens the file, making it if there is none. A damaged one is set aside and begun anew, and that is said.
    pub fn open(path: &Path, keep: usize) -> Result<Self, JournalError> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        let opened = connect(path).and_then(|connection| Ok((version(&connection)?, last(&connection)?, connection)));
        match opened {
            Ok((later, ..)) if later > VERSION => Err(JournalError::Later(path.to_owned())),
            Ok((_, last, connection)) => {
                Ok(Self { connection: Some(connection), path: path.to_owned(), keep, last, forgotten: 0 })
            }
            Err(error) if is_damaged(&error) => {
                set_aside(path, &error)?;
                let connection = connect(path).map_err(|error| trouble(path, &error))?;
                Ok(Self { connection: Some(connection), path: path.to_owned(), keep, last: 0, forgotten: 0 })
            }
            Err(error) => Err(trouble(path, &error)),
        }
    }

    /// Reads the runs that ended last, oldest first.
    pub fn read(&mut self, mut note: impl FnMut(Ended)) -> Result<(), JournalError> {
        let mut read = || -> rusqlite::Result<()> {
            let mut rows = connected(&mut self.connection, &self.path)?
                .prepare("SELECT runs FROM ended WHERE last > ?1 ORDER BY last")?;
            let mut rows = rows.query([self.last.saturating_sub(self.keep)])?;
            while let Some(row) = rows.next()? {
                let runs: Vec<u8> = row.get(0)?;
                runs.chunks_exact(ENTRY_BYTES).filter_map(decoded).for_each(&mut note);
            }
            Ok(())
        };
        match read() {
            Err(error) if is_damaged(&error) => self.begin_anew(&error),
            read => read.map_err(|error| trouble(&self.path, &error)),
        }
    }

    /// Counts one crash more for each of these runs.
    pub fn count_crashes(&mut self, runs: &[(DeliveryKey, RunKey)]) -> Result<(), JournalError> {
        let now = seconds(SystemTime::now());
        self.change(|change| {
            let mut count = change.prepare_cached(
                "INSERT INTO crash (run, delivery, crashes, at) VALUES (?1, ?2, 1, ?3)
                 ON CONFLICT (run) DO UPDATE SET crashes = crashes + 1, at = ?3",
            )?;
            for (delivery, run) in runs {
                count.execute(params![run.0.cast_signed(), delivery.0.cast_signed(), now])?;
            }
            change.execute("DELETE FROM crash WHERE at < ?1", [now - seconds(UNIX_EPOCH + CRASH_KEPT)]).map(drop)
        })
    }

    /// The runs in which the process died, and how often.
    pub fn crashes(&mut self) -> Result<Vec<(DeliveryKey, RunKey, u32)>, JournalError> {
        let mut read = || {
            let mut rows =
                connected(&mut self.connection, &self.path)?.prepare("SELECT delivery, run, crashes FROM crash")?;
            let rows = rows.query_map([], |row| {
                let (delivery, run): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok((DeliveryKey(delivery.cast_unsigned()), RunKey(run.cast_unsigned()), row.get(2)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        match read() {
            Err(error) if is_damaged(&error) => self.begin_anew(&error).map(|()| Vec::new()),
            read => read.map_err(|error| trouble(&self.path, &error)),
        }
    }

    /// Writes what has ended, all of it or nothing.
    pub fn write(&mut self, ended: &[Ended], cleared: &[RunKey]) -> Result<(), JournalError> {
        let written = self.try_write(ended, cleared);
        match written {
            Err(error) if is_damaged(&error) => {
                self.begin_anew(&error)?;
                self.try_write(ended, cleared).map_err(|error| trouble(&self.path, &error))
            }
            written => written.map_err(|error| trouble(&self.path, &error)),
        }
    }

    fn try_write(&mut self, ended: &[Ended], cleared: &[RunKey]) -> rusqlite::Result<()> {
        let (mut last, keep) = (self.last, self.keep);
        // In steps, so that most transactions only append.
        let forget = last - keep;
        let forget = (forget - self.forgotten > keep / 8).then_some(forget);
        let connection = connected(&mut self.connection, &self.path)?;
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            if !ended.is_empty() {
                last += i64::try_from(ended.len()).unwrap_or(i64::MAX);
                let runs: Vec<u8> = ended.iter().flat_map(encoded).collect();
                change
                    .prepare_cached("INSERT INTO ended (last, runs) VALUES (?1, ?2)")?
                    .execute(params![last, runs])?;
            }
            for run in cleared {
                change.prepare_cached("DELETE FROM crash WHERE run = ?1")?.execute([run.0.cast_signed()])?;
            }
            if let Some(forget) = forget {
                change.prepare_cached("DELETE FROM ended WHERE last <= ?1")?.execute([forget])?;
            }
        }
        change.commit()?;
        self.last = last;
        self.forgotten = forget.unwrap_or(self.forgotten);
        Ok(())
    }

    fn change(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<(), JournalError> {
        let done = (|| {
            let connection = connected(&mut self.connection, &self.path)?;
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            work(&change)?;
            change.commit()
        })();
        match done {
            // What could not be counted is not known any more; better that than no start.
            Err(error) if is_damaged(&error) => self.begin_anew(&error),
            done => done.map_err(|error| trouble(&self.path, &error)),
        }
    }

    fn begin_anew(&mut self, error: &rusqlite::Error) -> Result<(), JournalError> {
        // The damaged file must be let go before it is moved.
        self.connection = None;
        (self.last, self.forgotten) = (0, 0);
        set_aside(&self.path, error)?;
        connected(&mut self.connection, &self.path).map(drop).map_err(|error| trouble(&self.path, &error))
    }
}

/// A run's key, its hops, its time and its session.
const ENTRY_BYTES: usize = 20;

fn encoded(ended: &Ended) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..8].copy_from_slice(&ended.run.0.to_le_bytes());
    entry[8..12].copy_from_slice(&ended.hops.to_le_bytes());
    entry[12..16].copy_from_slice(&ended.at.to_le_bytes());
    entry[16..].copy_from_slice(&ended.session.to_le_bytes());
    entry
}

fn decoded(entry: &[u8]) -> Option<Ended> {
    let run = RunKey(u64::from_le_bytes(entry.get(..8)?.try_into().ok()?));
    let hops = u32::from_le_bytes(entry.get(8..12)?.try_into().ok()?);
    let at = u32::from_le_bytes(entry.get(12..16)?.try_into().ok()?);
    let session = u32::from_le_bytes(entry.get(16..)?.try_into().ok()?);
    Some(Ended { run, hops, at, session })
}

/// The connection, made anew if there is none.
fn connected<'a>(connection: &'a mut Option<Connection>, path: &Path) -> rusqlite::Result<&'a mut Connection> {
    match connection {
        Some(connection) => Ok(connection),
        None => Ok(connection.insert(connect(path)?)),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // It only appends: a cache would grow and help nobody.
    database::open(path, SCHEMA, 256)
}

fn last(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT ifnull(max(last), 0) FROM ended", [], |row| row.get(0))
}

/// Moves a damaged file out of the way, and says so.
fn set_aside(path: &Path, error: &rusqlite::Error) -> Result<(), JournalError> {
    let aside = database::set_aside(path).map_err(|error| JournalError::unwritable(path, &error))?;
    tracing::error!(
        "the journal {} is damaged ({error}); it is set aside as {} and a new one begun: what is delivered again now may \
         be done twice",
        path.display(),
        aside.display()
    );
    Ok(())
}

fn trouble(path: &Path, error: &rusqlite::Error) -> JournalError {
    let (problem, help) = (error.to_string(), database::help(error, "journal.path"));
    JournalError::Unwritable { path: path.to_owned(), problem, help }
}
