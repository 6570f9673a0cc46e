//! The directory that fetched files lie in until the call that fetched them ends.
//!
//! A process that is killed leaves its directory behind, so each start removes those that nobody holds any more. A lock
//! tells which: the system lets go of it with the process, and unlike its number it is never another's. In a container
//! every worker has the same number.

use std::fs::{self, DirEntry, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

const PREFIX: &str = "ckan-worker-fetched-";
const LOCK: &str = ".lock";
/// How long a directory may be without its lock: it is made a moment later.
const NEWBORN: Duration = Duration::from_secs(60);
const TRIES: usize = 10;

/// A directory that only this user can enter; dropping it deletes it with all that is in it.
#[derive(Debug)]
pub struct Room {
    dir: TempDir,
    _lock: File,
}

impl Room {
    /// Makes one in `parent`, and removes those that killed workers have left there.
    ///
    /// # Errors
    /// If `parent` takes no directory.
    pub fn new(parent: &Path) -> io::Result<Self> {
        remove_what_was_left(parent);
        // Another that starts at this moment may take what is not yet locked for left behind.
        for _ in 0..TRIES {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX);
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
            let dir = builder.tempdir_in(parent)?;
            let lock = File::create_new(dir.path().join(LOCK))?;
            // Where there are no locks, nobody gets one, and what is left stays.
            let _ = lock.lock();
            if dir.path().join(LOCK).exists() {
                return Ok(Self { dir, _lock: lock });
            }
        }
        Err(io::Error::other("others remove it as soon as it is made"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn remove_what_was_left(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_room = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_room && is_our_directory(&entry) {
            remove_if_left(&entry);
        }
    }
}

/// Removes a room that nobody holds; it is held while that goes on.
fn remove_if_left(room: &DirEntry) {
    let (is_left, _lock) = match File::open(room.path().join(LOCK)) {
        Ok(lock) => (lock.try_lock().is_ok(), Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let age = room.metadata().and_then(|metadata| metadata.modified()).map(|made| made.elapsed());
            (age.is_ok_and(|age| age.is_ok_and(|age| age > NEWBORN)), None)
        }
        Err(_) => (false, None),
    };
    if is_left {
        // What cannot be removed now can be at the next start.
        let _ = fs::remove_dir_all(room.path());
    }
}

#[cfg(unix)]
fn is_our_directory(entry: &DirEntry) -> bool {
    use std::os::unix::fs::MetadataExt;
    // Of a link this is the link's own, not what it leads to.
    entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(not(unix))]
fn is_our_directory(entry: &DirEntry) -> bool {
    entry.metadata().is_ok_and(|found| found.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_removes_what_nobody_holds_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let held = Room::new(parent.path()).unwrap();
        fs::write(held.path().join("fetch-1"), "x").unwrap();
        let left = parent.path().join("ckan-worker-fetched-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("fetch-1"), "x").unwrap();
        let newborn = parent.path().join("ckan-worker-fetched-new");
        fs::create_dir(&newborn).unwrap();
        let other = parent.path().join("ckan-worker-other");
        fs::create_dir(&other).unwrap();

        let second = Room::new(parent.path()).unwrap();
        assert!(!left.exists());
        assert!(held.path().join("fetch-1").exists() && newborn.exists() && other.exists());
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists() && second.path().exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_another_place_is_not_followed() {
        let (parent, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join(LOCK), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), parent.path().join("ckan-worker-fetched-link")).unwrap();
        Room::new(parent.path()).unwrap();
        assert!(elsewhere.path().join(LOCK).exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_enter() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let room = Room::new(parent.path()).unwrap();
        assert_eq!(fs::metadata(room.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
