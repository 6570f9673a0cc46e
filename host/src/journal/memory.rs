//! The ended runs in memory, so that no message waits for the disk to be looked up.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{Ended, RunKey};

/// The ended runs that were noted last, between half of and all that may be kept.
pub struct Memory {
    young: Runs,
    old: Runs,
    half: usize,
}

type Runs = HashMap<RunKey, End, BuildHasherDefault<AlreadyHashed>>;

/// How a run ended, as far as it matters later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The hops with which it did.
    pub hops: u32,
    /// When, in seconds since 1970.
    pub at: u32,
    /// In which session, if its delivery has no name; 0 otherwise.
    pub session: u32,
}

impl Memory {
    /// An empty one for so many runs.
    pub fn new(keep: usize) -> Self {
        Self { young: Runs::default(), old: Runs::default(), half: (keep / 2).max(1) }
    }

    /// Notes the end of a run; of several, the one with the most hops holds.
    pub fn note(&mut self, ended: Ended) {
        let before = self.end(ended.run).map_or(0, |end| end.hops);
        self.young.insert(ended.run, End { hops: before.max(ended.hops), at: ended.at, session: ended.session });
        if self.young.len() >= self.half {
            // The half that was not added to for longest is forgotten at once, instead of one run after another.
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
    }

    /// Forgets the ends of deliveries without a name: all that was settled is known to have been, so an equal body is
    /// another message.
    pub fn forget_unnamed(&mut self) {
        self.young.retain(|_, end| end.session == 0);
        self.old.retain(|_, end| end.session == 0);
    }

    /// How a run ended; `None` if it is not known to have ended.
    pub fn end(&self, run: RunKey) -> Option<End> {
        self.young.get(&run).or_else(|| self.old.get(&run)).copied()
    }
}

/// Passes on what is a hash already.
#[derive(Default)]
pub struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(run: u64, hops: u32) -> Ended {
        Ended { run: RunKey(run), hops, at: 1, session: 0 }
    }

    #[test]
    fn the_latest_half_is_always_known_and_never_more_than_all() {
        let mut memory = Memory::new(100);
        for run in 1..=1000 {
            memory.note(ended(run, 1));
            assert!((run.saturating_sub(49).max(1)..=run).all(|run| memory.end(RunKey(run)).is_some()), "{run}");
            assert!(memory.young.len() + memory.old.len() <= 100);
        }
        assert!(memory.end(RunKey(1)).is_none());
    }

    #[test]
    fn an_earlier_hop_does_not_undo_a_later_one() {
        let mut memory = Memory::new(10);
        memory.note(ended(7, 3));
        memory.note(ended(7, 1));
        assert_eq!(memory.end(RunKey(7)), Some(End { hops: 3, at: 1, session: 0 }));
    }
}
