//! A portal that cannot be asked just now: how long to leave it alone, said once when it begins and once when it is over.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::services::Failure;
use crate::source::SourceError;

/// The bound of the first wait.
const FIRST: Duration = Duration::from_secs(1);

/// The highest bound.
const LONGEST: Duration = Duration::from_secs(60);

/// The longest that a portal may ask to be left alone.
const ASKED_MAX: Duration = Duration::from_secs(60 * 60);

/// Why a step of a feed was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The portal did not answer as it should.
    #[error("{}", .0.message)]
    Portal(Failure),
    /// What was found could not be written down, or what is known not be read.
    #[error(transparent)]
    File(#[from] SourceError),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Portal(failure)
    }
}

/// The waits of one outage: full jitter below a bound that doubles.
#[derive(Debug, Default)]
pub struct Outage {
    /// Since when nothing has worked, the bound of the next wait, and the kind of trouble that was told last.
    begun: Option<(Instant, Duration, &'static str)>,
    /// The last trouble; empty if there is none.
    trouble: String,
}

impl Outage {
    /// Whether the last step was not taken.
    pub fn is_on(&self) -> bool {
        self.begun.is_some()
    }

    /// Why the last step was not taken; `None` if it was.
    pub fn trouble(&self) -> Option<&str> {
        self.is_on().then_some(self.trouble.as_str())
    }

    /// Notes that a step was not taken; answers how long to wait before it is tried again. `jitter` is between 0 and 1.
    pub fn failed(&mut self, portal: &str, trouble: &Trouble, jitter: f64) -> Duration {
        let (kind, asked) = match trouble {
            Trouble::Portal(failure) => (failure.code, failure.retry_after.unwrap_or_default()),
            Trouble::File(_) => ("file", Duration::ZERO),
        };
        let (since, bound, told) = self.begun.unwrap_or((Instant::now(), FIRST, ""));
        if kind == told {
            tracing::debug!("{portal} still cannot be asked: {trouble}");
        } else {
            tell(portal, trouble);
        }
        self.trouble = trouble.to_string();
        self.begun = Some((since, (bound * 2).min(LONGEST), kind));
        bound.mul_f64(jitter).max(asked.min(ASKED_MAX))
    }

    /// Notes that a step was taken.
    pub fn worked(&mut self, portal: &str) {
        if let Some((since, ..)) = self.begun.take() {
            tracing::info!("{portal} can be asked again, after {} s", since.elapsed().as_secs());
        }
    }
}

fn tell(portal: &str, trouble: &Trouble) {
    let passes = match trouble {
        Trouble::Portal(failure) => failure.status != ckan_worker_abi::Status::PERMANENT,
        Trouble::File(_) => false,
    };
    let rest: &dyn Display = &"nothing is skipped, it is tried again until it works";
    if passes {
        tracing::warn!("{portal} cannot be asked what has changed: {trouble}; {rest}");
    } else {
        tracing::error!("{portal} cannot be asked what has changed: {trouble}; {rest}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_it_has_worked() {
        let mut outage = Outage::default();
        let away = Trouble::from(Failure::retryable("ckan.unavailable", "away"));
        let waits: Vec<u64> = (0..8).map(|_| outage.failed("portal", &away, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!((outage.is_on(), outage.trouble()), (true, Some("away")));
        outage.worked("portal");
        assert_eq!((outage.is_on(), outage.trouble()), (false, None));
        assert_eq!(outage.failed("portal", &away, 0.5), FIRST / 2);
    }

    #[test]
    fn a_portal_that_asks_to_be_left_alone_is_left_alone_for_that_long_but_not_for_ever() {
        let asks = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            Trouble::from(Failure { retry_after, ..Failure::retryable("ckan.rate-limited", "busy") })
        };
        assert_eq!(Outage::default().failed("portal", &asks(90), 1.0).as_secs(), 90);
        assert_eq!(Outage::default().failed("portal", &asks(1_000_000), 1.0), ASKED_MAX);
    }
}
