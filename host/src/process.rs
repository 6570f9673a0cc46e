//! One thread's way through a lane: each notification, each worker in the order of the command line.

mod outcome;

pub use outcome::letters as outcomes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use crate::admit::History;
use crate::delivery::{Fate, Letter};
use crate::desk::Desk;
use crate::execute::{self, execute};
use crate::journal::Slot;
use crate::observe::{RunEnded, log_run};
use crate::retry::{Attempt, Disposition, Outcome, Wait, rung_name};
use crate::seed;
use crate::services::call::{Services, Shown};
use crate::subscription::Member;
use crate::task::{Event, Job, Task};

/// Works through a task.
pub fn process(task: &Task, members: &[Member], services: &Services, desk: &Desk, slot: &mut Slot) {
    let last = task.jobs.len() - 1;
    // What was read of CKAN for one notification is read once for all of its workers.
    let mut shown = (0, Shown::default());
    loop {
        let turn = task.turn();
        let (position, index) = (turn / members.len(), turn % members.len());
        let Some(job) = task.jobs.get(position) else { return };
        desk.wait_while_parked();
        if desk.is_held() || (desk.is_stopping() && (index == 0 || *services.give_up.borrow())) {
            return give_back(task, position, desk);
        }
        let member = &members[index];
        if shown.0 != position {
            shown = (position, Shown::default());
        }
        let step =
            step(task, position, index, member, services, |job| run(job, member, services, desk, slot, &mut shown.1));
        if !task.end(turn) {
            return;
        }
        let is_interrupted = matches!(&step, Step::Ran(ended) if ended.disposition == Disposition::Unsettled);
        tell(job, index, step, members, services, desk);
        if is_interrupted {
            // It comes back for all workers: those that have not begun wait until then.
            return give_back(task, position, desk);
        }
        if index + 1 == members.len() {
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

/// What comes of one worker's turn with one notification.
enum Step<'a> {
    /// It was through with it before.
    Known,
    /// It does not ask for it.
    Declined(Ended<'a>),
    /// It will have a newer one about the same, which has this ticket.
    Superseded(Ended<'a>, usize),
    /// It ran, or would have if it could.
    Ran(Ended<'a>),
}

/// How a run ended.
pub struct Ended<'a> {
    /// The worker.
    pub member: &'a Member,
    /// How its attempt ended.
    pub outcome: Outcome,
    /// Which attempt it was.
    pub attempts: u32,
    /// How long it took.
    pub duration: Duration,
    /// What becomes of it.
    pub disposition: Disposition,
}

fn step<'a>(
    task: &Task,
    position: usize,
    index: usize,
    member: &'a Member,
    services: &Services,
    run: impl FnOnce(&Job) -> Ended<'a>,
) -> Step<'a> {
    let job = &task.jobs[position];
    if job.has_ended(index) {
        return Step::Known;
    }
    let without_running = |outcome| Ended {
        member,
        outcome,
        attempts: job.attempts(),
        duration: Duration::ZERO,
        disposition: Disposition::Ended,
    };
    if let Some(reason) = member.declines(&job.notification, job.only()) {
        return Step::Declined(without_running(Outcome::Skipped(reason)));
    }
    match superseded_by(task, position, index, member, services) {
        Some(by) => Step::Superseded(without_running(Outcome::Done), by),
        None => Step::Ran(run(job)),
    }
}

/// The ticket of the newest notification behind this one that says all that this one does, if that is enough.
fn superseded_by(task: &Task, position: usize, index: usize, member: &Member, services: &Services) -> Option<usize> {
    if !member.coalesces {
        return None;
    }
    let job = &task.jobs[position];
    let newest = task.jobs[position + 1..].iter().rev().find(|later| {
        // A copy that comes again is older than it looks.
        later.past.is_none()
            && !later.has_ended(index)
            && later.notification.covers(&job.notification)
            && member.declines(&later.notification, None).is_none()
            // The worker's own echo is not looked at, so it cannot stand for what is to be.
            && later.notification.origin().is_none_or(|origin| origin != services.origin(member.worker.name()))
    })?;
    Some(newest.ticket)
}

/// Runs one worker on one notification, if it may run now.
fn run<'a>(
    job: &Job,
    member: &'a Member,
    services: &Services,
    desk: &Desk,
    slot: &mut Slot,
    shown: &mut Shown,
) -> Ended<'a> {
    let started = Instant::now();
    let number = job.attempts() + 1;
    let outcome = if member.gate.lets_through(started) {
        let outcome = attempt(job, member, number, services, desk, slot, shown);
        seed::point("run-ended");
        watch_gate(member, &outcome);
        outcome
    } else {
        Outcome::Held { error: format!("{} waits, because CKAN refuses it", member.worker.name()), after: None }
    };
    let held_for = job.held_since().and_then(|since| since.elapsed().ok()).unwrap_or_default();
    let disposition = member.retry.decide(&outcome, Attempt { number, hops: job.hops(), held_for });
    Ended { member, outcome, attempts: number, duration: started.elapsed(), disposition }
}

/// Closes the gate of a worker that CKAN refuses, or opens it again.
fn watch_gate(member: &Member, outcome: &Outcome) {
    let worker = member.worker.name();
    match outcome {
        Outcome::Refused(error) => {
            if let Some(closed) = member.gate.refused(Instant::now()) {
                tracing::error!(
                    worker,
                    "{worker} waits for {closed:?}: CKAN refuses what it does; give its token the right, or set another \
                     with `ckan.api_key`: {error}"
                );
            }
        }
        // Neither says anything about what CKAN would allow.
        Outcome::Held { .. } | Outcome::Interrupted => {}
        _ if member.gate.worked() => tracing::info!(worker, "CKAN no longer refuses {worker}; it goes on"),
        _ => {}
    }
}

fn attempt(
    job: &Job,
    member: &Member,
    number: u32,
    services: &Services,
    desk: &Desk,
    slot: &mut Slot,
    shown: &mut Shown,
) -> Outcome {
    // Whoever waits for its turn has not begun: its time runs from here.
    let _one_at_a_time = member.serial.as_ref().map(|serial| serial.lock().unwrap_or_else(PoisonError::into_inner));
    let deadline = Instant::now() + member.deadline;
    let delivery = job.delivery.text();
    let run = job.key.run_hashed(member.key);
    let attempt = execute::Attempt {
        notification: &job.notification,
        delivery: &delivery,
        number,
        history: History { is_woken: job.woken.is_some(), is_copy: job.past.is_some(), redelivered: job.redelivered },
        run: job.key.is_named().then(|| (run.number(), job.hops() + 1)),
        woken: job.woken.as_ref(),
        deadline,
    };
    slot.begin(job.key, run, job.hops());
    desk.begin(deadline);
    let outcome = execute(member, &attempt, services, shown);
    desk.end();
    outcome
}

/// Tells what came of a worker's turn: whoever watches, the log, and the dispatcher.
fn tell(job: &Job, index: usize, step: Step<'_>, members: &[Member], services: &Services, desk: &Desk) {
    match step {
        Step::Known => {}
        Step::Declined(ended) => report(job, &ended, ended.disposition.word(&ended.outcome), services),
        Step::Superseded(ended, by) => {
            report(job, &ended, "superseded", services);
            desk.tell(Event::Superseded { ticket: job.ticket, member: index, by });
        }
        Step::Ran(ended) => {
            report(job, &ended, ended.disposition.word(&ended.outcome), services);
            let event = match ended.disposition {
                Disposition::Unsettled => return,
                Disposition::Ended => Event::Ended(job.ticket, index),
                _ => Event::Letter(job.ticket, index, Box::new(letter(job, &ended))),
            };
            for letter in outcomes(job, &ended, members) {
                desk.tell(Event::Outcome(job.ticket, index, Box::new(letter)));
            }
            desk.tell(event);
        }
    }
}

/// What is sent on for a run that did not end well.
pub fn letter(job: &Job, ended: &Ended<'_>) -> Letter {
    let worker = ended.member.worker.name();
    let error = ended.outcome.message().into_owned();
    match ended.disposition {
        Disposition::Hold(wait) => Letter {
            held_since: Some(job.held_since().unwrap_or_else(SystemTime::now)),
            ..job.letter(worker, Fate::Retry(spread(wait)), error, job.attempts())
        },
        Disposition::Retry(wait) => Letter {
            // It was not really tried, and what it waited for has taken too long already.
            held_since: job.held_since().filter(|_| ended.outcome.is_held()),
            ..job.letter(worker, Fate::Retry(spread(wait)), error, ended.attempts)
        },
        Disposition::Dead(reason) => job.letter(worker, Fate::Dead(reason), error, ended.attempts),
        Disposition::Ended | Disposition::Unsettled => unreachable!("nothing is sent on for what ended or comes back"),
    }
}

/// Spreads what failed together over the last fifth of its wait.
pub fn spread(wait: Wait) -> Duration {
    match wait {
        Wait::About(delay) => delay.mul_f64(0.8 + 0.2 * fastrand::f64()),
        Wait::AtLeast(delay) => delay,
    }
}

/// Tells how a run ended to whoever watches, and to the log.
pub fn report(job: &Job, ended: &Ended<'_>, outcome: &'static str, services: &Services) {
    let mut message = ended.outcome.message();
    if let Disposition::Retry(Wait::About(delay) | Wait::AtLeast(delay))
    | Disposition::Hold(Wait::About(delay) | Wait::AtLeast(delay)) = ended.disposition
    {
        message = format!("{message}; again in about {}", rung_name(delay)).into();
    }
    let run = RunEnded {
        worker: ended.member.worker.name(),
        delivery: &job.delivery,
        routing_key: job.notification.routing_key(),
        operation: job.notification.operation(),
        entity_id: job.notification.entity_id(),
        outcome,
        message: &message,
        attempts: ended.attempts,
        duration: ended.duration,
    };
    log_run(&run);
    if let Some(observer) = &services.observer {
        // A panic there has been printed; the run has ended all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| observer.run_ended(&run)));
    }
}
