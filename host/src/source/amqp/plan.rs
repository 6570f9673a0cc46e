//! What a queue needs at the broker: names and arguments, for making it and for explaining it.

use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable, LongString};

use crate::delivery::Fate;
use crate::retry::{Ladder, rung_name};
use crate::source::Settings;
use crate::source::settings::backfill_queue;
use crate::source::topology::{Kind, LANE, Part};

/// How often the broker itself hands a message out again before it sets it aside.
///
/// It counts whatever was handed out and came back, also what never ran: with the usual 20, some twenty restarts with a
/// full prefetch would dead-letter bystanders. What kills the process is found by our own journal, which knows what was
/// running; this is only the net below it, for when the journal is lost.
const DELIVERY_LIMIT: i64 = 1000;

/// How often a dead letter may be looked at and left: never too often.
const LOOKED_AT_MAX: i64 = 1_000_000_000;

/// Where a letter goes: a queue of ours beside the main one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where dead letters are kept.
    Dead,
    /// Where letters wait for so long.
    Rung(Duration),
    /// Where waits what is worked on when nothing waits in the main queue.
    Lane,
}

impl Place {
    /// The place for a letter with this fate.
    pub fn of(fate: Fate, ladder: &Ladder) -> Self {
        match fate {
            Fate::Retry(delay) => Self::Rung(ladder.rung(delay)),
            Fate::Dead(_) => Self::Dead,
        }
    }

    /// The name of its queue, for the main queue `queue`.
    pub fn queue(self, queue: &str) -> String {
        match self {
            Self::Dead => format!("{queue}.dead"),
            Self::Rung(rung) => format!("{queue}.retry.{}", rung_name(rung)),
            Self::Lane => backfill_queue(queue),
        }
    }

    /// The arguments to declare it with.
    pub fn arguments(self, queue: &str) -> FieldTable {
        match self {
            // From 4.0 on the broker throws away what came back twenty times, unless it is told another number. Not -1,
            // which means "never" there: 3.10 takes it, and throws away what comes back once.
            Self::Dead => arguments([("x-queue-type", text("quorum")), ("x-delivery-limit", number(LOOKED_AT_MAX))]),
            Self::Rung(rung) => arguments([
                ("x-queue-type", text("quorum")),
                ("x-message-ttl", number(i64::try_from(rung.as_millis()).unwrap_or(i64::MAX))),
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text(queue)),
                ("x-dead-letter-strategy", text("at-least-once")),
                ("x-overflow", text("reject-publish")),
            ]),
            Self::Lane => main_arguments(queue),
        }
    }

    /// The arguments that an earlier version declared it with, which will do.
    fn earlier_arguments(self) -> Option<FieldTable> {
        match self {
            Self::Dead => Some(arguments([("x-queue-type", text("quorum"))])),
            Self::Rung(_) | Self::Lane => None,
        }
    }
}

/// The name of the mark that a main queue of ours is not yet bound.
pub fn unbound_mark(queue: &str) -> String {
    format!("{queue}.unbound")
}

/// The arguments of a main queue of ours. It loses nothing: what the broker gives up on, it keeps as a dead letter.
pub fn main_arguments(queue: &str) -> FieldTable {
    arguments([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", number(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&Place::Dead.queue(queue))),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ])
}

/// All that the worker uses at the broker, in the order in which it is made; queues with the arguments that will do, the
/// ones to declare them with first.
pub fn parts(settings: &Settings) -> Vec<(Part, Vec<FieldTable>)> {
    let queue = settings.name.as_str();
    let rungs = settings.ladder.rungs().iter().map(|&rung| {
        let why = format!("what failed waits in it, for {} at most, and goes back to {queue}", rung_name(rung));
        letters(Place::Rung(rung), queue, why)
    });
    let dead = letters(Place::Dead, queue, "dead letters are kept in it until somebody looks at them".to_owned());
    let mut parts = vec![(exchange(settings), Vec::new()), main(settings), (binding(settings), Vec::new())];
    parts.extend(rungs);
    parts.push(dead);
    let (lane, arguments) = letters(Place::Lane, queue, LANE.to_owned());
    let made = made(settings, "by `worker backfill`");
    parts.push((Part { made, ..lane }, arguments));
    parts
}

fn exchange(settings: &Settings) -> Part {
    Part {
        kind: Kind::Exchange,
        name: settings.exchange.clone(),
        arguments: [("type", "topic"), ("durable", "true")].map(|(name, value)| (name.into(), value.into())).into(),
        why: "CKAN publishes to it; it is named like `ckan.site_id`".to_owned(),
        made: made(settings, "if it is missing when the queue is made"),
    }
}

fn main(settings: &Settings) -> (Part, Vec<FieldTable>) {
    let arguments = main_arguments(&settings.name);
    let part = Part {
        kind: Kind::Queue,
        name: settings.name.clone(),
        arguments: described(&arguments),
        why: "it is consumed; one that exists is used as it is, whatever its type and arguments".to_owned(),
        made: made(settings, "if it is missing"),
    };
    (part, vec![arguments])
}

fn binding(settings: &Settings) -> Part {
    Part {
        kind: Kind::Binding,
        name: format!("{} -> {}", settings.exchange, settings.name),
        arguments: vec![("routing key".to_owned(), settings.routing_key.clone())],
        why: "brings notifications into the queue; `-r` and `queue.routing_key` have no effect on a queue that exists"
            .to_owned(),
        made: made(settings, "when the queue is made"),
    }
}

fn letters(place: Place, queue: &str, why: String) -> (Part, Vec<FieldTable>) {
    let arguments = place.arguments(queue);
    let part = Part {
        kind: Kind::Queue,
        name: place.queue(queue),
        arguments: described(&arguments),
        why,
        made: "when a letter needs it".to_owned(),
    };
    (part, std::iter::once(arguments).chain(place.earlier_arguments()).collect())
}

fn made(settings: &Settings, when: &str) -> String {
    if settings.create { when.to_owned() } else { "never: `queue.create` is off".to_owned() }
}

/// Arguments for people.
fn described(arguments: &FieldTable) -> Vec<(String, String)> {
    let value = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => format!("{:?}", text.to_string()),
        AMQPValue::LongLongInt(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    arguments.inner().iter().map(|(name, argument)| (name.to_string(), value(argument))).collect()
}

fn arguments<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

fn number(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
