//! Where the file of a resource comes from: the directory that the worker `archive` keeps, or its address.

use std::io;
use std::path::{Path, PathBuf};

use ckan_worker_plugin::Class;
use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::serde_json;

use crate::dataset::{Resource, is_id};
use crate::sniff::Sample;

const RECORD: &str = "archive.json";
/// Longer records are not read.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// Where files come from, and how much of them is looked at.
pub struct Source {
    /// The directory of `archive`.
    pub archive_dir: Option<PathBuf>,
    /// How much of a file is looked at.
    pub head_bytes: u64,
    /// How long a file may be that is fetched as a whole.
    pub bytes_max: u64,
}

/// What `archive` has noted about a resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Whether the link is broken, as far as that is known.
    pub is_broken: Option<bool>,
    /// Why.
    pub reason: String,
    cache_filepath: Option<String>,
    /// The hash of the copy.
    pub hash: Option<String>,
}

/// What came of looking for a file.
pub enum Obtained {
    /// It is here.
    File(Sample),
    /// It cannot be obtained, and why.
    Broken(String),
    /// It was left alone, and why.
    NotFetched(String),
    /// The server asked to come back later.
    Postponed(Error),
}

impl Source {
    /// What `archive` has noted; `None` if there is nothing, or nothing that can be read.
    ///
    /// # Errors
    /// The disk.
    pub fn kept(&self, resource_id: &str) -> Result<Option<Kept>> {
        let Some(path) = self.place(resource_id).map(|place| place.join(RECORD)) else { return Ok(None) };
        match std::fs::metadata(&path) {
            Ok(known) if known.is_file() && known.len() <= RECORD_BYTES_MAX => {}
            _ => return Ok(None),
        }
        let text = std::fs::read(&path).map_err(|error| disk(&path, &error))?;
        Ok(serde_json::from_slice(&text).ok())
    }

    /// The copy that `archive` keeps, or else what the address answers.
    ///
    /// # Errors
    /// Those of the disk and of the host; a broken link is a result.
    pub fn obtain(&self, resource: &Resource, kept: Option<&Kept>, host: &Host<'_>) -> Result<Obtained> {
        if let Some(kept) = kept.filter(|kept| kept.is_broken == Some(true)) {
            return Ok(Obtained::Broken(kept.reason.clone()));
        }
        if let Some(path) = kept.and_then(|kept| self.copy(&resource.id, kept)) {
            let sample = Sample::open(&path, true, self.head_bytes).map_err(|error| disk(&path, &error))?;
            return Ok(Obtained::File(sample));
        }
        match self.fetch(resource.url(), host) {
            Ok(sample) => Ok(Obtained::File(sample)),
            Err(error) => failed(error),
        }
    }

    /// The copy that a record speaks of. The directory is known, whatever the record says.
    fn copy(&self, resource_id: &str, kept: &Kept) -> Option<PathBuf> {
        let name = Path::new(kept.cache_filepath.as_deref()?).file_name()?;
        let path = self.place(resource_id)?.join(name);
        path.is_file().then_some(path)
    }

    fn place(&self, resource_id: &str) -> Option<PathBuf> {
        let dir = self.archive_dir.as_ref().filter(|_| is_id(resource_id))?;
        Some(dir.join(&resource_id[..2]).join(resource_id))
    }

    /// Fetches the head, and the whole of what has its directory elsewhere.
    fn fetch(&self, url: &str, host: &Host<'_>) -> Result<Sample> {
        let head = host.request(url).first_bytes(self.head_bytes).send()?;
        let Some(body) = head.body else { return Err(without_content()) };
        let sample = open(&body.path, body.is_whole, self.head_bytes)?;
        if body.is_whole || !needs_its_end(sample.head()) {
            return Ok(sample);
        }
        match host.request(url).bytes_max(self.bytes_max).send() {
            Ok(whole) => match whole.body {
                Some(body) => open(&body.path, true, self.head_bytes),
                None => Ok(sample),
            },
            // The head says less, but something; a link that has just worked is not broken.
            Err(error) if is_of_the_link(&error) => Ok(sample),
            Err(error) => Err(error),
        }
    }
}

/// ZIP files and the old office formats say at their end, or anywhere, what is in them.
fn needs_its_end(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
}

fn open(path: &Path, is_whole: bool, head_bytes: u64) -> Result<Sample> {
    Sample::open(path, is_whole, head_bytes).map_err(|error| disk(path, &error))
}

fn without_content() -> Error {
    Error::retryable("the server answered without content").with_code("fetch.empty")
}

fn disk(path: &Path, error: &io::Error) -> Error {
    Error::retryable(format!("cannot read {}: {error}", path.display())).with_code("qa.disk")
}

/// Whether a fetch failed for a reason that lies with the address, and is not to be tried again soon.
fn is_of_the_link(error: &Error) -> bool {
    let is_fetch = error.code().starts_with("fetch.") && error.code() != "fetch.disk";
    is_fetch && error.class() != Class::Cancelled && error.delay().is_none()
}

/// What a fetch that failed means. A broken link is a result, not a failed run.
fn failed(error: Error) -> Result<Obtained> {
    if error.class() == Class::Cancelled {
        return Err(error);
    }
    match error.code() {
        "fetch.too-large" => Ok(Obtained::NotFetched(error.message().to_owned())),
        _ if is_of_the_link(&error) => Ok(Obtained::Broken(error.message().to_owned())),
        // A server that says when to come back, and one that too many wait for, is busy, not broken.
        code if code.starts_with("fetch.") && code != "fetch.disk" => Ok(Obtained::Postponed(error)),
        _ => Err(error),
    }
}
