//! Tells workers that want to hear it how the runs of others ended: as notifications of their own, through the queue.

use std::time::Duration;

use serde_json::json;

use super::Ended;
use crate::delivery::{DeliveryId, Fate, Letter};
use crate::retry::{Disposition, Outcome};
use crate::subscription::Member;
use crate::task::Job;

/// The class of a notification that tells how a run ended.
const RUN: &str = "Run";

/// What is told of a run that has ended, a letter for each worker that wants to hear it. Of runs that only heard of others
/// nothing is told, so that it comes to an end; nor of those that had nothing to do.
pub fn letters<'a>(job: &'a Job, ended: &'a Ended<'_>, members: &'a [Member]) -> impl Iterator<Item = Letter> + 'a {
    let word = match (&ended.disposition, &ended.outcome) {
        (Disposition::Dead(_), _) => Some("dead"),
        (Disposition::Ended, Outcome::Done) => Some("done"),
        _ => None,
    };
    let word = word.filter(|_| job.notification.routing_key() != RUN);
    let worker = ended.member.worker.name();
    let hearers = members.iter().filter(move |member| member.hears_outcomes && member.worker.name() != worker);
    hearers.filter_map(move |hearer| Some(letter(job, ended, word?, hearer.worker.name())))
}

fn letter(job: &Job, ended: &Ended<'_>, word: &str, hearer: &str) -> Letter {
    let worker = ended.member.worker.name();
    let notification = &job.notification;
    let delivery = job.delivery.text();
    let body = json!({
        "routing_key": RUN,
        "operation": word,
        "payload": {
            "id": format!("{delivery}/{worker}"),
            "package_id": notification.package_id(),
            "entity_id": notification.entity_id(),
            "worker": worker,
            "routing_key": notification.routing_key(),
            "operation": notification.operation(),
            "error": ended.outcome.message(),
            "attempts": ended.attempts,
            "duration_ms": u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
        },
    });
    let id = DeliveryId::Named(format!("{delivery}/{worker}/{word}").into());
    Letter {
        delivery: id,
        body: body.to_string().into(),
        hops: 1,
        held_since: None,
        ..job.letter(hearer, Fate::Retry(Duration::ZERO), String::new(), 0)
    }
}
