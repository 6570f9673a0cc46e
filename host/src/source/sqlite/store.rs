//! The file itself: opening it, changing it, and what its errors mean.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::schema;
use crate::seed;
use crate::source::SourceError;

/// How long another process may hold the file.
const BUSY_MAX: Duration = Duration::from_secs(30);

/// How often the file is tried again that others are just making.
const OPEN_AGAIN_MAX: usize = 50;

/// An open file.
pub struct Store {
    connection: Connection,
    address: String,
}

impl Store {
    /// Opens the file, making it and its folder if need be.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let address = format!("sqlite:{}", path.display());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                SourceError::Unusable(format!("{address}: cannot make the folder {}: {error}", folder.display()))
            })?;
        }
        let (connection, version) = open(path).map_err(|error| trouble(&address, &error))?;
        if version > schema::VERSION {
            return Err(SourceError::Unusable(format!(
                "{address}: the file is one of a later version of this worker (its tables have version {version}, this \
                 worker knows {}); use that version, or name another file in `amqp.url`",
                schema::VERSION
            )));
        }
        Ok(Self { connection, address })
    }

    /// Looks at the file.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, SourceError> {
        work(&self.connection).map_err(|error| trouble(&self.address, &error))
    }

    /// Does a change, all of it or nothing, on disk when this answers.
    pub fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, SourceError> {
        let done = (|| {
            let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&change)?;
            seed::point("sqlite-before-commit");
            change.commit()?;
            seed::point("sqlite-after-commit");
            Ok(done)
        })();
        done.map_err(|error| trouble(&self.address, &error))
    }
}

fn open(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    make_private(path);
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_MAX)?;
    let mut tries = 0;
    loop {
        match prepare(&mut connection) {
            Ok(version) => return Ok((connection, version)),
            // Who finds another making the file is told so at once, whatever the timeout.
            Err(error) if is_busy(&error) && tries < OPEN_AGAIN_MAX => tries += 1,
            Err(error) => return Err(error),
        }
        std::thread::sleep(Duration::from_millis(fastrand::u64(1..40)));
    }
}

/// Makes the file, if there is none, so that nobody else may read it: private datasets lie in it. SQLite gives the files
/// beside it the same rights. Whatever stands in the way of that stands in the way of opening it, too, and is said then.
fn make_private(path: &Path) {
    let mut new = std::fs::File::options();
    new.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut new, 0o600);
    let _ = new.open(path);
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    connection.pragma_update(None, "synchronous", "full")?;
    schema::ensure(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What an error of SQLite's means for us: some pass by themselves, the others somebody has to mend.
fn trouble(address: &str, error: &rusqlite::Error) -> SourceError {
    let unusable = |advice: &str| SourceError::Unusable(format!("{address}: {error}; {advice}"));
    let passing =
        |advice: &str| SourceError::Unavailable { address: address.to_owned(), problem: format!("{error}{advice}") };
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            unusable("the file is no queue or is damaged; move it away, or name another in `amqp.url`")
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            unusable("the file and its folder must be writable for this user")
        }
        Some(ErrorCode::DiskFull) => passing("; nothing is lost, make room on the disk that the file is on"),
        Some(ErrorCode::SystemIoFailure) => {
            passing("; nothing is lost, look at the disk that the file is on: its room, its limits, its health")
        }
        _ => passing(""),
    }
}
