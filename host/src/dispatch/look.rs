//! What is looked after from time to time: runs that outlived their deadline, work that waits, reasons to hold.

use std::sync::Arc;
use std::time::Instant;

use super::{DispatchError, Dispatcher};
use crate::delivery::{DeadReason, Fate};
use crate::pool::Overdue;
use crate::process::{self, Ended};
use crate::retry::{Disposition, Outcome};
use crate::task::{Event, Task};

impl Dispatcher {
    /// Whether there is anything that could need it; an idle host sleeps.
    pub(super) fn has_something_to_look_after(&self) -> bool {
        !self.in_hand.is_empty() || self.is_held()
    }

    /// Gives up runs that outlived their deadline, and brings threads to what waits too long.
    pub(super) fn look_after(&mut self) -> Result<(), DispatchError> {
        self.look_at_holds();
        let mut given_up = Ok(());
        for Overdue { task, turn } in self.pool.take_overdue(Instant::now()) {
            // All of them, whatever comes of the first: nobody else ends what was taken away.
            given_up = given_up.and(self.give_up_run(&task, turn));
        }
        given_up?;
        if self.pool.stuck() >= self.settings.concurrency {
            return Err(DispatchError::AllStuck(self.pool.stuck()));
        }
        if self.pool.has_lost_a_thread() {
            return Err(DispatchError::ThreadLost);
        }
        self.pool.look_after().map_err(DispatchError::Threads)
    }

    /// Ends a run that a stuck thread will not end; another thread goes on behind it.
    fn give_up_run(&mut self, task: &Arc<Task>, turn: usize) -> Result<(), DispatchError> {
        let (position, index) = (turn / self.members.len(), turn % self.members.len());
        let (job, member) = (&task.jobs[position], &self.members[index]);
        let error = format!(
            "outlived its deadline of {:?} by more than {:?}; its thread is lost until it comes back",
            member.deadline, self.settings.grace
        );
        let ended = Ended {
            member,
            outcome: Outcome::TimedOut(error),
            attempts: job.attempts() + 1,
            duration: member.deadline + self.settings.grace,
            disposition: Disposition::Dead(DeadReason::TimedOut),
        };
        process::report(job, &ended, "dead", &self.services);
        let error = ended.outcome.message().into_owned();
        let letter = job.letter(member.worker.name(), Fate::Dead(DeadReason::TimedOut), error, ended.attempts);
        // Other threads wait for their turn with it, for ever.
        let is_blocked = member.serial.is_some().then(|| DispatchError::SerialStuck(member.worker.name().to_owned()));
        let outcomes: Vec<_> = process::outcomes(job, &ended, &self.members).collect();
        let (ticket, key) = (job.ticket, member.key);
        self.keep(ticket, key, letter);
        for letter in outcomes {
            self.tell_outcome(ticket, key, letter);
        }
        if index + 1 == self.members.len() {
            let is_last = position + 1 == task.jobs.len();
            self.board.events.push(Event::Over(ticket, task.lane.filter(|_| is_last)));
            if is_last {
                return is_blocked.map_or(Ok(()), Err);
            }
        }
        let rest = Arc::new(Task::new(task.lane, Arc::clone(&task.jobs), turn + 1));
        self.pool.submit([rest]).map_err(DispatchError::Threads)?;
        is_blocked.map_or(Ok(()), Err)
    }
}
