//! Gathers notifications about one dataset for a moment, so that a burst of them can become one run on the newest.

use std::time::{Duration, Instant};

use super::{DispatchError, Dispatcher};
use crate::task::Job;

/// The lanes that are still gathered for, in the order in which their time is over.
#[derive(Default)]
pub(super) struct Gathering {
    lanes: std::collections::VecDeque<(Instant, u64, Vec<Job>)>,
}

impl Gathering {
    /// When the first is to start; `None` if none is gathered for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.lanes.front().map(|(due, ..)| *due)
    }

    /// Takes all that is gathered; their lanes are to be left.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, Vec<Job>)> {
        self.lanes.drain(..).map(|(_, lane, jobs)| (lane, jobs))
    }
}

impl Dispatcher {
    /// Starts groups, or gathers more for those that a worker wants gathered.
    pub(super) fn start_or_gather(&mut self, groups: Vec<(Option<u64>, Vec<Job>)>) -> Result<(), DispatchError> {
        let window = self.settings.coalesce;
        if window == Duration::ZERO {
            return self.start(groups);
        }
        let due = Instant::now() + window;
        let mut at_once = Vec::new();
        for (lane, jobs) in groups {
            match lane {
                // What comes again for one worker has waited long enough.
                Some(lane) if jobs.iter().any(|job| job.past.is_none() && self.is_gathered_for(job)) => {
                    self.gathering.lanes.push_back((due, lane, jobs));
                }
                _ => at_once.push((lane, jobs)),
            }
        }
        self.start(at_once)
    }

    /// Starts what has been gathered for long enough, with all that has come behind it.
    pub(super) fn start_gathered(&mut self) -> Result<(), DispatchError> {
        let now = Instant::now();
        let mut groups = Vec::new();
        while self.gathering.due().is_some_and(|due| due <= now)
            && let Some((_, lane, mut jobs)) = self.gathering.lanes.pop_front()
        {
            jobs.extend(self.lanes.catch_up(lane));
            groups.push((Some(lane), jobs));
        }
        if groups.is_empty() { Ok(()) } else { self.start(groups) }
    }

    fn is_gathered_for(&self, job: &Job) -> bool {
        self.members.iter().any(|member| member.coalesces && member.declines(&job.notification, None).is_none())
    }
}
