//! How far the polling of a portal has come: what is kept of it in the queue's file.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::services::ckan::{Listed, to_millisecond};
use crate::source::sqlite::Seen;

const BEGIN: &str = "poll.begin";
const CURSOR: &str = "poll.cursor";
const SWEPT: &str = "poll.swept";
const SWEEP: &str = "poll.sweep";
const MISSING_FROM: &str = "poll.missing_from";

/// How far it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The newest stamp when this portal was asked for the first time; empty if it had no dataset.
    pub begin: String,
    /// The newest stamp that was reached. No other clock than the portal's is looked at.
    pub cursor: String,
    /// When the last sweep ended, by our clock, in milliseconds; `None` before the first has.
    pub swept_ms: Option<i64>,
    /// The sweep that goes on.
    pub sweep: Option<Sweep>,
    /// The id behind which a sweep looks for what is no longer listed: where the last one gave up; empty if it did not.
    pub missing_from: String,
}

/// A sweep that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// All up to this id have been compared.
    pub behind: String,
    /// When it began, by our clock, in milliseconds.
    pub began_ms: i64,
    /// How many datasets there were in all, and among them such that nobody had seen, that were different, that are gone.
    pub listed: u64,
    pub new: u64,
    pub changed: u64,
    pub gone: u64,
    /// How many are listed otherwise than they are.
    pub uncommitted: u64,
    /// How many are there and are not listed.
    pub unlisted: u64,
    /// Where there were so many of them that no more were looked for.
    #[serde(default)]
    pub stopped_at: Option<String>,
}

impl Progress {
    /// Reads what is kept; `None` if this portal was never asked.
    pub fn read(kept: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            begin: kept.get(BEGIN)?.clone(),
            cursor: kept.get(CURSOR)?.clone(),
            swept_ms: kept.get(SWEPT).and_then(|text| text.parse().ok()),
            missing_from: kept.get(MISSING_FROM).cloned().unwrap_or_default(),
            // What cannot be read begins anew.
            sweep: kept.get(SWEEP).and_then(|text| serde_json::from_str(text).ok()),
        })
    }

    /// What is to be kept.
    pub fn write(&self) -> Vec<(&'static str, String)> {
        let sweep =
            self.sweep.as_ref().map(|sweep| serde_json::to_string(sweep).expect("texts and numbers become JSON"));
        let mut kept = vec![
            (BEGIN, self.begin.clone()),
            (CURSOR, self.cursor.clone()),
            (SWEEP, sweep.unwrap_or_default()),
            (MISSING_FROM, self.missing_from.clone()),
        ];
        kept.extend(self.swept_ms.map(|ms| (SWEPT, ms.to_string())));
        kept
    }

    /// Since which stamp is asked; `None` for all that there is.
    pub fn since(&self, overlap: Duration) -> Option<String> {
        let cursor: Timestamp = self.cursor.parse().ok()?;
        let since = cursor.checked_sub(SignedDuration::try_from(overlap).ok()?).ok()?;
        Some(to_millisecond(&since.to_string()))
    }

    /// Whether a dataset is left to the first sweep, which has yet to come to it.
    pub fn is_for_the_first_sweep(&self, known: Option<&Seen>, listed: &Listed) -> bool {
        let is_behind = || self.sweep.as_ref().is_none_or(|sweep| listed.id > sweep.behind);
        self.swept_ms.is_none() && known.is_none() && listed.stamp <= self.begin && is_behind()
    }

    /// How long it is until the next sweep; `None` if there is none to come.
    pub fn sweeps_in(&self, every: Duration, now_ms: i64) -> Option<Duration> {
        let Some(swept) = self.swept_ms.filter(|_| self.sweep.is_none()) else { return Some(Duration::ZERO) };
        // A clock that was set back is not waited for.
        let since = Duration::from_millis(now_ms.abs_diff(swept));
        (!every.is_zero()).then(|| every.saturating_sub(since))
    }
}

/// Whether what is listed of a dataset is what is known of it.
pub fn is_seen(known: Option<&Seen>, listed: &Listed) -> bool {
    known.is_some_and(|known| known.stamp == listed.stamp && known.look == Some(listed.look))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let mut progress = Progress { begin: "a".to_owned(), cursor: "b".to_owned(), ..Progress::default() };
        let read = |progress: &Progress| {
            Progress::read(&progress.write().into_iter().map(|(name, text)| (name.to_owned(), text)).collect())
        };
        assert_eq!(read(&progress).as_ref(), Some(&progress));
        progress.swept_ms = Some(7);
        progress.missing_from = "y".to_owned();
        progress.sweep = Some(Sweep { behind: "x\"y".to_owned(), changed: 3, ..Sweep::default() });
        assert_eq!(read(&progress).as_ref(), Some(&progress));
        assert_eq!(Progress::read(&BTreeMap::new()), None);
    }

    #[test]
    fn it_is_asked_since_a_while_before_the_newest_stamp_that_was_reached() {
        let since = |cursor: &str, overlap| {
            Progress { cursor: cursor.to_owned(), ..Progress::default() }.since(Duration::from_secs(overlap))
        };
        assert_eq!(since("2026-01-01T00:02:00.120Z", 300).as_deref(), Some("2025-12-31T23:57:00.120Z"));
        assert_eq!(since("2026-01-01T00:02:00.000Z", 1).as_deref(), Some("2026-01-01T00:01:59.000Z"));
        assert_eq!(since("", 300), None);
    }

    #[test]
    fn a_sweep_comes_so_long_after_the_last_has_ended_whatever_is_done_to_the_clock() {
        let day = Duration::from_secs(86400);
        let check = |swept_ms, every, now_ms, expected: Option<u64>| {
            let progress = Progress { swept_ms, ..Progress::default() };
            assert_eq!(progress.sweeps_in(every, now_ms).map(|wait| wait.as_secs()), expected);
        };
        check(None, Duration::ZERO, 5, Some(0));
        check(Some(0), Duration::ZERO, 86_400_000, None);
        check(Some(0), day, 1000, Some(86399));
        check(Some(0), day, 86_400_000, Some(0));
        check(Some(86_400_000), day, 0, Some(0));
        let goes_on = Progress { swept_ms: Some(0), sweep: Some(Sweep::default()), ..Progress::default() };
        assert_eq!(goes_on.sweeps_in(Duration::ZERO, 5), Some(Duration::ZERO));
    }
}
