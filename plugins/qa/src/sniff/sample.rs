//! A file while it is looked at: its head in memory, and the way to the rest, if there is one.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;

/// A file, or the first bytes of one.
pub struct Sample {
    head: Vec<u8>,
    is_whole: bool,
    file: Option<File>,
}

impl Sample {
    /// Opens a file and reads its head. `is_whole` says whether the file is all there is.
    ///
    /// # Errors
    /// It cannot be read, or is no file.
    pub fn open(path: &Path, is_whole: bool, head_bytes: u64) -> io::Result<Self> {
        if !std::fs::symlink_metadata(path)?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut file = File::open(path)?;
        let mut head = Vec::new();
        file.by_ref().take(head_bytes).read_to_end(&mut head)?;
        let is_all_read = file.metadata()?.len() == head.len() as u64;
        Ok(Self { head, is_whole: is_whole && is_all_read, file: is_whole.then_some(file) })
    }

    /// Unpacks a head.
    ///
    /// # Errors
    /// Nothing could be unpacked. What comes before a fault counts.
    pub fn unpack(packed: impl Read, head_bytes: usize) -> io::Result<Self> {
        let mut head = Vec::new();
        let read = packed.take(head_bytes as u64).read_to_end(&mut head);
        let is_whole = read.is_ok() && head.len() < head_bytes;
        if head.is_empty() {
            read?;
        }
        Ok(Self { head, is_whole, file: None })
    }

    /// The first bytes.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether the head is all of it.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// All of it, if it is there to be read.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Some bytes from anywhere; fewer if there are not so many.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn bytes_at(&self, place: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(mut file) = self.file() {
            file.seek(SeekFrom::Start(place))?;
            file.take(count as u64).read_to_end(&mut bytes)?;
        } else if let Some(rest) = usize::try_from(place).ok().and_then(|place| self.head.get(place..)) {
            bytes.extend(rest.iter().take(count));
        }
        Ok(bytes)
    }
}
