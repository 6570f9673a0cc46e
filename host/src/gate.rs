//! Holds a worker back that CKAN refuses: with a token that may not do what it must, every notification would fail.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many refusals in a row close the gate; fewer may be about single datasets.
const REFUSALS_MAX: u32 = 3;

/// How long the gate stays closed before one run is let through to see; twice as long each time, up to the second.
const CLOSED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// Whether a worker may run. Shared by the threads that run it.
#[derive(Debug)]
pub struct Gate {
    epoch: Instant,
    /// Refusals since the last run that was not refused.
    refusals: AtomicU32,
    /// Until when it is closed, in milliseconds since `epoch`; 0 if it is open.
    closed_until: AtomicU64,
    /// How often it was closed in a row.
    closings: AtomicU32,
    /// Whether one was let through to see, and has not come back.
    is_trying: AtomicBool,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            refusals: AtomicU32::new(0),
            closed_until: AtomicU64::new(0),
            closings: AtomicU32::new(0),
            is_trying: AtomicBool::new(false),
        }
    }
}

impl Gate {
    /// Whether a run may begin now. Once the time is over, one is let through, and the others wait for how it ends.
    pub fn lets_through(&self, now: Instant) -> bool {
        let until = self.closed_until.load(Ordering::Acquire);
        if until == 0 {
            return true;
        }
        let now = self.millis(now);
        let next = now.saturating_add(millis(CLOSED.0));
        let is_first = now >= until
            && self.closed_until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.is_trying.fetch_or(is_first, Ordering::AcqRel);
        is_first
    }

    /// How long it stays closed; `None` if somebody could pass.
    pub fn closed_for(&self, now: Instant) -> Option<Duration> {
        let left = self.closed_until.load(Ordering::Acquire).saturating_sub(self.millis(now));
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// Notes that CKAN has refused a run; answers for how long the gate is closed, if it is.
    pub fn refused(&self, now: Instant) -> Option<Duration> {
        let refusals = self.refusals.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if refusals < REFUSALS_MAX {
            return None;
        }
        let has_tried = self.is_trying.swap(false, Ordering::AcqRel);
        if let Some(left) = self.closed_for(now)
            && !has_tried
        {
            // It had begun before the gate was closed, and says nothing new.
            return Some(left);
        }
        let more = self.closings.fetch_add(1, Ordering::AcqRel);
        let closed = CLOSED.0.saturating_mul(1 << more.min(16)).min(CLOSED.1);
        self.closed_until.store(self.millis(now).saturating_add(millis(closed)), Ordering::Release);
        Some(closed)
    }

    /// Notes that CKAN has not refused a run; answers whether the gate was closed.
    pub fn worked(&self) -> bool {
        // Mostly there is nothing to forget, and reading disturbs nobody.
        if self.refusals.load(Ordering::Acquire) == 0 {
            return false;
        }
        self.refusals.store(0, Ordering::Release);
        self.closings.store(0, Ordering::Release);
        self.is_trying.store(false, Ordering::Release);
        self.closed_until.swap(0, Ordering::AcqRel) != 0
    }

    fn millis(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.epoch)).max(1)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_refusal_closes_nothing_and_three_in_a_row_do() {
        let (gate, now) = (Gate::default(), Instant::now());
        assert_eq!((gate.refused(now), gate.refused(now)), (None, None));
        assert!(!gate.worked() && gate.lets_through(now));
        assert_eq!((gate.refused(now), gate.refused(now)), (None, None));
        assert_eq!(gate.refused(now), Some(CLOSED.0));
        assert!(!gate.lets_through(now));
    }

    #[test]
    fn what_had_begun_before_it_was_closed_does_not_close_it_for_longer() {
        let (gate, now) = (Gate::default(), Instant::now());
        for _ in 0..REFUSALS_MAX + 20 {
            gate.refused(now);
        }
        assert!(gate.closed_for(now) <= Some(CLOSED.0), "{:?}", gate.closed_for(now));
    }

    #[test]
    fn after_its_time_one_is_let_through_and_how_that_ends_decides() {
        let (gate, now) = (Gate::default(), Instant::now());
        for _ in 0..REFUSALS_MAX {
            gate.refused(now);
        }
        let later = now + CLOSED.0 + Duration::from_secs(1);
        assert!(gate.lets_through(later));
        assert!(!gate.lets_through(later), "only one");
        assert_eq!(gate.refused(later), Some(CLOSED.0 * 2), "longer each time");
        let later = later + CLOSED.1;
        assert!(gate.lets_through(later));
        assert!(gate.worked());
        assert!(gate.lets_through(later) && gate.lets_through(later));
    }
}
