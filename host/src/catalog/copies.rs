//! The private copies that libraries are loaded from.
//!
//! Overwriting a file that is mapped kills the process, and the system answers a second `dlopen` of one file with the
//! first one's handle. So each loading gets a copy of its own, made of the very bytes that were checked, in a directory
//! that only the worker's user can enter. The copies keep the file's name and stay until the worker ends, so that
//! backtraces and debuggers find their symbols.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::refusal::Refusal;

const PREFIX: &str = "ckan-worker-";

/// The directory of the private copies; dropping it removes the files, not what is loaded from them.
#[derive(Debug)]
pub struct PrivateCopies {
    dir: TempDir,
    generation: AtomicU64,
}

impl PrivateCopies {
    /// Makes the directory, and removes those that workers which were killed have left.
    ///
    /// # Errors
    /// [`Refusal::NoCopy`], if the directory of temporary files takes none.
    pub fn new() -> Result<Self, Refusal> {
        let parent = std::env::temp_dir();
        remove_what_was_left(&parent);
        let mut builder = tempfile::Builder::new();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        builder.prefix(&prefix);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let dir = builder.tempdir_in(&parent).map_err(|error| Refusal::NoCopy {
            path: PathBuf::from("plugins"),
            dir: parent.clone(),
            problem: error.to_string(),
        })?;
        Ok(Self { dir, generation: AtomicU64::new(0) })
    }

    /// Writes `bytes` under the name of `original` into a directory of its own, and answers where.
    ///
    /// # Errors
    /// [`Refusal::NoCopy`].
    pub fn add(&self, original: &Path, bytes: &[u8]) -> Result<PathBuf, Refusal> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let dir = self.dir.path().join(generation.to_string());
        let write = || {
            fs::create_dir(&dir)?;
            let copy = dir.join(original.file_name().unwrap_or("plugin".as_ref()));
            let mut file = fs::File::create_new(&copy)?;
            file.write_all(bytes)?;
            Ok(copy)
        };
        write().map_err(|error: std::io::Error| Refusal::NoCopy {
            path: original.to_owned(),
            dir: self.dir.path().to_owned(),
            problem: error.to_string(),
        })
    }
}

/// Removes the directories of processes that are no more. Nothing is lost if one is taken from a living process that
/// cannot be seen from here: what it has loaded stays loaded.
fn remove_what_was_left(parent: &Path) {
    if !Path::new("/proc/self").exists() {
        return;
    }
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'))
            .and_then(|(process, _)| process.parse::<u32>().ok());
        let gone = process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists());
        if gone && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_ours(&entry) {
            // Another worker that starts now may be removing it as well.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(unix)]
fn is_ours(entry: &fs::DirEntry) -> bool {
    use std::os::unix::fs::MetadataExt;
    entry.metadata().is_ok_and(|metadata| metadata.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(not(unix))]
fn is_ours(_: &fs::DirEntry) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_copy_has_a_path_of_its_own_and_all_go_with_the_directory() {
        let copies = PrivateCopies::new().unwrap();
        let first = copies.add(Path::new("/x/libgeo.so"), b"1").unwrap();
        let second = copies.add(Path::new("/x/libgeo.so"), b"2").unwrap();
        assert_ne!(first, second);
        assert_eq!(first.file_name(), second.file_name());
        assert_eq!(fs::read(&first).unwrap(), b"1");
        drop(copies);
        assert!(!first.exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_enter_the_directory() {
        use std::os::unix::fs::PermissionsExt;
        let copies = PrivateCopies::new().unwrap();
        assert_eq!(fs::metadata(copies.dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_a_killed_worker_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let (left, ours) = (parent.path().join("ckan-worker-4194999-abc"), parent.path().join("ckan-worker-other"));
        fs::create_dir(&left).unwrap();
        fs::create_dir(&ours).unwrap();
        remove_what_was_left(parent.path());
        assert!(!left.exists());
        assert!(ours.exists());
    }
}
