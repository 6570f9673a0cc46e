//! What of a dataset a worker looks at and what it writes, as far as is known.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Fingerprint, View};

/// What of a dataset a worker looks at and what it writes. One that neither writes nor says what it looks at cannot react
/// to itself: it is not watched, and that costs nothing.
#[derive(Debug, Default)]
pub struct Watched {
    declared: Declared,
    /// What it was seen to write.
    learned: Mutex<BTreeSet<String>>,
    is_on: AtomicBool,
}

/// What a worker says of itself.
#[derive(Debug, Default, Clone)]
pub struct Declared {
    /// What it looks at; empty if it does not say.
    pub inputs: Vec<String>,
    /// What it writes.
    pub outputs: Vec<String>,
    /// The actions that it writes with.
    pub writes: Vec<String>,
    /// Whether a burst of notifications about a dataset is one run to it.
    pub coalesces: bool,
    /// Its version and its settings: with others it looks at everything anew.
    pub edition: String,
}

impl Watched {
    /// A worker that declares this. `learned` is what it was seen to write before.
    pub fn new(declared: Declared, learned: Vec<String>) -> Self {
        let says_nothing = declared.inputs.is_empty() && declared.outputs.is_empty() && declared.writes.is_empty();
        let is_on = AtomicBool::new(!(says_nothing && learned.is_empty()));
        Self { declared, learned: Mutex::new(learned.into_iter().collect()), is_on }
    }

    /// Whether it has to be watched.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Whether two notifications about two resources of a dataset are two things to it.
    pub fn is_by_resource(&self) -> bool {
        self.declared.inputs.is_empty() && !self.declared.coalesces
    }

    /// Notes what it was seen to write.
    pub fn learn(&self, paths: BTreeSet<String>) {
        if !paths.is_empty() {
            self.learned.lock().unwrap_or_else(PoisonError::into_inner).extend(paths);
            self.is_on.store(true, Ordering::Relaxed);
        }
    }

    /// How it looks at things, as far as is known now.
    pub fn look(&self) -> Look {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Look { declared: self.declared.clone(), learned }
    }
}

/// How a worker looks at a dataset.
#[derive(Debug, Clone)]
pub struct Look {
    declared: Declared,
    learned: BTreeSet<String>,
}

impl Look {
    /// The fingerprint of what it sees of a dataset, when it is also known to write these.
    pub fn fingerprint(&self, dataset: &serde_json::Value, also: &BTreeSet<String>) -> Fingerprint {
        let Declared { inputs, outputs, edition, .. } = &self.declared;
        // What it says that it looks at counts, whatever it was seen to write.
        let learned = self.learned.union(also).filter(|_| inputs.is_empty());
        View::of_worker(inputs, outputs.iter().chain(learned)).fingerprint(dataset).of_edition(edition)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declared(inputs: &[&str]) -> Declared {
        let inputs = inputs.iter().map(|path| (*path).to_owned()).collect();
        Declared { inputs, edition: "1".to_owned(), ..Declared::default() }
    }

    #[test]
    fn what_a_worker_says_that_it_looks_at_counts_whatever_it_was_seen_to_write() {
        let learned = vec!["notes".to_owned()];
        let (before, after) = (json!({ "notes": "a" }), json!({ "notes": "b" }));
        let differs = |watched: &Watched| {
            let look = watched.look();
            look.fingerprint(&before, &BTreeSet::new()) != look.fingerprint(&after, &BTreeSet::new())
        };
        assert!(differs(&Watched::new(declared(&["notes"]), learned.clone())));
        assert!(!differs(&Watched::new(declared(&[]), learned)));
        assert!(differs(&Watched::new(declared(&[]), Vec::new())));
    }

    #[test]
    fn with_another_version_or_other_settings_everything_is_new() {
        let (dataset, none) = (json!({ "notes": "a" }), BTreeSet::new());
        let watched =
            |edition: &str| Watched::new(Declared { edition: edition.to_owned(), ..declared(&[]) }, Vec::new());
        let fingerprint = |edition| watched(edition).look().fingerprint(&dataset, &none);
        assert_eq!(fingerprint("1"), fingerprint("1"));
        assert_ne!(fingerprint("1"), fingerprint("2"));
    }

    #[test]
    fn who_neither_writes_nor_says_what_it_looks_at_is_not_watched_until_it_is_seen_to_write() {
        let watched = Watched::new(declared(&[]), Vec::new());
        watched.learn(BTreeSet::new());
        assert!(!watched.is_on());
        watched.learn(BTreeSet::from(["notes".to_owned()]));
        assert!(watched.is_on() && watched.is_by_resource());
    }
}
