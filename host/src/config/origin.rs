//! Whose a setting is, and where its value came from.

use std::fmt;

use super::mask;
use crate::diagnostic::{Finding, Place};

/// Whose setting it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The host's.
    Host,
    /// The worker's of this name.
    Worker(String),
}

impl Target {
    /// Splits `worker:NAME.KEY`; any other text is a setting of the host.
    pub fn split(text: &str) -> (Self, &str) {
        let worker = text.strip_prefix("worker:").and_then(|rest| rest.split_once('.'));
        match worker {
            Some((name, key)) if !name.is_empty() => (Self::Worker(name.to_owned()), key),
            _ => (Self::Host, text),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => formatter.write_str("worker"),
            Self::Worker(name) => write!(formatter, "worker:{name}"),
        }
    }
}

/// Where the value of a setting came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// How strong it is: what is greater wins. Defaults have 0.
    pub rank: usize,
    /// In words, as in `worker.cfg:5` or `the environment variable CKAN__SITE_ID`.
    pub words: String,
    /// The key as it was written there.
    pub written: String,
    /// The value as it was written there, references not filled in, secrets masked: what may be shown of it.
    pub shown: String,
    /// Where the key stands, if in a file.
    pub key_place: Option<Place>,
    /// Where the value stands, if in a file.
    pub value_place: Option<Place>,
}

impl Origin {
    /// An origin that is no file.
    pub fn new(rank: usize, words: impl Into<String>, written: &str, text: &str) -> Self {
        let shown = mask::value(written, text);
        Self { rank, words: words.into(), written: written.to_owned(), shown, ..Self::default() }
    }

    /// Puts `finding` at the key.
    pub fn at_key(&self, finding: Finding, label: impl Into<String>) -> Finding {
        self.put(self.key_place.clone(), finding, label.into())
    }

    /// Puts `finding` at the value.
    pub fn at_value(&self, finding: Finding, label: impl Into<String>) -> Finding {
        self.put(self.value_place.clone(), finding, label.into())
    }

    fn put(&self, place: Option<Place>, finding: Finding, label: String) -> Finding {
        match place {
            Some(place) => finding.at(place, label),
            None => Finding { origin: Some(self.words.clone()), ..finding },
        }
    }
}
