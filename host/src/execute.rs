//! One attempt: calls a worker on one notification and reads how it ended.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ckan_worker_abi as abi;

use crate::admit::{History, Refused, admit};
use crate::catalog::LoadedWorker;
use crate::notification::Notification;
use crate::retry::Outcome;
use crate::services::STORE;
use crate::services::call::{About, Call, Services, Shown};
use crate::services::ckan::{NOT_AUTHORIZED, NOT_FOUND, UNAVAILABLE};
use crate::store::WakeKey;
use crate::subscription::Member;

/// What an attempt is about.
pub struct Attempt<'a> {
    /// What CKAN said.
    pub notification: &'a Notification,
    /// The delivery's name.
    pub delivery: &'a str,
    /// Which attempt this is, from 1.
    pub number: u32,
    /// What has happened with it before.
    pub history: History,
    /// The run's key in the journal and how often it had been sent on, if it can be known again.
    pub run: Option<(u64, u32)>,
    /// Which of the worker's calls it is, if nobody else asked for it.
    pub woken: Option<&'a WakeKey>,
    /// When its time is over.
    pub deadline: Instant,
}

/// Runs a worker once, on this thread, unless there is no need to. A panic in it comes back as an outcome. `shown` is what
/// was read of CKAN on behalf of the notification.
pub fn execute(member: &Member, attempt: &Attempt<'_>, services: &Services, shown: &mut Shown) -> Outcome {
    let Attempt { delivery, notification, run, woken, .. } = *attempt;
    let is_by_resource = member.watched.is_by_resource();
    let about = About { delivery, notification, run, woken, is_by_resource };
    let call = Call::new(services, member.worker.name(), Some(about), Some(attempt.deadline))
        .having_shown(std::mem::take(shown));
    let outcome = call_worker(member, attempt, services, &call);
    member.watched.learn(call.outputs());
    *shown = call.take_shown();
    outcome
}

fn call_worker(member: &Member, attempt: &Attempt<'_>, services: &Services, call: &Call<'_>) -> Outcome {
    let seen = match admit(member, attempt.notification, attempt.history, &services.budget, call) {
        Ok(seen) => seen,
        Err(Refused::Ended(outcome)) => return outcome,
        Err(Refused::Failed(failure)) => return outcome(failure.into(), call, services),
    };
    let ended = outcome(consume(&member.worker, call, attempt, services.ckan.is_dry_run()), call, services);
    if !matches!(ended, Outcome::Done | Outcome::Skipped(_)) {
        return ended;
    }
    // It has ended well only when what it leaves behind is where it belongs.
    let is_gone = member.watched.is_on() && attempt.notification.operation() == "deleted" && seen.is_none();
    match call.finish(seen.as_ref(), is_gone) {
        Ok(()) => ended,
        Err(failure) => outcome(failure.into(), call, services),
    }
}

fn consume(worker: &LoadedWorker, call: &Call<'_>, attempt: &Attempt<'_>, is_dry_run: bool) -> abi::Reply {
    let notification = attempt.notification;
    // Whatever is not known is left out; in an array, for this happens for every run.
    let mut attrs = [abi::Attr { key: "delivery-id".into(), value: attempt.delivery.into() }; 4];
    let mut known = 1;
    let dry_run = is_dry_run.then_some("yes");
    let about = [("entity-id", notification.entity_id()), ("package-id", notification.package_id())];
    for (key, value) in about.into_iter().chain([("dry-run", dry_run)]) {
        if let Some(value) = value {
            attrs[known] = abi::Attr { key: key.into(), value: value.into() };
            known += 1;
        }
    }
    let delivery = abi::Delivery {
        routing_key: notification.routing_key().into(),
        operation: notification.operation().into(),
        payload: notification.payload().into(),
        attrs: attrs[..known].into(),
        attempt: attempt.number,
        flags: if attempt.history.redelivered { abi::Delivery::REDELIVERED } else { 0 },
    };
    call.consume(worker, &delivery)
}

fn outcome(reply: abi::Reply, call: &Call<'_>, services: &Services) -> Outcome {
    match reply.status {
        abi::Status::DONE => Outcome::Done,
        abi::Status::SKIPPED => Outcome::Skipped(reply.message.into_string().into()),
        // A token that lacks a right would fail with every notification; the worker waits instead.
        abi::Status::PERMANENT if reply.code.as_str() == NOT_AUTHORIZED => Outcome::Refused(text(reply)),
        abi::Status::PERMANENT | abi::Status::FATAL => Outcome::Impossible(text(reply)),
        abi::Status::PANIC => Outcome::Panicked(text(reply)),
        abi::Status::CANCELLED if *services.give_up.borrow() => Outcome::Interrupted,
        abi::Status::CANCELLED if call.is_cancelled() => {
            Outcome::TimedOut("outlived its deadline and gave up when it was told so".to_owned())
        }
        // Of what CKAN does not know yet it says itself when to look again; that is no plea to be left alone.
        abi::Status::RETRY if reply.retry_after_ms > 0 && reply.code.as_str() != NOT_FOUND => {
            let after = Some(Duration::from_millis(reply.retry_after_ms));
            Outcome::Held { error: text(reply), after }
        }
        abi::Status::RETRY if matches!(reply.code.as_str(), UNAVAILABLE | STORE) => {
            Outcome::Held { error: text(reply), after: None }
        }
        // Whatever is not known may pass.
        _ => Outcome::Failed(text(reply)),
    }
}

fn text(reply: abi::Reply) -> String {
    let mut text = reply.message.into_string();
    if text.is_empty() {
        text.push_str("failed without saying why");
    }
    if !reply.code.is_empty() {
        let _ = write!(text, " [{}]", reply.code);
    }
    text
}
