//! Where copies and records are kept: `<dir>/<id[:2]>/<id>/`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ckan_worker_plugin::{Error, Result, serde_json};

use crate::record::Record;

const RECORD: &str = "archive.json";
/// What is being written; no copy has a name that begins with a dot.
const INCOMING: &str = ".incoming";

/// A directory that copies are kept in.
pub struct Store {
    dir: PathBuf,
    audience: Audience,
    /// Nothing is changed: it is a dry run.
    is_dry: AtomicBool,
}

/// Who may read the copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everybody: a web server serves them.
    Everybody,
    /// This user and its group.
    Group,
}

/// The directory of one resource.
pub struct Place {
    root: PathBuf,
    parent: PathBuf,
    dir: PathBuf,
    audience: Audience,
    is_dry: bool,
}

impl Store {
    /// Tries to write in the directory, if it is there; `setting` is what named it. One that is not is made when there is
    /// something to keep: looking at settings changes nothing.
    pub fn open(setting: &str, dir: &Path, audience: Audience) -> Result<Self> {
        let probe = dir.join(INCOMING);
        let tried =
            if dir.exists() { File::create(&probe).and_then(|_| fs::remove_file(&probe)) } else { can_be_made(dir) };
        tried.map_err(|error| Error::permanent(format!("{setting}: cannot write to {}: {error}", dir.display())))?;
        Ok(Self { dir: dir.to_owned(), audience, is_dry: AtomicBool::new(false) })
    }

    /// Changes nothing from now on, if `is_dry`.
    pub fn be_dry(&self, is_dry: bool) {
        self.is_dry.store(is_dry, Ordering::Relaxed);
    }

    /// Whether one of two directories lies in the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let real = |dir: &Path| fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let (one, two) = (real(&self.dir), real(&other.dir));
        one.starts_with(&two) || two.starts_with(&one)
    }

    /// The place of a resource; `None` if its id cannot be a path.
    pub fn place(&self, resource_id: &str) -> Option<Place> {
        if !crate::dataset::is_id(resource_id) {
            return None;
        }
        let parent = self.dir.join(&resource_id[..2]);
        let is_dry = self.is_dry.load(Ordering::Relaxed);
        let root = self.dir.clone();
        Some(Place { root, dir: parent.join(resource_id), parent, audience: self.audience, is_dry })
    }
}

impl Place {
    /// What is remembered; `None` if there is nothing, or nothing that can be read.
    pub fn record(&self) -> Result<Option<Record>> {
        let mut bytes = Vec::new();
        match self.open(RECORD).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => Ok(serde_json::from_slice(&bytes).ok().map(Record::completed)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    /// Remembers it: after a crash there is the old record or the new one.
    pub fn remember(&self, record: &Record) -> Result<()> {
        if self.is_dry {
            return Ok(());
        }
        let mut text = serde_json::to_vec_pretty(record)?;
        text.push(b'\n');
        self.make().and_then(|()| self.replace(RECORD, &mut text.as_slice())).map_err(|error| self.trouble(&error))
    }

    /// Moves a file here under this name: after a crash there is the old copy or the new one. Answers where it is.
    pub fn keep(&self, fetched: &Path, name: &str) -> Result<PathBuf> {
        if self.is_dry {
            return Ok(self.path(name));
        }
        self.make().and_then(|()| self.move_here(fetched, name)).map_err(|error| self.trouble(&error))
    }

    /// Where a copy with this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether there is a copy with this name.
    pub fn has(&self, name: &str) -> bool {
        self.is_reached_without_links() && fs::symlink_metadata(self.dir.join(name)).is_ok_and(|found| found.is_file())
    }

    /// Removes a copy, if it is there.
    pub fn remove(&self, name: &str) -> Result<()> {
        if self.is_dry {
            return Ok(());
        }
        match self.check_no_links().and_then(|()| fs::remove_file(self.dir.join(name))) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.trouble(&error)),
            _ => Ok(()),
        }
    }

    /// Removes everything that is kept of the resource, and answers whether there was anything.
    pub fn forget(&self) -> Result<bool> {
        if self.is_dry {
            return Ok(self.dir.exists());
        }
        match self.check_no_links().and_then(|()| fs::remove_dir_all(&self.dir)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    fn make(&self) -> io::Result<()> {
        make_root(&self.root, self.audience)?;
        fs::create_dir_all(&self.dir)?;
        self.check_no_links()
    }

    fn is_reached_without_links(&self) -> bool {
        self.check_no_links().is_ok()
    }

    /// Somebody who can place a link in the tree must not lead us out of it.
    fn check_no_links(&self) -> io::Result<()> {
        for dir in [&self.parent, &self.dir] {
            if fs::symlink_metadata(dir)?.is_symlink() {
                return Err(io::Error::other(format!("{} is a symbolic link: remove it", dir.display())));
            }
        }
        Ok(())
    }

    fn open(&self, name: &str) -> io::Result<File> {
        self.check_no_links()?;
        open_no_link(&self.dir.join(name))
    }

    fn move_here(&self, fetched: &Path, name: &str) -> io::Result<PathBuf> {
        let target = self.dir.join(name);
        let file = File::open(fetched)?;
        make_readable(&file, self.audience)?;
        file.sync_data()?;
        match fs::rename(fetched, &target) {
            // Another file system.
            Err(error) if error.kind() == ErrorKind::CrossesDevices => self.replace(name, &mut &file)?,
            moved => moved?,
        }
        File::open(&self.dir)?.sync_all()?;
        Ok(target)
    }

    /// Writes beside, makes it durable, and renames. A rename replaces a link; it does not follow it.
    fn replace(&self, name: &str, content: &mut dyn io::Read) -> io::Result<()> {
        let incoming = self.dir.join(INCOMING);
        let written = (|| {
            // What a crash left is removed first, so that no link is followed.
            match fs::remove_file(&incoming) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = File::create_new(&incoming)?;
            io::copy(content, &mut file)?;
            file.flush()?;
            make_readable(&file, self.audience)?;
            file.sync_data()?;
            fs::rename(&incoming, self.dir.join(name))
        })();
        if written.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&incoming);
        }
        written
    }

    fn trouble(&self, error: &io::Error) -> Error {
        let message = format!("cannot keep files in {}: {error}", self.dir.display());
        Error::retryable(message).with_code("archive.disk")
    }
}

/// Makes the directory of a store; a private one is closed to others.
#[cfg(unix)]
fn make_root(dir: &Path, audience: Audience) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let is_new = !dir.exists();
    fs::create_dir_all(dir)?;
    if is_new && audience == Audience::Group {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o750))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_root(dir: &Path, _: Audience) -> io::Result<()> {
    fs::create_dir_all(dir)
}

/// Whether a directory that is not there could be made, as far as that can be said without trying.
#[cfg(unix)]
fn can_be_made(dir: &Path) -> io::Result<()> {
    use rustix::fs::Access;
    let there = dir.ancestors().find(|above| above.exists()).filter(|above| !above.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(io::Error::new(ErrorKind::NotADirectory, format!("{} is no directory", there.display())));
    }
    Ok(rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(not(unix))]
fn can_be_made(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens a file that is not a link.
#[cfg(unix)]
fn open_no_link(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
fn open_no_link(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// A web server reads the copies, as another user.
#[cfg(unix)]
fn make_readable(file: &File, audience: Audience) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if audience == Audience::Everybody { 0o644 } else { 0o640 };
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn make_readable(_: &File, _: Audience) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        let place = Store::open("dir", &dir.path().join("kept"), Audience::Everybody).unwrap().place("ab-1").unwrap();
        (dir, place)
    }

    #[test]
    fn an_id_that_leaves_the_directory_has_no_place() {
        let (dir, _) = place();
        let store = Store::open("dir", dir.path(), Audience::Everybody).unwrap();
        for id in ["../../x", "", "a", "..", "a/b", "a\\b", "a\0b", "äöü", ".ab", &"x".repeat(101)] {
            assert!(store.place(id).is_none(), "{id:?}");
        }
        assert!(store.place("5f0c3f10-6a5b-4ad0-9c3e-000000000001").is_some());
    }

    #[test]
    fn a_copy_from_another_file_system_replaces_the_old_one_whole() {
        let (_dir, place) = place();
        place.make().unwrap();
        place.replace("a.csv", &mut b"old".as_slice()).unwrap();
        place.replace("a.csv", &mut b"new".as_slice()).unwrap();
        assert_eq!(fs::read(place.dir.join("a.csv")).unwrap(), b"new");
        assert!(!place.has(INCOMING));
    }

    #[test]
    fn a_copy_that_breaks_off_leaves_the_old_one() {
        struct Breaks;
        impl io::Read for Breaks {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk full"))
            }
        }
        let (_dir, place) = place();
        place.make().unwrap();
        place.replace("a.csv", &mut b"old".as_slice()).unwrap();
        assert!(place.replace("a.csv", &mut Breaks).is_err());
        assert_eq!(fs::read(place.dir.join("a.csv")).unwrap(), b"old");
        assert!(!place.has(INCOMING));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_tree_is_not_followed() {
        let (dir, place) = place();
        fs::create_dir_all(&place.parent).unwrap();
        std::os::unix::fs::symlink(dir.path(), &place.dir).unwrap();
        let fetched = dir.path().join("fetched");
        fs::write(&fetched, "x").unwrap();
        let error = place.keep(&fetched, "a.csv").unwrap_err();
        assert!(error.message().contains("is a symbolic link"), "{error}");
        assert!(!dir.path().join("a.csv").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_refused_by_name() {
        let (dir, _) = place();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = Store::open("dir", &dir.path().join("file/x"), Audience::Everybody).err().unwrap();
        assert!(error.message().contains("dir: cannot write to") && error.message().contains("file/x"), "{error}");
    }
}
