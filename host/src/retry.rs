//! Decides what becomes of a run.

use std::borrow::Cow;

use crate::delivery::DeadReason;

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
