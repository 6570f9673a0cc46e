//! One thread's way through a lane: each notification, each worker in the order of the command line.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::desk::Desk;
use crate::execute::{Attempt, execute};
use crate::observe::{RunEnded, log_run};
use crate::retry::{Disposition, Outcome};
use crate::services::ffi::Services;
use crate::subscription::Member;
use crate::task::{Event, Job, Task};

/// Works through a task.
pub fn process(task: &Task, members: &[Member], services: &Services, desk: &Desk) {
    let last = task.jobs.len() - 1;
    loop {
        let turn = task.turn();
        let (position, member) = (turn / members.len(), turn % members.len());
        let Some(job) = task.jobs.get(position) else { return };
        if member == 0 && desk.is_stopping() {
            return give_back(task, position, desk);
        }
        let ended = run(task, job, &members[member], services, desk);
        if !task.end(turn) {
            return;
        }
        let is_interrupted = ended.disposition == Disposition::Unsettled;
        tell(job, ended, services, desk);
        if is_interrupted {
            // It comes back for all workers: those that have not begun wait until then.
            return give_back(task, position, desk);
        }
        if member + 1 == members.len() {
            desk.tell(Event::Over(job.ticket, task.lane.filter(|_| position == last)));
        }
    }
}

/// Tells that the jobs from `position` on are to come back.
fn give_back(task: &Task, position: usize, desk: &Desk) {
    for (index, job) in task.jobs.iter().enumerate().skip(position) {
        desk.tell(Event::Unsettled(job.ticket));
        desk.tell(Event::Over(job.ticket, task.lane.filter(|_| index + 1 == task.jobs.len())));
    }
}

/// How a run ended, after all its attempts.
pub struct Ended<'a> {
    /// The worker.
    pub member: &'a Member,
    /// How the last attempt ended.
    pub outcome: Outcome,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took, all attempts together.
    pub duration: Duration,
    /// What becomes of it.
    pub disposition: Disposition,
}

/// Runs one worker on one notification, as often as is allowed.
fn run<'a>(task: &Task, job: &Job, member: &'a Member, services: &Services, desk: &Desk) -> Ended<'a> {
    let started = Instant::now();
    let mut attempts = job.past.as_ref().map_or(0, |past| past.attempts);
    let (outcome, disposition) = match member.declines(&job.notification, job.past.as_ref().map(|past| &*past.worker)) {
        Some(reason) => (Outcome::Skipped(reason), Disposition::Ended),
        None => loop {
            attempts += 1;
            task.begin_attempt(attempts);
            let outcome = attempt(job, member, attempts, services, desk);
            match member.retry.decide(&outcome, attempts) {
                Disposition::Retry if desk.is_stopping() => break (Outcome::Interrupted, Disposition::Unsettled),
                Disposition::Retry => {}
                disposition => break (outcome, disposition),
            }
        },
    };
    Ended { member, outcome, attempts, duration: started.elapsed(), disposition }
}

fn attempt(job: &Job, member: &Member, number: u32, services: &Services, desk: &Desk) -> Outcome {
    // Whoever waits for its turn has not begun: its time runs from here.
    let _one_at_a_time = member.serial.as_ref().map(|serial| serial.lock().unwrap_or_else(PoisonError::into_inner));
    let deadline = Instant::now() + member.deadline;
    let delivery = job.delivery.text();
    let attempt = Attempt {
        notification: &job.notification,
        delivery: &delivery,
        number,
        redelivered: job.redelivered,
        deadline,
    };
    desk.begin(deadline);
    let outcome = execute(member, &attempt, services);
    desk.end();
    outcome
}

/// Tells how a run ended: whoever watches, the log, and the dispatcher.
fn tell(job: &Job, ended: Ended<'_>, services: &Services, desk: &Desk) {
    report(job, &ended, services);
    if let Disposition::Dead(reason) = ended.disposition {
        let letter = job.letter(ended.member.worker.name(), reason, ended.outcome.into_error(), ended.attempts);
        desk.tell(Event::Dead(job.ticket, Box::new(letter)));
    }
}

/// Tells how a run ended to whoever watches, and to the log.
pub fn report(job: &Job, ended: &Ended<'_>, services: &Services) {
    let run = RunEnded {
        worker: ended.member.worker.name(),
        delivery: &job.delivery,
        routing_key: job.notification.routing_key(),
        operation: job.notification.operation(),
        entity_id: job.notification.entity_id(),
        outcome: ended.outcome.word(),
        message: ended.outcome.message(),
        attempts: ended.attempts,
        duration: ended.duration,
    };
    log_run(&run);
    if let Some(observer) = &services.observer {
        // A panic there has been printed; the run has ended all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| observer.run_ended(&run)));
    }
}
