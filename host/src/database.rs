//! Opening an SQLite file of ours: how it is written, which version it has, and what becomes of a damaged one.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Opens a file, making it for this user alone, with the tables of `schema` in it, if there is none. `cache_kib` is how
/// much of it may be kept in memory.
///
/// # Errors
/// The system's, or the file is damaged; see [`is_damaged`].
pub fn open(path: &Path, schema: &str, cache_kib: i32) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    make_private(path);
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A crash of this process loses nothing; a power cut may lose the last rows, and then something is done twice.
    connection.pragma_update(None, "synchronous", "normal")?;
    // In KiB, by the minus.
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    if version(&connection)? == 0 {
        connection.execute_batch(schema)?;
    }
    Ok(connection)
}

/// The version of the tables in a file.
///
/// # Errors
/// The file cannot be read.
pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Whether an error says that the file is damaged.
pub fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// Moves a damaged file out of the way, with what belongs to it; answers where it is now.
///
/// # Errors
/// The system's.
pub fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = path.with_extension(format!("damaged-{}", seconds(SystemTime::now())));
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let _ = std::fs::remove_file(beside);
    }
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

/// What to do about an error; `key` is the setting that names another place.
pub fn help(error: &rusqlite::Error, key: &str) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; make room, and it goes on by itself".to_owned(),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "the file and its directory must be writable for this user".to_owned()
        }
        _ => format!("look at the disk; another place can be named in `{key}`"),
    }
}

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// Makes the file so that nobody else can read it; whatever is in the way, opening it says.
fn make_private(path: &Path) {
    let mut options = std::fs::File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}
