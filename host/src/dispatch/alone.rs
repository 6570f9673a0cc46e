//! What the process died in before runs alone: if it dies again, it is known why, and nothing else is hurt.

use super::{DispatchError, Dispatcher};
use crate::task::Job;

/// So many deaths of the process in one run are enough.
pub(super) const CRASHES_MAX: u32 = 3;

impl Dispatcher {
    /// Whether something waits to run alone or does.
    pub(super) fn is_anything_alone(&self) -> bool {
        !self.alone.is_empty() || self.alone_in_hand.is_some()
    }

    /// Whether a notification has to wait for one of its lane that runs alone.
    pub(super) fn waits_for_suspect(&self, lane: Option<u64>) -> bool {
        lane.is_some() && self.alone.iter().any(|(other, _)| *other == lane)
    }

    /// Starts the next that has to run alone, once nothing else runs.
    pub(super) fn start_alone(&mut self) -> Result<(), DispatchError> {
        if self.running > 0 || self.is_held() {
            return Ok(());
        }
        let Some((lane, job)) = self.alone.pop_front() else { return Ok(()) };
        tracing::warn!(delivery = %job.delivery, "it runs alone: the process died in it before, or in one of its dataset that it waits behind");
        self.alone_in_hand = Some(job.ticket);
        self.running += 1;
        let groups: Vec<(Option<u64>, Vec<Job>)> = self.lanes.enter([(lane, job)]);
        self.start(groups)
    }
}
