//! The file that a fetch lands in: deleted unless it was finished.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ckan_worker_plugin::Hash;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tempfile::TempPath;

/// How much is gathered before a thread that may block writes and hashes it.
const GATHERED_BYTES: usize = 128 * 1024;

/// A file that is being written; dropping it deletes the file.
pub(super) struct Landing {
    path: TempPath,
    sink: Option<Sink>,
    gathered: Vec<u8>,
    bytes: u64,
}

/// A file that was finished; its owner deletes it.
pub(super) struct Landed {
    pub path: PathBuf,
    pub bytes: u64,
    pub hash: String,
}

/// What does the blocking work; it travels to the thread that blocks, and back.
struct Sink {
    file: File,
    hasher: Hasher,
}

enum Hasher {
    Sha256(Sha256),
    Sha1(Sha1),
}

impl Landing {
    /// Makes a new file in `dir` that only this user may read.
    pub async fn create(dir: &Path, hash: Hash) -> io::Result<Self> {
        let dir = dir.to_owned();
        let file = off_thread(move || tempfile::Builder::new().prefix("fetch-").tempfile_in(dir)).await?;
        let (file, path) = file.into_parts();
        let sink = Some(Sink { file, hasher: Hasher::new(hash) });
        Ok(Self { path, sink, gathered: Vec::new(), bytes: 0 })
    }

    /// How much has been written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds to the file.
    pub async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.gathered.extend_from_slice(chunk);
        self.bytes += chunk.len() as u64;
        if self.gathered.len() < GATHERED_BYTES {
            return Ok(());
        }
        let (mut sink, mut gathered) = (self.take_sink()?, std::mem::take(&mut self.gathered));
        let written = off_thread(move || {
            sink.put(&gathered)?;
            gathered.clear();
            Ok((sink, gathered))
        });
        let (sink, emptied) = written.await?;
        (self.sink, self.gathered) = (Some(sink), emptied);
        Ok(())
    }

    /// Ends the file and hands it over.
    pub async fn finish(mut self) -> io::Result<Landed> {
        let (mut sink, gathered) = (self.take_sink()?, std::mem::take(&mut self.gathered));
        let hash = off_thread(move || {
            sink.put(&gathered)?;
            Ok(sink.hasher.finish())
        })
        .await?;
        let path = self.path.keep().map_err(|error| error.error)?;
        Ok(Landed { path, bytes: self.bytes, hash })
    }

    fn take_sink(&mut self) -> io::Result<Sink> {
        self.sink.take().ok_or_else(|| io::Error::other("an earlier write failed"))
    }
}

impl Sink {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }
}

impl Hasher {
    fn new(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256(Sha256::new()),
            Hash::Sha1 => Self::Sha1(Sha1::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hexadecimal(&hasher.finalize()),
            Self::Sha1(hasher) => hexadecimal(&hasher.finalize()),
        }
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
