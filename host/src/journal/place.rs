//! Where a journal lies: a directory, and in it the first place that no living process has.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::file::JournalError;

/// How many processes may share a directory.
const PLACES_MAX: usize = 64;

/// A place in a journal's directory; nobody else has it for as long as this process lives.
pub struct Place {
    directory: PathBuf,
    number: usize,
    _lock: File,
}

impl Place {
    /// Takes the first place that is free, making the directory if need be.
    ///
    /// # Errors
    /// The directory cannot be written, or no place is free.
    pub fn take(directory: &Path) -> Result<Self, JournalError> {
        let error = |source: &io::Error| JournalError::unwritable(directory, source);
        make(directory).map_err(|source| error(&source))?;
        for number in 0..PLACES_MAX {
            let lock =
                File::options().create(true).truncate(false).write(true).open(directory.join(format!("{number}.lock")));
            let lock = lock.map_err(|source| error(&source))?;
            match lock.try_lock() {
                Ok(()) => return Ok(Self { directory: directory.to_owned(), number, _lock: lock }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(error(&source)),
            }
        }
        Err(error(&io::Error::other(format!("{PLACES_MAX} processes have a journal here already"))))
    }

    /// The file with what has ended.
    pub fn database(&self) -> PathBuf {
        self.directory.join(format!("{}.db", self.number))
    }

    /// The file with what is running.
    pub fn running(&self) -> PathBuf {
        self.directory.join(format!("{}.running", self.number))
    }

    /// An error of the system's about this place.
    pub fn error(&self, source: &io::Error) -> JournalError {
        JournalError::unwritable(&self.directory, source)
    }
}

/// Makes the directory for this user alone: who can write there can make notifications look done.
fn make(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
