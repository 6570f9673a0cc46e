//! Looks at one plugin file: who may change it, what it is, whether it is for this worker. Runs nothing of it.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use object::read::ReadCache;

use super::binary::Facts;
use super::manifest::Manifest;
use super::refusal::{Refusal, State};
use super::verdict::{judge, no_manifest};
use super::{Options, Rank, permissions, platform};

/// Larger files are not looked at.
const LIBRARY_BYTES_MAX: u64 = 1 << 30;

/// One plugin file that was found, and what it is worth.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) facts: Option<Facts>,
    pub(super) manifest: Option<Manifest>,
    pub(super) refusal: Option<Refusal>,
    pub(super) rank: Rank,
    pub(super) identity: Option<(u64, u64)>,
    pub(super) changed: Option<SystemTime>,
    pub(super) options: Options,
}

impl Entry {
    /// Looks at the file at `path`, as named in a `path` setting or on the command line. Runs nothing of it.
    pub fn at(path: &Path, options: Options) -> Self {
        Self::look(path, Rank::Given, options)
    }

    pub(super) fn look(path: &Path, rank: Rank, options: Options) -> Self {
        let mut entry = Self {
            path: path.to_owned(),
            name: platform::name_of_file(path),
            facts: None,
            manifest: None,
            refusal: None,
            rank,
            identity: None,
            changed: None,
            options,
        };
        entry.refusal = entry.examine().err();
        entry
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The worker's name: what the manifest says, else what the file's name suggests.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself, if that could be read.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// What stands in the file, if it is a library.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// What it is worth.
    pub fn state(&self) -> State {
        self.refusal.as_ref().map_or(State::Usable, Refusal::state)
    }

    /// Why it is not usable.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    fn examine(&mut self) -> Result<(), Refusal> {
        let opened = open(&self.path)?;
        self.identity = identity(&opened.metadata);
        self.changed = opened.metadata.modified().ok();
        let trusted = check_places(&self.path, &opened.metadata, self.options);
        let facts = Facts::read(&ReadCache::new(opened.file));
        // The name is shown even if the file is refused for its place: it helps to find out whose it is.
        let verdict = facts.map_err(|problem| self.unreadable(problem)).and_then(|facts| self.take(facts));
        trusted.and(verdict)
    }

    fn take(&mut self, facts: Facts) -> Result<(), Refusal> {
        if let Some(Ok(manifest)) = &facts.manifest {
            manifest.name.clone_into(&mut self.name);
            self.manifest = Some(manifest.clone());
        }
        let verdict = judge(&self.path, &facts);
        self.facts = Some(facts);
        verdict
    }

    fn unreadable(&self, problem: String) -> Refusal {
        Refusal::Unreadable { path: self.path.clone(), problem }
    }
}

/// A file read once as a whole, with what its very bytes say: what is checked is what is loaded.
pub(super) struct Checked {
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Manifest,
}

/// Reads and checks the file of `entry` anew.
pub(super) fn read_checked(entry: &Entry) -> Result<Checked, Refusal> {
    let path = &entry.path;
    let unreadable = |problem| Refusal::Unreadable { path: path.clone(), problem };
    let opened = open(path)?;
    check_places(path, &opened.metadata, entry.options)?;
    let mut bytes = Vec::new();
    opened.file.take(LIBRARY_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| unreadable(cannot_read(&error)))?;
    let facts = Facts::read(&bytes[..]).map_err(unreadable)?;
    judge(path, &facts)?;
    match facts.manifest {
        Some(Ok(manifest)) => Ok(Checked { bytes, manifest }),
        _ => Err(no_manifest(path)),
    }
}

struct Opened {
    file: File,
    metadata: Metadata,
}

fn open(path: &Path) -> Result<Opened, Refusal> {
    let unreadable = |problem| Refusal::Unreadable { path: path.to_owned(), problem };
    // Opening a pipe would wait for its other end, so the kind is asked for first.
    if !fs::metadata(path).map_err(|error| unreadable(cannot_read(&error)))?.is_file() {
        return Err(unreadable("is not a regular file".to_owned()));
    }
    let file = File::open(path).map_err(|error| unreadable(cannot_read(&error)))?;
    let metadata = file.metadata().map_err(|error| unreadable(cannot_read(&error)))?;
    if metadata.len() > LIBRARY_BYTES_MAX {
        return Err(unreadable(format!("has {} bytes, {LIBRARY_BYTES_MAX} at most are read", metadata.len())));
    }
    Ok(Opened { file, metadata })
}

fn cannot_read(error: &std::io::Error) -> String {
    format!("cannot be read ({error})")
}

/// Checks the file, the directory it is named in and, if a link leads elsewhere, the directory it stands in.
fn check_places(path: &Path, metadata: &Metadata, options: Options) -> Result<(), Refusal> {
    permissions::check_file(path, metadata)?;
    if options.allow_insecure_dir {
        return Ok(());
    }
    let unreadable = |error| Refusal::Unreadable { path: path.to_owned(), problem: cannot_read(&error) };
    let target = fs::canonicalize(path).map_err(unreadable)?;
    let named_in = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(".".as_ref());
    let mut dirs = vec![named_in];
    if let Some(dir) = target.parent()
        && fs::canonicalize(named_in).ok().as_deref() != Some(dir)
    {
        dirs.push(dir);
    }
    for dir in dirs {
        permissions::check_directory(dir, &fs::metadata(dir).map_err(unreadable)?)?;
    }
    Ok(())
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have no such number")]
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}
