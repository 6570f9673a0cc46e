//! How long to wait between two tries to get a session.

use std::time::{Duration, Instant};

/// The bound of the first wait.
const FIRST: Duration = Duration::from_millis(500);

/// The highest bound while an outage is young. Most are short: a broker that restarts, a link that comes back. Then
/// work is to go on within two seconds, and a try a second harms nobody.
const BRISK: Duration = Duration::from_millis(1500);

/// How long an outage is young.
const YOUNG: Duration = Duration::from_secs(10 * 60);

/// The highest bound of all.
const SLOW: Duration = Duration::from_secs(30);

/// How long a session must have lasted to count as a good one. One that is lost again at once does not.
const STEADY: Duration = Duration::from_secs(10);

/// The waits of one outage: full jitter below a bound that doubles.
#[derive(Debug, Default)]
pub struct BackOff {
    /// Since when there has been no good session, and the bound of the next wait.
    outage: Option<(Instant, Duration)>,
}

impl BackOff {
    /// Notes that a session has ended that lasted so long.
    pub fn session_lasted(&mut self, lasted: Duration) {
        if lasted >= STEADY {
            self.outage = None;
        }
    }

    /// How long to wait before the next try; `jitter` is between 0 and 1.
    pub fn wait(&mut self, now: Instant, jitter: f64) -> Duration {
        let (since, bound) = *self.outage.get_or_insert((now, FIRST));
        let highest = if now.duration_since(since) < YOUNG { BRISK } else { SLOW };
        self.outage = Some((since, (bound * 2).min(highest)));
        bound.mul_f64(jitter)
    }

    /// How long to wait after a refusal, which lasts until somebody changes something.
    pub fn wait_for_people(jitter: f64) -> Duration {
        SLOW.mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest waits, in milliseconds, of an outage in which each try takes 100 ms.
    fn waits(back_off: &mut BackOff, now: &mut Instant, count: usize) -> Vec<u128> {
        let waits = (0..count).map(|_| {
            let wait = back_off.wait(*now, 1.0);
            *now += wait + Duration::from_millis(100);
            wait.as_millis()
        });
        waits.collect()
    }

    #[test]
    fn in_a_young_outage_no_wait_is_longer_than_a_second_and_a_half() {
        let (mut back_off, mut now) = (BackOff::default(), Instant::now());
        assert_eq!(waits(&mut back_off, &mut now, 5), [500, 1000, 1500, 1500, 1500]);
    }

    #[test]
    fn in_an_old_one_the_waits_become_long() {
        let (mut back_off, mut now) = (BackOff::default(), Instant::now());
        let start = now;
        while now.duration_since(start) < YOUNG {
            assert!(waits(&mut back_off, &mut now, 1)[0] <= 1500);
        }
        assert_eq!(waits(&mut back_off, &mut now, 7), [1500, 3000, 6000, 12_000, 24_000, 30_000, 30_000]);
    }

    #[test]
    fn a_session_that_is_lost_again_at_once_does_not_end_the_outage() {
        let (mut back_off, mut now) = (BackOff::default(), Instant::now());
        waits(&mut back_off, &mut now, 3);
        back_off.session_lasted(Duration::from_millis(20));
        assert_eq!(waits(&mut back_off, &mut now, 1), [1500]);
        back_off.session_lasted(STEADY);
        assert_eq!(waits(&mut back_off, &mut now, 1), [500]);
    }

    #[test]
    fn who_is_refused_waits_longer_and_not_all_wait_the_same() {
        assert_eq!(BackOff::wait_for_people(1.0), SLOW);
        assert_eq!(BackOff::default().wait(Instant::now(), 0.5), FIRST / 2);
    }
}
