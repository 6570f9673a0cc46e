//! Notices that CKAN is away, so that the work waits for it instead of failing against it.

use std::sync::atomic::{AtomicU32, Ordering};

/// So many calls in a row that do not reach CKAN mean that it is away.
const FAILURES_MAX: u32 = 5;

/// Whether CKAN is away. Shared by all who call it.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: AtomicU32,
}

impl Breaker {
    /// Whether CKAN is away: the last calls have not reached it.
    pub fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_MAX
    }

    /// Notes that a call has not reached CKAN.
    pub(super) fn failed(&self) {
        // More than enough is not counted, so that it never wraps.
        let _ = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
            (failures < FAILURES_MAX).then_some(failures + 1)
        });
    }

    /// Notes that CKAN has answered, whatever it said.
    pub(super) fn worked(&self) {
        // Writing what is already there would only slow others down.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_open_it_and_one_answer_closes_it() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES_MAX {
            breaker.failed();
        }
        breaker.worked();
        for _ in 1..FAILURES_MAX {
            breaker.failed();
        }
        assert!(!breaker.is_open());
        breaker.failed();
        breaker.failed();
        assert!(breaker.is_open());
        breaker.worked();
        assert!(!breaker.is_open());
    }
}
