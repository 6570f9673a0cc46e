//! How many deliveries to hold at once, so that their bodies take about so many bytes.

/// What a body is taken to be as long as none was seen, in bytes.
const BODY_BYTES_ASSUMED: u64 = 64 * 1024;

/// Of so many bodies the last is one part of the average.
const WEIGHT: u64 = 16;

/// Learns how long bodies are, and says how many may be held.
///
/// What is held follows the bodies that came, so it is near the bound and not below it: at most `count_max` times the
/// longest body may come before the average knows. At the start a body is taken to be 64 KiB.
#[derive(Debug)]
pub struct Gauge {
    count_max: u16,
    bytes: u64,
    /// The average, in bytes.
    body_bytes: u64,
}

impl Gauge {
    /// One for at most `count_max` deliveries with about `bytes` of bodies.
    pub fn new(count_max: u16, bytes: usize) -> Self {
        Self { count_max: count_max.max(1), bytes: bytes as u64, body_bytes: BODY_BYTES_ASSUMED }
    }

    /// Notes a body that came.
    pub fn note(&mut self, body_bytes: usize) {
        self.body_bytes = (self.body_bytes * (WEIGHT - 1) + body_bytes as u64) / WEIGHT;
    }

    /// How many deliveries to hold; at least one.
    pub fn count(&self) -> u16 {
        let count = self.bytes / self.body_bytes.max(1);
        u16::try_from(count).unwrap_or(u16::MAX).clamp(1, self.count_max)
    }

    /// Whether holding `count` is so far off that it is worth to begin consuming anew.
    pub fn is_off(&self, count: u16) -> bool {
        let (is, should) = (u32::from(count), u32::from(self.count()));
        is > 2 * should || should > 2 * is
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bodies_are_held_as_many_as_are_allowed() {
        let mut gauge = Gauge::new(500, 64 << 20);
        assert_eq!(gauge.count(), 500);
        for _ in 0..1000 {
            gauge.note(400);
        }
        assert_eq!(gauge.count(), 500);
        assert!(!gauge.is_off(500));
    }

    #[test]
    fn large_bodies_are_held_in_smaller_numbers_and_at_least_one() {
        let mut gauge = Gauge::new(500, 64 << 20);
        for _ in 0..100 {
            gauge.note(4 << 20);
        }
        assert!((15..=17).contains(&gauge.count()), "{}", gauge.count());
        assert!(gauge.is_off(500) && !gauge.is_off(16) && gauge.is_off(7));
        for _ in 0..100 {
            gauge.note(1 << 30);
        }
        assert_eq!(gauge.count(), 1);
        for _ in 0..400 {
            gauge.note(0);
        }
        assert_eq!(gauge.count(), 500);
    }

    #[test]
    fn one_large_body_among_small_ones_changes_nothing() {
        let mut gauge = Gauge::new(64, 64 << 20);
        for _ in 0..100 {
            gauge.note(1000);
        }
        gauge.note(12 << 20);
        assert!(!gauge.is_off(64), "{}", gauge.count());
    }

    #[test]
    fn a_small_bound_is_minded_from_the_start() {
        assert_eq!(Gauge::new(500, 1 << 20).count(), 16);
        assert_eq!(Gauge::new(0, 0).count(), 1);
    }
}
