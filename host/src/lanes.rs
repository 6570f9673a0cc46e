//! Keeps notifications about one dataset in order: while one is worked on, later ones wait.

use std::collections::HashMap;

/// What waits behind the work in hand, by lane. One owner, the dispatcher; no lock.
#[derive(Debug)]
pub struct Lanes<T> {
    /// An entry for each lane in which something is being worked on.
    busy: HashMap<u64, Vec<T>>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { busy: HashMap::new() }
    }
}

impl<T> Lanes<T> {
    /// Takes a batch, each with its lane; answers what can be started now, each group to be worked on in order.
    ///
    /// A lane is taken by its group until [`leave`](Self::leave) is called for it.
    pub fn enter(&mut self, batch: impl IntoIterator<Item = (Option<u64>, T)>) -> Vec<(Option<u64>, Vec<T>)> {
        let mut groups = Vec::new();
        let mut opened = Vec::new();
        for (lane, item) in batch {
            match lane {
                None => groups.push((None, vec![item])),
                Some(lane) => {
                    let waiting = self.busy.entry(lane).or_insert_with(|| {
                        opened.push(lane);
                        Vec::with_capacity(1)
                    });
                    waiting.push(item);
                }
            }
        }
        // Only now is it known how many of the batch each newly opened lane has.
        groups.extend(opened.into_iter().filter_map(|lane| Some((Some(lane), self.take_waiting(lane)?))));
        groups
    }

    /// Gives a lane up after its group has been worked on; answers the group that waited behind it.
    pub fn leave(&mut self, lane: u64) -> Option<Vec<T>> {
        match self.take_waiting(lane) {
            Some(waiting) if waiting.is_empty() => {
                self.busy.remove(&lane);
                None
            }
            other => other,
        }
    }

    /// Takes what waits in a lane that stays taken.
    pub fn catch_up(&mut self, lane: u64) -> Vec<T> {
        self.take_waiting(lane).unwrap_or_default()
    }

    /// Takes out everything that waits; the lanes stay taken by what is being worked on.
    pub fn drain(&mut self) -> Vec<T> {
        self.busy.values_mut().flat_map(std::mem::take).collect()
    }

    fn take_waiting(&mut self, lane: u64) -> Option<Vec<T>> {
        self.busy.get_mut(&lane).map(std::mem::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lane_goes_in_order_and_others_beside_it() {
        let mut lanes = Lanes::default();
        let started = lanes.enter([(Some(1), "a1"), (Some(2), "b1"), (Some(1), "a2"), (None, "x")]);
        assert_eq!(started, [(None, vec!["x"]), (Some(1), vec!["a1", "a2"]), (Some(2), vec!["b1"])]);
        assert_eq!(lanes.enter([(Some(1), "a3"), (Some(3), "c1"), (Some(1), "a4")]), [(Some(3), vec!["c1"])]);
        assert_eq!(lanes.leave(2), None);
        assert_eq!(lanes.leave(1), Some(vec!["a3", "a4"]));
        assert_eq!(lanes.enter([(Some(1), "a5")]), []);
        assert_eq!(lanes.leave(1), Some(vec!["a5"]));
        assert_eq!(lanes.leave(1), None);
        assert_eq!(lanes.enter([(Some(1), "a6")]), [(Some(1), vec!["a6"])]);
    }

    #[test]
    fn what_waits_can_be_given_back_while_the_work_in_hand_goes_on() {
        let mut lanes = Lanes::default();
        lanes.enter([(Some(1), "a1")]);
        lanes.enter([(Some(1), "a2")]);
        assert_eq!(lanes.drain(), ["a2"]);
        assert_eq!(lanes.leave(1), None);
    }
}
