//! The plugins found, and why some are not usable.
//!
//! [`Catalog::scan_places`] looks through the plugin directories without running anything. [`Catalog::find`] decides which
//! file is meant by a worker's name, [`load`] opens it, and [`LoadedWorker`] is a worker made from it.

mod binary;
mod copies;
mod layout;
mod load;
mod manifest;
mod names;
mod open_error;
mod permissions;
mod platform;
mod refusal;
mod scan;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};

pub use binary::{Facts, Glibc};
pub use copies::PrivateCopies;
pub use load::{LoadedLibrary, LoadedWorker, load};
pub use manifest::Manifest;
pub use refusal::{Refusal, State};
pub use scan::Entry;

/// What an operator may decide about plugin files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether to load from directories that others may write to. The files themselves are checked all the same.
    pub allow_insecure_dir: bool,
}

/// How a directory came to be searched; of two files with one name the one in the earlier kind is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The operator named it.
    Given,
    /// The executable stands in it.
    Executable,
    /// `deps/` beside the executable, where cargo leaves libraries, stale ones too.
    Deps,
    /// The system's.
    System,
}

/// A directory to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub dir: PathBuf,
    /// How it came to be searched.
    pub rank: Rank,
}

/// Where packages of the system put plugins.
pub const SYSTEM_DIR: &str = "/usr/lib/ckan-worker/plugins";

/// The directories to search, in order: the `given` ones, the executable's, its `deps/`, the system's.
pub fn places(given: &[PathBuf]) -> Vec<Place> {
    let executable = std::env::current_exe().ok();
    places_around(given, executable.as_deref().and_then(Path::parent))
}

fn places_around(given: &[PathBuf], executable_dir: Option<&Path>) -> Vec<Place> {
    let mut places: Vec<Place> = given.iter().map(|dir| Place { dir: dir.clone(), rank: Rank::Given }).collect();
    if let Some(dir) = executable_dir {
        // A test's executable stands in `deps/` itself.
        let rank = if dir.ends_with("deps") { Rank::Deps } else { Rank::Executable };
        places.push(Place { dir: dir.to_owned(), rank });
        if rank == Rank::Executable {
            places.push(Place { dir: dir.join("deps"), rank: Rank::Deps });
        }
    }
    places.push(Place { dir: SYSTEM_DIR.into(), rank: Rank::System });
    places
}

/// The plugin files found, usable or not.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    entries: Vec<Entry>,
    problems: Vec<Refusal>,
    searched: Vec<PathBuf>,
}

impl Catalog {
    /// Looks through directories that the operator named, as [`Catalog::scan_places`] does.
    pub fn scan(dirs: &[PathBuf], options: Options) -> Self {
        let given = |dir: &PathBuf| Place { dir: dir.clone(), rank: Rank::Given };
        Self::scan_places(&dirs.iter().map(given).collect::<Vec<_>>(), options)
    }

    /// Looks through `places`, in order, without running anything. Nothing is kept from an earlier time.
    ///
    /// A directory that is missing is a problem only if the operator named it; files that are no plugins are listed
    /// only where somebody must have meant them as such, not beside the executable.
    pub fn scan_places(places: &[Place], options: Options) -> Self {
        let mut catalog = Self::default();
        let mut seen = Vec::new();
        for place in places {
            let canonical = fs::canonicalize(&place.dir).unwrap_or_else(|_| place.dir.clone());
            if !seen.contains(&canonical) {
                seen.push(canonical);
                catalog.scan_dir(place, options);
            }
        }
        names::settle(&mut catalog.entries);
        catalog
    }

    fn scan_dir(&mut self, place: &Place, options: Options) {
        self.searched.push(place.dir.clone());
        let files = match list(&place.dir) {
            Ok(files) => files,
            Err(error) => {
                if place.rank == Rank::Given {
                    let problem = error.to_string();
                    self.problems.push(Refusal::UnreadableDirectory { dir: place.dir.clone(), problem });
                }
                return;
            }
        };
        if !options.allow_insecure_dir
            && let Ok(metadata) = fs::metadata(&place.dir)
        {
            self.problems.extend(permissions::check_directory(&place.dir, &metadata).err());
        }
        let by_accident = matches!(place.rank, Rank::Executable | Rank::Deps);
        let entries = files.iter().map(|path| Entry::look(path, place.rank, options));
        self.entries.extend(entries.filter(|entry| !by_accident || entry.manifest().is_some()));
    }

    /// Every file found, in the order of the directories and then of their names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is wrong with the directories themselves.
    pub fn problems(&self) -> &[Refusal] {
        &self.problems
    }

    /// The file that provides the worker `name`.
    ///
    /// # Errors
    /// Why there is none: the refusal of the file that would be it, or [`Refusal::Unknown`] with what is installed.
    pub fn find(&self, name: &str) -> Result<&Entry, Refusal> {
        let named = |entry: &&Entry| entry.name() == name;
        let usable = self.entries.iter().filter(named).find(|entry| entry.refusal().is_none());
        if let Some(entry) = usable {
            return Ok(entry);
        }
        // A file without a manifest counts by its own name, but only when none says that it is the worker.
        let says_so = self.entries.iter().filter(named).find(|entry| entry.manifest().is_some());
        let refused = says_so.or_else(|| self.entries.iter().find(named));
        Err(refused.and_then(|entry| entry.refusal().cloned()).unwrap_or_else(|| self.unknown(name)))
    }

    /// The names of the workers that can be used, in order.
    pub fn names(&self) -> Vec<String> {
        let usable = self.entries.iter().filter(|entry| entry.refusal().is_none());
        let mut names: Vec<String> = usable.map(|entry| entry.name().to_owned()).collect();
        names.sort();
        names
    }

    fn unknown(&self, name: &str) -> Refusal {
        let installed = self.names();
        let nearest = ckan_worker_plugin::nearest(name, installed.iter().map(String::as_str)).map(str::to_owned);
        let searched: Vec<String> = self.searched.iter().map(|dir| dir.display().to_string()).collect();
        Refusal::Unknown { name: name.to_owned(), nearest, installed, searched: searched.join(", ") }
    }
}

/// The files in `dir` that may be plugins by their names, sorted.
fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if platform::is_library_name(&path) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(executable_dir: &str, expected: &[(&str, Rank)]) {
        let places = places_around(&["/given".into()], Some(Path::new(executable_dir)));
        let places: Vec<_> = places.iter().map(|place| (place.dir.to_str().unwrap(), place.rank)).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn the_given_directories_come_first_then_the_executables_then_the_systems() {
        check(
            "/t/debug",
            &[
                ("/given", Rank::Given),
                ("/t/debug", Rank::Executable),
                ("/t/debug/deps", Rank::Deps),
                (SYSTEM_DIR, Rank::System),
            ],
        );
        check("/t/debug/deps", &[("/given", Rank::Given), ("/t/debug/deps", Rank::Deps), (SYSTEM_DIR, Rank::System)]);
    }
}
