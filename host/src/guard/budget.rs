//! How often a worker may be called for one dataset.

use std::time::Duration;

/// How often a worker may be called for one dataset before that looks like a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How often within [`window`](Self::window).
    pub runs_max: u32,
    /// The shorter time.
    pub window: Duration,
    /// How often within a day.
    pub runs_a_day_max: u32,
}

/// A worker is not called for a dataset for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Until when, in seconds since 1970.
    pub until: u64,
    /// How many in a row this is.
    pub strikes: u32,
    /// Why, for people.
    pub reason: String,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long the first quarantine is; each further one in a row is twice as long, up to a day.
const FIRST: Duration = Duration::from_secs(600);

impl Budget {
    /// Decides whether a worker that was called at these times, in seconds since 1970, may be called once more at `now`.
    /// `strikes` says how many quarantines there have been in a row.
    ///
    /// # Errors
    /// It may not: the quarantine that it gets.
    pub fn allow(&self, runs: &[u64], strikes: u32, now: u64) -> Result<(), Quarantine> {
        let within = |window: Duration| {
            let since = now.saturating_sub(window.as_secs());
            u32::try_from(runs.iter().filter(|at| **at > since).count()).unwrap_or(u32::MAX)
        };
        let (lately, today) = (within(self.window), within(DAY));
        let reason = if lately >= self.runs_max {
            format!("it was called {lately} times within {}", minutes(self.window))
        } else if today >= self.runs_a_day_max {
            format!("it was called {today} times within a day")
        } else {
            return Ok(());
        };
        let length = FIRST.saturating_mul(1 << strikes.min(16)).min(DAY);
        let reason = format!(
            "{reason} for the same dataset, and each time something was different: it may be reacting to what it, or another worker, writes"
        );
        Err(Quarantine { until: now + length.as_secs(), strikes: strikes + 1, reason })
    }

    /// The times that still matter.
    pub fn recent(&self, runs: &[u64], now: u64) -> Vec<u64> {
        let since = now.saturating_sub(DAY.as_secs());
        let kept = runs.iter().copied().filter(|at| *at > since);
        let surplus = runs.len().saturating_sub(self.runs_a_day_max.max(self.runs_max) as usize);
        kept.skip(surplus).collect()
    }

    /// How many quarantines in a row there have been, when the last one of `strikes` ended at `until`.
    pub fn strikes(strikes: u32, until: u64, now: u64) -> u32 {
        if now > until + DAY.as_secs() { 0 } else { strikes }
    }
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { runs_max: 6, window: Duration::from_secs(600), runs_a_day_max: 50 };

    #[test]
    fn the_seventh_call_within_ten_minutes_is_one_too_many() {
        let now = 1_000_000;
        assert_eq!(BUDGET.allow(&[now - 500, now - 400, now - 300, now - 20, now - 10], 0, now), Ok(()));
        assert_eq!(BUDGET.allow(&[now - 700, now - 400, now - 300, now - 20, now - 10, now - 5], 0, now), Ok(()));
        let quarantine = BUDGET.allow(&[now; 6], 0, now).unwrap_err();
        assert_eq!((quarantine.until, quarantine.strikes), (now + 600, 1));
        assert!(
            quarantine.reason.starts_with("it was called 6 times within 10 min for the same dataset"),
            "{quarantine:?}"
        );
    }

    #[test]
    fn the_fifty_first_call_within_a_day_is_one_too_many() {
        let now = 1_000_000;
        let hourly: Vec<u64> = (0..50).map(|run| now - 1000 - run * 1000).collect();
        assert_eq!(BUDGET.allow(&hourly[1..], 0, now), Ok(()));
        assert!(BUDGET.allow(&hourly, 0, now).unwrap_err().reason.contains("50 times within a day"));
    }

    #[test]
    fn each_further_quarantine_in_a_row_is_twice_as_long_up_to_a_day() {
        let lengths: Vec<u64> =
            (0..10).map(|strikes| BUDGET.allow(&[999; 6], strikes, 1000).unwrap_err().until - 1000).collect();
        assert_eq!(lengths, [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 76_800, 86_400, 86_400]);
        assert_eq!((Budget::strikes(3, 1000, 1000 + 86_000), Budget::strikes(3, 1000, 1001 + 86_400)), (3, 0));
    }

    #[test]
    fn what_is_older_than_a_day_is_forgotten() {
        assert_eq!(BUDGET.recent(&[1, 90_000, 100_000], 100_001), [90_000, 100_000]);
        assert_eq!(BUDGET.recent(&[100_000; 80], 100_001).len(), 50);
    }
}
