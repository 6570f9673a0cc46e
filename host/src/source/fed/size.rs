//! How much a portal is asked for at once.

use std::time::Duration;

use crate::services::Failure;

/// What takes so long and fails may have been too much.
const SLOW: Duration = Duration::from_secs(5);

/// The code of an answer that is longer than we take.
const TOO_LARGE: &str = "ckan.too-large";

/// How much is asked for at once: less when that was too much, more again little by little.
#[derive(Debug, PartialEq, Eq)]
pub struct Size {
    now: usize,
    min: usize,
    max: usize,
}

impl Size {
    /// As much as is allowed, for a start.
    pub fn new(min: usize, max: usize) -> Self {
        Self { now: max, min, max }
    }

    /// How much it is now.
    pub fn now(&self) -> usize {
        self.now
    }

    /// Learns from how a request ended, and how long that took.
    pub fn learn(&mut self, failure: Option<&Failure>, took: Duration) {
        self.now = match failure {
            None => (self.now + self.now / 10 + 1).min(self.max),
            Some(failure) if took >= SLOW || failure.code == TOO_LARGE => (self.now / 2).max(self.min),
            // Whoever is away would not have answered less either.
            Some(_) => self.now,
        };
    }

    /// Asks for less than so much from now on: that failed, for whatever reason.
    pub fn less_than(&mut self, much: usize) {
        self.now = (much / 2).clamp(self.min, self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_asked_for_when_it_was_too_much_and_more_again_little_by_little() {
        let mut size = Size::new(10, 1000);
        let failure = Failure::retryable("ckan.unavailable", "no answer");
        size.learn(Some(&failure), Duration::from_millis(20));
        assert_eq!(size.now, 1000, "it was away");
        size.learn(Some(&Failure::permanent(TOO_LARGE, "too much")), Duration::ZERO);
        assert_eq!(size.now, 500);
        for expected in [250, 125, 62, 31, 15, 10, 10] {
            size.learn(Some(&failure), SLOW);
            assert_eq!(size.now, expected);
        }
        let steps = (1..100).find(|_| {
            size.learn(None, Duration::ZERO);
            size.now == 1000
        });
        assert!(steps.is_some_and(|steps| (20..60).contains(&steps)), "{steps:?}");
        size.learn(None, Duration::ZERO);
        assert_eq!(size.now, 1000);
        size.less_than(25);
        assert_eq!(size.now, 12);
        size.less_than(12);
        assert_eq!(size.now, 10);
    }
}
