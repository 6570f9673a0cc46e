//! Decides what becomes of a run.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::DeadReason;

/// How long something may only wait, without being tried: for CKAN, or for a worker that does not run here.
pub const HELD_MAX: Duration = Duration::from_secs(24 * 3600);

/// The waits between tries, shortest first; each is a rung of the retry ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Arc<[Duration]>);

impl Ladder {
    /// A ladder with these rungs, sorted, without equals. `None` if there are none.
    pub fn new(rungs: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut rungs: Vec<Duration> = rungs.into_iter().filter(|rung| !rung.is_zero()).collect();
        rungs.sort_unstable();
        rungs.dedup();
        (!rungs.is_empty()).then(|| Self(rungs.into()))
    }

    /// The rungs, shortest first.
    pub fn rungs(&self) -> &[Duration] {
        &self.0
    }

    /// The wait after attempt number `attempt`, from 1; the last rung is used again and again.
    pub fn after(&self, attempt: u32) -> Duration {
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        self.0[index.min(self.0.len() - 1)]
    }

    /// The rung for a wait of `delay`: the shortest that is long enough, or the longest there is.
    pub fn rung(&self, delay: Duration) -> Duration {
        let enough = self.0.iter().find(|rung| **rung >= delay);
        enough.copied().unwrap_or_else(|| self.0[self.0.len() - 1])
    }
}

impl Default for Ladder {
    /// 10 s, 30 s, 2 min, 10 min, 30 min, 2 h, 6 h, 12 h: about 20.7 hours in all.
    fn default() -> Self {
        const RUNGS: [u64; 8] = [10, 30, 120, 600, 1800, 7200, 6 * 3600, 12 * 3600];
        Self(RUNGS.into_iter().map(Duration::from_secs).collect())
    }
}

/// A rung's length as it stands in the name of its queue: `10s`, `2m`, `12h`, or `250ms`.
pub fn rung_name(rung: Duration) -> String {
    let ms = rung.as_millis();
    match ms {
        _ if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        _ if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        _ if ms % 1000 == 0 => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// How one attempt at a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done.
    Done,
    /// There was nothing to do, and why.
    Skipped(Cow<'static, str>),
    /// It failed, and may succeed later.
    Failed(String),
    /// It failed, and always will.
    Impossible(String),
    /// The worker panicked.
    Panicked(String),
    /// Its time was over.
    TimedOut(String),
    /// The host is stopping and took it back.
    Interrupted,
}

impl Outcome {
    /// The word for it in logs and figures.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) | Self::Impossible(_) | Self::Panicked(_) | Self::TimedOut(_) => "dead",
            Self::Interrupted => "interrupted",
        }
    }

    /// Why it was skipped, or the error; empty if there is nothing to say.
    pub fn message(&self) -> &str {
        match self {
            Self::Done | Self::Interrupted => "",
            Self::Skipped(reason) => reason,
            Self::Failed(error) | Self::Impossible(error) | Self::Panicked(error) | Self::TimedOut(error) => error,
        }
    }

    /// The error, for keeping.
    pub fn into_error(self) -> String {
        match self {
            Self::Failed(error) | Self::Impossible(error) | Self::Panicked(error) | Self::TimedOut(error) => error,
            Self::Done | Self::Skipped(_) | Self::Interrupted => String::new(),
        }
    }
}

/// What becomes of a run after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It has ended well: nothing more is to be done.
    Ended,
    /// It is tried again.
    Retry,
    /// It is kept as a dead letter, for this reason.
    Dead(DeadReason),
    /// It has not ended: the delivery stays unsettled and comes back.
    Unsettled,
}

/// How often a run is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often in all; at least 1.
    pub attempts: u32,
}

impl RetryPolicy {
    /// Decides what becomes of a run whose attempt number `attempt`, from 1, ended so.
    pub fn decide(self, outcome: &Outcome, attempt: u32) -> Disposition {
        let last = match outcome {
            Outcome::Done | Outcome::Skipped(_) => return Disposition::Ended,
            Outcome::Interrupted => return Disposition::Unsettled,
            Outcome::Impossible(_) => return Disposition::Dead(DeadReason::Permanent),
            Outcome::Failed(_) => DeadReason::AttemptsExhausted,
            Outcome::Panicked(_) => DeadReason::Panicked,
            Outcome::TimedOut(_) => DeadReason::TimedOut,
        };
        if attempt < self.attempts { Disposition::Retry } else { Disposition::Dead(last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(outcome: &Outcome, attempt: u32, expected: &str) {
        let text = match (RetryPolicy { attempts: 3 }).decide(outcome, attempt) {
            Disposition::Ended => "ended".to_owned(),
            Disposition::Retry => "retry".to_owned(),
            Disposition::Unsettled => "unsettled".to_owned(),
            Disposition::Dead(reason) => format!("dead {}: {}", reason.as_str(), outcome.message()),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn what_ended_well_is_never_run_again() {
        check(&Outcome::Done, 1, "ended");
        check(&Outcome::Skipped("not mine".into()), 3, "ended");
    }

    #[test]
    fn what_may_pass_is_tried_as_often_as_is_allowed() {
        check(&Outcome::Failed("503".into()), 1, "retry");
        check(&Outcome::Failed("503".into()), 2, "retry");
        check(&Outcome::Failed("503".into()), 3, "dead attempts_exhausted: 503");
        check(&Outcome::Panicked("boom".into()), 2, "retry");
        check(&Outcome::Panicked("boom".into()), 3, "dead panicked: boom");
        check(&Outcome::TimedOut("15 min".into()), 3, "dead timed_out: 15 min");
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        check(&Outcome::Impossible("licence".into()), 1, "dead permanent: licence");
    }

    #[test]
    fn what_was_interrupted_comes_back() {
        check(&Outcome::Interrupted, 1, "unsettled");
        check(&Outcome::Interrupted, 3, "unsettled");
    }
}
