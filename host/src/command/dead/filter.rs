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
    /// How many somebody has said yes to.
    pub confirmed: u64,
}

impl Filter {
    /// Those that the command line asks for.
    pub fn of(which: &WhichArgs) -> Self {
        let WhichArgs { worker, reason, since, text, limit } = which.clone();
        let text = text.map(|text| text.to_lowercase());
        Self { ids: None, worker, reason, since, text, limit: limit.unwrap_or(u64::MAX), confirmed: u64::MAX }
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
    /// How many were answered, and their ids, if ids were asked for.
    count: u64,
    ids: BTreeSet<String>,
}

impl<'a> Matches<'a> {
    /// Those that `filter` means.
    pub fn new(graveyard: Box<dyn Graveyard>, filter: &'a Filter) -> Self {
        Self { graveyard, filter, count: 0, ids: BTreeSet::new() }
    }

    /// The next one; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<DeadLetter>, SourceError> {
        while self.count < self.filter.limit.min(self.filter.confirmed) {
            let Some(letter) = self.graveyard.next().await? else { return Ok(None) };
            if self.filter.fits(&letter) {
                self.count += 1;
                if self.filter.ids.is_some() {
                    self.ids.insert(letter.id.clone());
                }
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    /// The ids that were asked for and not answered, unless no more were wanted.
    pub fn missed(&self) -> BTreeSet<String> {
        match &self.filter.ids {
            Some(ids) if self.count < self.filter.limit => ids.difference(&self.ids).cloned().collect(),
            _ => BTreeSet::new(),
        }
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// So many letters, called by their numbers.
    struct Row(Vec<u64>);

    #[async_trait]
    impl Graveyard for Row {
        fn count(&self) -> u64 {
            self.0.len() as u64
        }

        async fn next(&mut self) -> Result<Option<DeadLetter>, SourceError> {
            Ok(self.0.pop().map(DeadLetter::numbered))
        }

        async fn replay(&mut self, _: Vec<DeadLetter>, _: &mut u64) -> Result<(), SourceError> {
            Ok(())
        }

        async fn remove(&mut self, _: Vec<DeadLetter>, _: &mut u64) -> Result<(), SourceError> {
            Ok(())
        }

        async fn close(self: Box<Self>) -> Result<(), SourceError> {
            Ok(())
        }
    }

    /// How many of two letters, 1 and 2, are answered, and which ids are missed.
    fn gone_through(filter: &Filter) -> (usize, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut matches = Matches::new(Box::new(Row(vec![2, 1])), filter);
            let mut count = 0;
            while matches.next().await.unwrap().is_some() {
                count += 1;
            }
            (count, matches.missed().into_iter().collect())
        })
    }

    #[test]
    fn nothing_is_done_that_nobody_said_yes_to() {
        let mut filter = Filter::of(&WhichArgs::default());
        assert_eq!(gone_through(&filter), (2, vec![]));
        filter.confirmed = 1;
        assert_eq!(gone_through(&filter), (1, vec![]));
        filter.confirmed = 0;
        assert_eq!(gone_through(&filter), (0, vec![]));
        filter.ids = Some(["1".to_owned()].into());
        assert_eq!(gone_through(&filter), (0, vec!["1".to_owned()]));
    }

    #[test]
    fn an_id_that_was_not_there_is_missed_unless_no_more_were_wanted() {
        let mut filter = Filter::of(&WhichArgs::default());
        filter.ids = Some(["1".to_owned(), "3".to_owned()].into());
        assert_eq!(gone_through(&filter), (1, vec!["3".to_owned()]));
        filter.limit = 1;
        assert_eq!(gone_through(&filter), (1, vec![]));
    }
}
