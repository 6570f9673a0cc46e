//! `worker dead export FILE`: dead letters as JSON lines. None is removed.

use std::fs::File;
use std::io::{self, BufWriter, Write, stdout};
use std::path::Path;

use tempfile::NamedTempFile;

/// Where an export is written.
pub enum Target {
    /// Standard output.
    Stdout,
    /// What is no ordinary file, as a pipe.
    Stream(File),
    /// A file that takes its name only when it is complete.
    File(NamedTempFile),
}

impl Target {
    /// Opens `path`, `-` being standard output. A file that is there is replaced at the end.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        match path.metadata() {
            Ok(there) if !there.is_file() => File::options().write(true).open(path).map(Self::Stream),
            _ => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new("."))).map(Self::File)
            }
        }
    }

    /// Where to write.
    pub fn writer(&mut self) -> Box<dyn Write + '_> {
        match self {
            Self::Stdout => Box::new(stdout().lock()),
            Self::Stream(file) => Box::new(BufWriter::new(file)),
            Self::File(file) => Box::new(BufWriter::new(file)),
        }
    }

    /// Gives a complete file its name.
    pub fn finish(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Stdout | Self::Stream(_) => Ok(()),
            Self::File(file) => {
                file.as_file().sync_all()?;
                file.persist(path).map(drop).map_err(|error| error.error)
            }
        }
    }
}
