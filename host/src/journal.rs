//! What was begun and what has ended.

use std::path::PathBuf;

/// Where the journal lies, and how much it remembers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its directory.
    pub path: PathBuf,
    /// How many ended runs it remembers.
    pub keep: usize,
}
