//! What workers remember from one run to the next, and what keeps them from reacting to themselves: an SQLite file that
//! all processes of one machine share.
//!
//! All that a run leaves behind is written in one transaction together with the fact that it has ended: its worker's
//! state, the fingerprint of what it looked at, when it wants to be called again. Nothing here decides whether a
//! message is kept. Runs that leave nothing behind cost nothing here.

mod backfill;
mod guarded;
mod quarantine;
mod run_end;
mod schema;
mod state;
mod wake;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::database;

pub use backfill::Backfill;
pub use guarded::{Image, Known, OwnWrite};
pub use quarantine::Quarantined;
pub use run_end::{RunEnd, Stored};
pub use wake::{Wake, WakeKey};

/// How long another process may hold the file before a call gives up.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// How much of the file is kept in memory.
const CACHE_KIB: i32 = 2048;

/// Where the store lies.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its file.
    pub path: PathBuf,
}

/// Why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read or written.
    #[error("the store {path} cannot be used: {problem}; {help}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: String,
        /// What to do.
        help: String,
    },
    /// It was written by a later version.
    #[error("the store {0} was written by a later version of worker; use that, or name another in `store.path`")]
    Later(PathBuf),
}

/// What workers remember. Shared by the threads that run them; each call is one short transaction.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
    path: PathBuf,
    /// Whether nothing that is changed is kept.
    is_dry: bool,
}

impl Store {
    /// Opens the file, making it if there is none. A damaged one is set aside and begun anew, and that is said.
    ///
    /// # Errors
    /// It cannot be written, or a later version has written it.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let path = settings.path.clone();
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(|error| no_directory(&path, &error))?;
        }
        let opened = connect(&path).and_then(|connection| Ok((database::version(&connection)?, connection)));
        let connection = match opened {
            Ok((version, _)) if version > schema::VERSION => return Err(StoreError::Later(path)),
            Ok((_, connection)) => connection,
            Err(error) if database::is_damaged(&error) => begin_anew(&path, &error)?,
            Err(error) => return Err(trouble(&path, &error)),
        };
        Ok(Self { connection: Mutex::new(connection), path, is_dry: false })
    }

    /// A store that forgets everything with this process, for who only looks whether workers can be made.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().and_then(|connection| {
            connection.execute_batch(schema::TABLES)?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| trouble(&path, &error))?;
        Ok(Self { connection: Mutex::new(connection), path, is_dry: false })
    }

    /// The same, with nothing kept that is changed from now on.
    #[must_use]
    pub fn dry(mut self, is_dry: bool) -> Self {
        self.is_dry = is_dry;
        self
    }

    /// Reads something.
    fn read<T>(&self, read: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.on_connection(|connection| read(connection))
    }

    /// Changes something, all of it or nothing.
    fn change<T>(&self, change: impl Fn(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.on_connection(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let changed = change(&transaction)?;
            if self.is_dry {
                transaction.rollback()?;
            } else {
                transaction.commit()?;
            }
            Ok(changed)
        })
    }

    /// Does something with the file; once more with a new one, if it turns out to be damaged.
    fn on_connection<T>(&self, mut work: impl FnMut(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut connection = self.lock();
        match work(&mut connection) {
            Err(error) if database::is_damaged(&error) => {
                // The damaged file must be let go before it is moved.
                *connection = Connection::open_in_memory().map_err(|error| trouble(&self.path, &error))?;
                *connection = begin_anew(&self.path, &error)?;
                work(&mut connection).map_err(|error| trouble(&self.path, &error))
            }
            done => done.map_err(|error| trouble(&self.path, &error)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic left behind was rolled back when it was dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets a damaged file aside and begins a new one, aloud.
fn begin_anew(path: &Path, error: &rusqlite::Error) -> Result<Connection, StoreError> {
    let aside = database::set_aside(path).map_err(|error| no_directory(path, &error))?;
    tracing::error!(
        "the store {} is damaged ({error}); it is set aside as {} and a new one begun: workers have forgotten what they \
         knew, and look at everything anew",
        path.display(),
        aside.display()
    );
    connect(path).map_err(|error| trouble(path, &error))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = database::open(path, schema::TABLES, CACHE_KIB)?;
    connection.busy_timeout(BUSY_MAX)?;
    Ok(connection)
}

fn trouble(path: &Path, error: &rusqlite::Error) -> StoreError {
    let help = database::help(error, "store.path");
    StoreError::Unusable { path: path.to_owned(), problem: error.to_string(), help }
}

fn no_directory(path: &Path, error: &std::io::Error) -> StoreError {
    let help = "its directory must be this user's; another place can be named in `store.path`".to_owned();
    StoreError::Unusable { path: path.to_owned(), problem: error.to_string(), help }
}

/// Seconds since 1970, as they stand in the store.
pub fn now() -> u64 {
    database::seconds(SystemTime::now()).unsigned_abs()
}

/// A number as SQLite keeps it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
