//! Notices a session that is up and receives nothing, although there is something to receive.

use std::time::{Duration, Instant};

/// How long nothing may come, while there is room, before the queue is asked whether it has something.
const QUIET_MAX: Duration = Duration::from_secs(50);

/// How long after a first answer that it has, the queue is asked again: what was just published may be on its way.
const SURE_AFTER: Duration = Duration::from_secs(5);

/// How patient the watchdog becomes at most, when new sessions do not help: somebody else may be meant to receive.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

/// Watches one source over all its sessions. Knows no clock: it is told the time.
#[derive(Debug)]
pub struct Watchdog {
    patience: Duration,
    /// Since when nothing has come although there was room.
    quiet_since: Instant,
    /// When the queue has said that it has something; it is asked once more.
    suspects_since: Option<Instant>,
}

impl Watchdog {
    /// One that begins to watch now.
    pub fn new(now: Instant) -> Self {
        Self { patience: QUIET_MAX, quiet_since: now, suspects_since: None }
    }

    /// Something has come.
    pub fn received(&mut self, now: Instant) {
        self.patience = QUIET_MAX;
        self.rests(now);
    }

    /// Nothing can come: there is no room, or nothing is asked for.
    pub fn rests(&mut self, now: Instant) {
        (self.quiet_since, self.suspects_since) = (now, None);
    }

    /// Whether the queue is to be asked now how much is ready in it.
    pub fn asks(&self, now: Instant) -> bool {
        match self.suspects_since {
            Some(since) => now.duration_since(since) >= SURE_AFTER,
            None => now.duration_since(self.quiet_since) >= self.patience,
        }
    }

    /// What the queue answered, `None` if it did not; answers since when the session is stuck, if it is.
    pub fn answered(&mut self, ready: Option<u64>, now: Instant) -> Option<Duration> {
        match (ready, self.suspects_since) {
            (Some(0), _) => self.rests(now),
            (Some(_), None) => self.suspects_since = Some(now),
            (Some(_), Some(_)) | (None, _) => {
                let quiet = now.duration_since(self.quiet_since);
                self.patience = (self.patience * 2).min(PATIENCE_MAX);
                self.rests(now);
                return Some(quiet);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `seconds` pass, a look each; the queue always answers `ready`. Answers after how many it was stuck.
    fn watch(dog: &mut Watchdog, from: Instant, seconds: u64, ready: Option<u64>) -> Option<u64> {
        (1..=seconds).find(|&second| {
            let now = from + Duration::from_secs(second);
            dog.asks(now) && dog.answered(ready, now).is_some()
        })
    }

    #[test]
    fn messages_that_are_ready_and_do_not_come_are_noticed_within_a_minute() {
        let start = Instant::now();
        assert_eq!(watch(&mut Watchdog::new(start), start, 100, Some(3)), Some(55));
    }

    #[test]
    fn a_queue_that_does_not_answer_is_as_bad() {
        let start = Instant::now();
        assert_eq!(watch(&mut Watchdog::new(start), start, 100, None), Some(50));
    }

    #[test]
    fn an_empty_queue_may_be_quiet_for_as_long_as_it_likes() {
        let start = Instant::now();
        assert_eq!(watch(&mut Watchdog::new(start), start, 100_000, Some(0)), None);
    }

    #[test]
    fn a_message_that_was_only_just_published_is_no_reason() {
        let start = Instant::now();
        let mut dog = Watchdog::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(dog.answered(Some(1), at(50)), None);
        dog.received(at(51));
        assert_eq!(watch(&mut dog, at(51), 54, Some(1)), None);
    }

    #[test]
    fn without_room_nothing_is_missed() {
        let start = Instant::now();
        let mut dog = Watchdog::new(start);
        for second in 1..1000 {
            let now = start + Duration::from_secs(second);
            dog.rests(now);
            assert!(!dog.asks(now));
        }
    }

    #[test]
    fn sessions_that_do_not_help_become_seldom_until_something_comes() {
        let start = Instant::now();
        let mut dog = Watchdog::new(start);
        let mut at = start;
        let mut stuck = Vec::new();
        for _ in 0..8 {
            let seconds = watch(&mut dog, at, 10_000, Some(1)).unwrap();
            at += Duration::from_secs(seconds);
            stuck.push(seconds);
        }
        assert_eq!(stuck, [55, 105, 205, 405, 805, 1605, 3205, 3605]);
        dog.received(at);
        assert_eq!(watch(&mut dog, at, 100, Some(1)), Some(55));
    }
}
