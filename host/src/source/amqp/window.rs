//! Which deliveries of a session are settled, so that as many as possible are acknowledged in one go.

use std::collections::VecDeque;
use std::ops::Range;

/// How many tags in a row may be missing. One consumer that was ended takes at most its prefetch with it, which is less,
/// but several may in a row. A tag that got mixed up on its way would be a gap that no memory can hold.
const GAP_MAX: u64 = 1 << 16;

/// The deliveries of a session, by tag, from the first that is not yet settled.
#[derive(Debug)]
pub struct Window {
    /// The tag of the front of `marks`.
    first: u64,
    marks: VecDeque<Mark>,
    /// How many marks are `Open`.
    open: usize,
    /// How many marks are `Done`: settled, but behind one that is not.
    done: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Handed out.
    Open,
    /// To be acknowledged.
    Done,
    /// The broker has been told.
    Told,
}

impl Window {
    /// The window of a fresh session, whose tags begin with 1.
    pub fn new() -> Self {
        Self { first: 1, marks: VecDeque::new(), open: 0, done: 0 }
    }

    /// Notes that a delivery was handed out; answers the tags before it that never came, which are to be given back.
    /// `None` for a tag that cannot come now: nothing is noted, and nothing this session says can be relied on.
    ///
    /// Tags come without gaps, but for what is delivered to a consumer that has just been ended.
    pub fn open(&mut self, tag: u64) -> Option<Range<u64>> {
        let expected = self.first + self.marks.len() as u64;
        if tag.checked_sub(expected)? > GAP_MAX {
            return None;
        }
        self.marks.extend((expected..tag).map(|_| Mark::Told));
        self.marks.push_back(Mark::Open);
        self.open += 1;
        Some(expected..tag)
    }

    /// Notes that a delivery is to be acknowledged.
    pub fn done(&mut self, tag: u64) {
        if let Some(mark) = self.mark(tag)
            && *mark == Mark::Open
        {
            *mark = Mark::Done;
            self.open -= 1;
            self.done += 1;
        }
    }

    /// Notes that the broker has been told about a delivery otherwise: it was given back.
    pub fn told(&mut self, tag: u64) {
        if let Some(mark) = self.mark(tag)
            && *mark == Mark::Open
        {
            *mark = Mark::Told;
            self.open -= 1;
        }
    }

    /// Takes the tag up to which everything can be acknowledged at once; `None` if there is nothing new.
    pub fn take_prefix(&mut self) -> Option<u64> {
        let mut highest = None;
        while let Some(mark) = self.marks.front() {
            match mark {
                Mark::Open => break,
                Mark::Done => {
                    highest = Some(self.first);
                    self.done -= 1;
                }
                Mark::Told => {}
            }
            self.marks.pop_front();
            self.first += 1;
        }
        highest
    }

    /// How many deliveries are handed out and not settled.
    pub fn open_count(&self) -> u64 {
        self.open as u64
    }

    /// How many deliveries the broker holds for us: not settled, or it has not been told.
    pub fn held(&self) -> usize {
        self.open + self.done
    }

    /// How many settled deliveries stand behind one that is not.
    pub fn stragglers(&self) -> usize {
        self.done
    }

    /// Takes the tags of the settled deliveries that stand behind one that is not; each must be acknowledged alone.
    pub fn take_stragglers(&mut self) -> Vec<u64> {
        let mut tags = Vec::with_capacity(self.done);
        for (tag, mark) in (self.first..).zip(&mut self.marks) {
            if *mark == Mark::Done {
                *mark = Mark::Told;
                tags.push(tag);
            }
        }
        self.done = 0;
        tags
    }

    fn mark(&mut self, tag: u64) -> Option<&mut Mark> {
        let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        self.marks.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(size: u64) -> Window {
        let mut window = Window::new();
        for tag in 1..=size {
            assert!(window.open(tag).is_some());
        }
        window
    }

    #[test]
    fn what_ended_in_order_is_acknowledged_in_one_go() {
        let mut window = window(5);
        for tag in [2, 1, 3] {
            window.done(tag);
        }
        assert_eq!(window.take_prefix(), Some(3));
        assert_eq!(window.take_prefix(), None);
        assert_eq!(window.stragglers(), 0);
        assert!(window.open(6).is_some());
        for tag in [4, 5, 6] {
            window.done(tag);
        }
        assert_eq!(window.take_prefix(), Some(6));
    }

    #[test]
    fn what_stands_behind_a_slow_one_is_acknowledged_alone_and_only_once() {
        let mut window = window(4);
        for tag in [2, 4] {
            window.done(tag);
        }
        assert_eq!(window.take_prefix(), None);
        assert_eq!(window.stragglers(), 2);
        assert_eq!(window.take_stragglers(), [2, 4]);
        assert_eq!(window.take_stragglers(), [] as [u64; 0]);
        window.done(1);
        assert_eq!(window.take_prefix(), Some(1));
        window.done(3);
        assert_eq!(window.take_prefix(), Some(3));
        assert_eq!(window.take_prefix(), None);
    }

    #[test]
    fn what_was_given_back_is_not_acknowledged() {
        let mut window = window(3);
        window.told(1);
        window.done(2);
        window.told(3);
        assert_eq!(window.take_prefix(), Some(2));
        assert!(window.open(4).is_some());
        window.told(4);
        assert_eq!(window.take_prefix(), None);
    }

    #[test]
    fn tags_that_never_came_are_answered_and_what_came_is_acknowledged_all_the_same() {
        let mut window = window(1);
        assert_eq!(window.open(4), Some(2..4));
        assert_eq!(window.open(5), Some(5..5));
        assert_eq!((window.open_count(), window.held()), (3, 3));
        for tag in [1, 4, 5] {
            window.done(tag);
        }
        assert_eq!((window.open_count(), window.held()), (0, 3));
        assert_eq!(window.take_prefix(), Some(5));
        assert_eq!(window.held(), 0);
    }

    #[test]
    fn a_delivery_is_settled_at_most_once() {
        let mut window = window(2);
        window.done(1);
        assert_eq!(window.take_prefix(), Some(1));
        window.done(1);
        window.done(99);
        assert_eq!(window.take_prefix(), None);
    }

    #[test]
    fn a_tag_that_cannot_come_is_refused_and_takes_no_memory() {
        let mut window = window(3);
        window.done(1);
        assert_eq!(window.take_prefix(), Some(1));
        for tag in [0, 1, 3, 4 + GAP_MAX + 1, 1 << 40, u64::MAX] {
            assert_eq!(window.open(tag), None, "{tag}");
        }
        assert_eq!((window.open_count(), window.marks.len()), (2, 2));
        assert_eq!(window.open(4 + GAP_MAX), Some(4..4 + GAP_MAX));
    }
}
