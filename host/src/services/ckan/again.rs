//! Whether a call is made again, and how long to wait before: a plain decision.

use std::time::Duration;

use super::kind::Kind;
use super::{RATE_LIMITED, SEARCH, SERVER, UNAVAILABLE};
use crate::services::Failure;

/// How often one call is sent at most.
const TRIES_MAX: u32 = 3;
/// The longest first wait; it doubles.
const FIRST_WAIT_MAX: Duration = Duration::from_millis(500);
/// No call is sent again this long after it was first sent; what lasts longer is for the queue to wait for.
const LASTS_MAX: Duration = Duration::from_secs(10);
/// A longer wait that the portal asks for is handed up.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// How long to wait before a call is made again; `None` if its failure is handed up.
///
/// `tries` is how often it was sent, `lasted` how long ago it was sent first, `jitter` a number between 0 and 1: a
/// portal that comes back is not to find all of them at its door at once.
pub(super) fn wait(kind: Kind, failure: &Failure, tries: u32, lasted: Duration, jitter: f64) -> Option<Duration> {
    let may_pass = match failure.code {
        // The portal has not even looked at it.
        RATE_LIMITED => true,
        UNAVAILABLE | SERVER | SEARCH => kind != Kind::Once,
        _ => false,
    };
    let asked = failure.retry_after.unwrap_or_default();
    if !may_pass || tries >= TRIES_MAX || asked > RETRY_AFTER_MAX {
        return None;
    }
    let wait = asked.max((FIRST_WAIT_MAX * 2_u32.pow(tries.saturating_sub(1))).mul_f64(jitter.clamp(0.0, 1.0)));
    (lasted + wait <= LASTS_MAX).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: &'static str) -> Failure {
        Failure::retryable(code, "…")
    }

    #[test]
    fn only_what_may_pass_and_does_no_harm_is_done_again() {
        let check = |kind, code, expected: bool| {
            let wait = wait(kind, &failed(code), 1, Duration::ZERO, 0.5);
            assert_eq!(wait.is_some(), expected, "{kind:?} {code}");
        };
        for code in [UNAVAILABLE, SERVER, SEARCH] {
            check(Kind::Read, code, true);
            check(Kind::Repeatable, code, true);
            check(Kind::Once, code, false);
        }
        check(Kind::Once, RATE_LIMITED, true);
        for code in ["ckan.not-found", "ckan.lost-race", "ckan.validation", "ckan.not-authorized", "ckan.config"] {
            check(Kind::Read, code, false);
        }
    }

    #[test]
    fn waits_double_and_end() {
        let check = |tries, lasted, jitter, expected: Option<u64>| {
            let wait = wait(Kind::Read, &failed(UNAVAILABLE), tries, Duration::from_millis(lasted), jitter);
            assert_eq!(wait, expected.map(Duration::from_millis), "{tries} {lasted} {jitter}");
        };
        check(1, 0, 1.0, Some(500));
        check(1, 0, 0.0, Some(0));
        check(2, 0, 1.0, Some(1000));
        check(2, 0, 0.25, Some(250));
        check(3, 0, 0.0, None);
        check(1, 9_500, 1.0, Some(500));
        check(1, 9_501, 1.0, None);
        check(1, 30_000, 0.0, None);
    }

    #[test]
    fn a_short_wait_that_the_portal_asks_for_is_waited_for() {
        let check = |asked, lasted, expected: Option<u64>| {
            let failure = Failure { retry_after: Some(Duration::from_secs(asked)), ..failed(RATE_LIMITED) };
            let wait = wait(Kind::Once, &failure, 1, Duration::from_secs(lasted), 0.5);
            assert_eq!(wait, expected.map(Duration::from_millis), "{asked} {lasted}");
        };
        check(0, 0, Some(250));
        check(2, 0, Some(2000));
        check(5, 0, Some(5000));
        check(6, 0, None);
        check(5, 6, None);
    }
}
