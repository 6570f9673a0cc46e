//! Which dead letters are meant.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::cli::WhichArgs;
use crate::source::{DeadLetter, Graveyard, SourceError};

/// Which dead letters are meant.
pub struct Filter {
    /// The ids in full; `None` for any.
    pub ids: Option<BTreeSet<String>>,
    worker: Option<String>,
    reason: Option<String>,
    since: Option<SystemTime>,
    text: Option<String>,
    limit: u64,
}

impl Filter {
    /// Those that the command line asks for.
    pub fn of(which: &WhichArgs) -> Self {
        let WhichArgs { worker, reason, since, text, limit } = which.clone();
        let text = text.map(|text| text.to_lowercase());
        Self { ids: None, worker, reason, since, text, limit: limit.unwrap_or(u64::MAX) }
    }

    /// Whether all are meant, so that they need not be looked at to be counted.
    pub fn is_all(&self) -> bool {
        self.ids.is_none()
            && self.worker.is_none()
            && self.reason.is_none()
            && self.since.is_none()
            && self.text.is_none()
    }

    /// How many are meant at most.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn fits(&self, letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|wanted| is == Some(wanted));
        // Of what the broker set aside long ago it may not be known when that was.
        let time = letter.died.or(letter.first_seen);
        is(&self.worker, letter.worker.as_deref())
            && is(&self.reason, Some(&letter.reason))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&letter.id))
            && self.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.text.as_deref().is_none_or(|text| {
                letter.error.to_lowercase().contains(text)
                    || String::from_utf8_lossy(&letter.body).to_lowercase().contains(text)
            })
    }
}

/// The letters of a graveyard that are meant.
pub struct Matches<'a> {
    pub graveyard: Box<dyn Graveyard>,
    filter: &'a Filter,
    left: u64,
}

impl<'a> Matches<'a> {
    /// Those that `filter` means.
    pub fn new(graveyard: Box<dyn Graveyard>, filter: &'a Filter) -> Self {
        Self { graveyard, filter, left: filter.limit }
    }

    /// The next one; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<DeadLetter>, SourceError> {
        while self.left > 0 {
            let Some(letter) = self.graveyard.next().await? else { return Ok(None) };
            if self.filter.fits(&letter) {
                self.left -= 1;
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }
}

/// What the beginnings of ids stand for.
pub enum Resolved {
    /// These ids.
    Ids(BTreeSet<String>),
    /// No id begins so.
    Unknown(String),
    /// Several do, among them these.
    Ambiguous(String, Vec<String>),
}

/// How many ids are named when several begin alike.
const NAMED_MAX: usize = 5;

/// Finds the ids that are meant by their beginnings: the one that is the same, else the only one that begins so.
pub async fn resolve(graveyard: &mut dyn Graveyard, beginnings: &[String]) -> Result<Resolved, SourceError> {
    let mut found = vec![(false, BTreeSet::new()); beginnings.len()];
    while let Some(letter) = graveyard.next().await? {
        for (beginning, (is_same, ids)) in beginnings.iter().zip(&mut found) {
            *is_same |= letter.id == *beginning;
            if letter.id.starts_with(beginning.as_str()) && ids.len() < NAMED_MAX {
                ids.insert(letter.id.clone());
            }
        }
    }
    let mut resolved = BTreeSet::new();
    for (beginning, (is_same, mut ids)) in beginnings.iter().zip(found) {
        if is_same {
            resolved.insert(beginning.clone());
        } else if ids.len() > 1 {
            return Ok(Resolved::Ambiguous(beginning.clone(), ids.into_iter().collect()));
        } else if let Some(id) = ids.pop_first() {
            resolved.insert(id);
        } else {
            return Ok(Resolved::Unknown(beginning.clone()));
        }
    }
    Ok(Resolved::Ids(resolved))
}
