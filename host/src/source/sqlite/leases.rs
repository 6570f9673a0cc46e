//! Leases: what is claimed is held for a while, so that it comes back when its holder dies.
//!
//! Of a process on this machine it can be seen that it is gone, and what it held comes back at once. Of another nothing
//! is known but that it does not renew its leases. That is seen by our own stopwatch, not by the time of day that the
//! lease carries: clocks are set, and then all leases would seem to have run out at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::params;

use super::clock::{millis, now_ms};
use super::file::QueueFile;
use super::{holder, statements};
use crate::source::SourceError;

/// How long a claim lasts that is not renewed.
pub const LEASE: Duration = Duration::from_secs(60);

/// How often what others hold is looked at, for it may have been left behind.
const TAKE_BACK_EVERY: Duration = Duration::from_secs(1);

/// What is known of the leases of others.
pub struct Leases {
    /// How long one may stay as it is.
    max: Duration,
    looked: Instant,
    /// For each holder the earliest end of a lease, and since when it is the same.
    seen: HashMap<String, (i64, Instant)>,
}

impl Leases {
    /// Nothing is known yet.
    pub fn new(max: Duration) -> Self {
        Self { max, looked: Instant::now(), seen: HashMap::new() }
    }

    /// Notes how others stand; answers who has left something behind, and up to which end of a lease.
    fn left_behind(&mut self, others: Vec<(String, i64)>, now: Instant) -> Vec<(String, i64)> {
        self.looked = now;
        self.seen.retain(|known, _| others.iter().any(|(holder, _)| holder == known));
        let mut left = Vec::new();
        for (holder, earliest) in others {
            let is_gone = holder::is_gone(&holder);
            let (known, since) = self.seen.entry(holder.clone()).or_insert((earliest, now));
            if *known != earliest {
                (*known, *since) = (earliest, now);
            } else if !is_gone && now.duration_since(*since) >= self.max {
                // Who is only late may have renewed the rest.
                left.push((holder, earliest));
                continue;
            }
            if is_gone {
                left.push((holder, i64::MAX));
            }
        }
        left
    }
}

impl QueueFile {
    /// Renews the leases of this source, and takes back what others left behind.
    pub fn renew(&mut self) -> Result<(), SourceError> {
        if self.held()? > 0 {
            let (queue, holder, until) = (&self.queue, &self.holder, now_ms() + millis(LEASE));
            self.store.write(|change| change.execute(statements::RENEW, params![queue, holder, until]).map(drop))?;
        }
        self.take_back()
    }

    /// Gives back all that this source holds.
    pub fn release_all(&mut self) -> Result<(), SourceError> {
        if self.held()? == 0 {
            return Ok(());
        }
        let (queue, holder) = (&self.queue, &self.holder);
        self.store.write(|change| change.execute(statements::RELEASE_ALL, params![queue, holder, i64::MAX]).map(drop))
    }

    /// As [`take_back`](Self::take_back), if that was not done a moment ago.
    pub(super) fn take_back_now_and_then(&mut self) -> Result<(), SourceError> {
        if self.leases.looked.elapsed() < TAKE_BACK_EVERY { Ok(()) } else { self.take_back() }
    }

    /// Takes back what processes held that are gone, at once, and what others have not renewed for too long.
    pub(super) fn take_back(&mut self) -> Result<(), SourceError> {
        let others = self.store.read(|file| {
            let mut others = file.prepare_cached(statements::OTHERS)?;
            let others = others.query_map(params![self.queue, self.holder], |row| Ok((row.get(0)?, row.get(1)?)))?;
            others.collect::<Result<Vec<(String, i64)>, _>>()
        })?;
        let left = self.leases.left_behind(others, Instant::now());
        if left.is_empty() {
            return Ok(());
        }
        let queue = &self.queue;
        self.store.write(|change| {
            let mut free = change.prepare_cached(statements::RELEASE_ALL)?;
            left.iter().try_for_each(|(holder, up_to)| free.execute(params![queue, holder, up_to]).map(drop))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left behind, each with the time of the look in seconds and the holders with their leases.
    #[track_caller]
    fn check(looks: &[(u64, &[(&str, i64)])], expected: &[(&str, i64)]) {
        let (mut leases, start) = (Leases::new(LEASE), Instant::now());
        let mut left = Vec::new();
        for (seconds, others) in looks {
            let others = others.iter().map(|(holder, earliest)| ((*holder).to_owned(), *earliest)).collect();
            left = leases.left_behind(others, start + Duration::from_secs(*seconds));
        }
        let left: Vec<_> = left.iter().map(|(holder, up_to)| (holder.as_str(), *up_to)).collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn a_lease_runs_out_when_it_has_not_changed_for_long_enough_whatever_time_it_carries() {
        check(&[(0, &[("a", 5), ("b", 7)]), (59, &[("a", 5), ("b", 7)])], &[]);
        check(&[(0, &[("a", 5), ("b", 7)]), (60, &[("a", 5), ("b", 8)])], &[("a", 5)]);
        // Renewed by a clock that was set back.
        check(&[(0, &[("a", 500)]), (50, &[("a", 3)]), (100, &[("a", 3)])], &[]);
        check(&[(0, &[("a", 500)]), (50, &[("a", 3)]), (110, &[("a", 3)])], &[("a", 3)]);
        // Who held nothing meanwhile begins anew.
        check(&[(0, &[("a", 5)]), (30, &[]), (70, &[("a", 5)])], &[]);
    }
}
