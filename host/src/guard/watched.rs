//! What of a dataset a worker looks at and what it writes, as far as is known.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What of a dataset a worker looks at and what it writes. A worker that writes nothing cannot react to itself: it is
/// not watched, and that costs nothing.
#[derive(Debug, Default)]
pub struct Watched {
    inputs: Vec<String>,
    outputs: Mutex<BTreeSet<String>>,
    is_on: AtomicBool,
}

impl Watched {
    /// A worker that has declared these, and that writes with these actions. `seen` is what it was seen to write before.
    pub fn new(inputs: &[String], outputs: &[String], writes: &[String], seen: Vec<String>) -> Self {
        let is_on = !(inputs.is_empty() && outputs.is_empty() && writes.is_empty() && seen.is_empty());
        let outputs = outputs.iter().cloned().chain(seen).collect();
        Self { inputs: inputs.to_vec(), outputs: Mutex::new(outputs), is_on: AtomicBool::new(is_on) }
    }

    /// Whether it has to be watched.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// What it has declared that it looks at; empty for all.
    pub fn inputs(&self) -> Vec<String> {
        self.inputs.clone()
    }

    /// What it writes.
    pub fn outputs(&self) -> BTreeSet<String> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what it was seen to write.
    pub fn learn(&self, paths: BTreeSet<String>) {
        if !paths.is_empty() {
            self.outputs.lock().unwrap_or_else(PoisonError::into_inner).extend(paths);
            self.is_on.store(true, Ordering::Relaxed);
        }
    }
}
