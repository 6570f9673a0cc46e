//! Decides what becomes of a run.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::DeadReason;

/// How long something may only wait, without being tried: for CKAN, or for a worker that does not run here.
pub const HELD_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long what only waits is left alone at most, so that it goes on soon after its reason has passed.
const HOLD_AT_MOST: Duration = Duration::from_secs(600);

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

    /// The wait of what is not tried at all, after it was sent on `hops` times: longer and longer, to 10 minutes.
    pub fn holding(&self, hops: u32) -> Duration {
        self.after(hops.saturating_add(1)).min(HOLD_AT_MOST)
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
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
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
    /// Somebody asked to be left alone for a while, or CKAN cannot be reached: that is not this notification's fault.
    Held {
        /// Who, and what was said.
        error: String,
        /// How long to wait at least, if that was said.
        after: Option<Duration>,
    },
    /// CKAN does not let the worker do what it must.
    Refused(String),
    /// It failed, and always will.
    Impossible(String),
    /// The worker panicked.
    Panicked(String),
    /// Its time was over.
    TimedOut(String),
    /// The process died in it, so often.
    Crashed(u32),
    /// The host is stopping and took it back.
    Interrupted,
}

impl Outcome {
    /// Whether the worker could not really try.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. } | Self::Refused(_))
    }

    /// Why it was skipped, or the error; empty if there is nothing to say.
    pub fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Done | Self::Interrupted => "".into(),
            Self::Skipped(reason) => reason.as_ref().into(),
            Self::Crashed(times) => format!("the process died {times} times while it was running").into(),
            Self::Held { error, .. }
            | Self::Refused(error)
            | Self::Failed(error)
            | Self::Impossible(error)
            | Self::Panicked(error)
            | Self::TimedOut(error) => error.as_str().into(),
        }
    }
}

/// What becomes of a run after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It has ended well: nothing more is to be done.
    Ended,
    /// It is tried again later, and this attempt counts.
    Retry(Wait),
    /// It is tried again later as if it had not been tried.
    Hold(Wait),
    /// It is kept as a dead letter, for this reason.
    Dead(DeadReason),
    /// It has not ended: the delivery stays unsettled and comes back.
    Unsettled,
}

impl Disposition {
    /// The word for it in logs and figures, after an attempt that ended so.
    pub fn word(self, outcome: &Outcome) -> &'static str {
        match self {
            Self::Ended if matches!(outcome, Outcome::Skipped(_)) => "skipped",
            Self::Ended => "done",
            Self::Retry(_) | Self::Hold(_) => "retry",
            Self::Dead(_) => "dead",
            Self::Unsettled => "interrupted",
        }
    }
}

/// How long something waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// About so long; a little less spreads what failed together.
    About(Duration),
    /// At least so long, for somebody asked for it.
    AtLeast(Duration),
}

/// What is known of a run's past when it is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Which attempt this was, from 1.
    pub number: u32,
    /// How often the notification had been sent on for this worker.
    pub hops: u32,
    /// How long it has only waited, without being tried.
    pub held_for: Duration,
}

/// How often a run is tried, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often in all; at least 1.
    pub attempts: u32,
    /// The waits between tries.
    pub ladder: Ladder,
}

impl RetryPolicy {
    /// Decides what becomes of a run after an attempt that ended so.
    pub fn decide(&self, outcome: &Outcome, attempt: Attempt) -> Disposition {
        let last = match outcome {
            Outcome::Done | Outcome::Skipped(_) => return Disposition::Ended,
            Outcome::Interrupted => return Disposition::Unsettled,
            Outcome::Impossible(_) => return Disposition::Dead(DeadReason::Permanent),
            Outcome::Crashed(_) => return Disposition::Dead(DeadReason::Crashed),
            Outcome::Held { after: Some(asked), .. } if attempt.held_for < HELD_MAX => {
                // Who asks for a moment again and again is left alone for longer; who asks for ever is not waited for.
                let wait =
                    (*asked).max(self.ladder.holding(attempt.hops)).min(HELD_MAX.saturating_sub(attempt.held_for));
                return Disposition::Hold(Wait::AtLeast(wait));
            }
            Outcome::Held { .. } | Outcome::Refused(_) if attempt.held_for < HELD_MAX => {
                return Disposition::Hold(Wait::About(self.ladder.holding(attempt.hops)));
            }
            Outcome::Held { .. } | Outcome::Refused(_) | Outcome::Failed(_) => DeadReason::AttemptsExhausted,
            Outcome::Panicked(_) => DeadReason::Panicked,
            Outcome::TimedOut(_) => DeadReason::TimedOut,
        };
        if attempt.number < self.attempts {
            Disposition::Retry(Wait::About(self.ladder.after(attempt.number)))
        } else {
            Disposition::Dead(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn policy() -> RetryPolicy {
        RetryPolicy { attempts: 3, ladder: Ladder::default() }
    }

    fn words(outcome: &Outcome, attempt: Attempt) -> String {
        let waited = |wait| match wait {
            Wait::About(delay) => format!("about {}", rung_name(delay)),
            Wait::AtLeast(delay) => format!("at least {}", rung_name(delay)),
        };
        match policy().decide(outcome, attempt) {
            Disposition::Ended => "ended".to_owned(),
            Disposition::Retry(wait) => format!("retry after {}", waited(wait)),
            Disposition::Hold(wait) => format!("hold for {}", waited(wait)),
            Disposition::Unsettled => "unsettled".to_owned(),
            Disposition::Dead(reason) => format!("dead {}: {}", reason.as_str(), outcome.message()),
        }
    }

    #[track_caller]
    fn check(outcome: &Outcome, number: u32, expected: &str) {
        assert_eq!(words(outcome, Attempt { number, hops: number - 1, held_for: Duration::ZERO }), expected);
    }

    #[test]
    fn what_ended_well_is_never_run_again() {
        check(&Outcome::Done, 1, "ended");
        check(&Outcome::Skipped("not mine".into()), 3, "ended");
    }

    #[test]
    fn what_may_pass_is_tried_as_often_as_is_allowed_and_waits_longer_each_time() {
        check(&Outcome::Failed("503".into()), 1, "retry after about 10s");
        check(&Outcome::Failed("503".into()), 2, "retry after about 30s");
        check(&Outcome::Failed("503".into()), 3, "dead attempts_exhausted: 503");
        check(&Outcome::Panicked("boom".into()), 2, "retry after about 30s");
        check(&Outcome::Panicked("boom".into()), 3, "dead panicked: boom");
        check(&Outcome::TimedOut("15 min".into()), 3, "dead timed_out: 15 min");
    }

    #[test]
    fn who_is_asked_to_wait_waits_without_losing_an_attempt_but_not_for_ever() {
        let asked = Outcome::Held { error: "429".into(), after: Some(Duration::from_secs(90)) };
        let away = Outcome::Held { error: "CKAN is away".into(), after: None };
        check(&asked, 1, "hold for at least 90s");
        check(&asked, 3, "hold for at least 2m");
        check(&away, 1, "hold for about 10s");
        check(&away, 9, "hold for about 10m");
        let held = |number| Attempt { number, hops: 200, held_for: Duration::from_secs(DAY) };
        assert_eq!(words(&asked, held(1)), "retry after about 10s");
        assert_eq!(words(&away, held(3)), "dead attempts_exhausted: CKAN is away");
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        check(&Outcome::Impossible("licence".into()), 1, "dead permanent: licence");
        check(&Outcome::Crashed(3), 1, "dead crashed: the process died 3 times while it was running");
    }

    #[test]
    fn what_was_interrupted_comes_back() {
        check(&Outcome::Interrupted, 1, "unsettled");
        check(&Outcome::Interrupted, 3, "unsettled");
    }

    #[test]
    fn a_wait_goes_to_the_shortest_rung_that_is_long_enough() {
        let ladder = Ladder::new([30, 10, 10, 600].map(Duration::from_secs)).unwrap();
        assert_eq!(ladder.rungs().len(), 3);
        for (delay, rung) in [(1, 10), (10, 10), (11, 30), (500, 600), (7000, 600)] {
            assert_eq!(ladder.rung(Duration::from_secs(delay)), Duration::from_secs(rung), "{delay}");
        }
        assert_eq!(Ladder::new([Duration::ZERO]), None);
    }

    #[test]
    fn a_rung_is_named_by_its_length() {
        let names: Vec<_> = Ladder::default().rungs().iter().map(|rung| rung_name(*rung)).collect();
        assert_eq!(names, ["10s", "30s", "2m", "10m", "30m", "2h", "6h", "12h"]);
        assert_eq!(rung_name(Duration::from_millis(250)), "250ms");
        assert_eq!(rung_name(Duration::from_secs(90)), "90s");
    }
}
