//! What the headers of a dead letter say, and those of its replay. Anybody may have written them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sha2::{Digest as _, Sha256};

use super::letter::{is_stripped, lasting};
use super::properties::{PREFIX, Properties, whole_number};
use crate::source::graveyard::{DeadLetter, Grave};

/// Headers of ours that a fresh start does not have.
const OF_THE_DEATH: [&str; 5] = ["reason", "error", "died", "held-since", "attempt"];

/// All that is known of a dead letter by what came with it.
pub fn read(properties: &Properties, body: Bytes, tag: u64) -> DeadLetter {
    let ours = |name: &str| properties.text(name).map(str::to_owned);
    // What the broker set aside by itself carries the broker's words alone.
    let death = latest_death(&properties.basic);
    let theirs = |name: &str| death?.inner().get(name);
    let died = properties.header("died").or_else(|| theirs("time"));
    DeadLetter {
        id: properties.message_id().map_or_else(|| fingerprint(&body), str::to_owned),
        worker: ours("only"),
        reason: ours("reason").or_else(|| theirs("reason").and_then(text)).unwrap_or_else(|| "unknown".to_owned()),
        error: ours("error").unwrap_or_default(),
        attempts: properties.count("attempt"),
        hops: properties.count("hops"),
        first_seen: properties.header("first-seen").and_then(time),
        died: died.and_then(time),
        replayed: properties.count("replayed"),
        routing_key: ours("origin-routing-key").or_else(|| match theirs("routing-keys")? {
            AMQPValue::FieldArray(keys) => text(keys.as_slice().first()?),
            _ => None,
        }),
        body,
        grave: Grave { tag, origin: None },
    }
}

/// What a message of unknown name is called: by its content.
fn fingerprint(body: &[u8]) -> String {
    format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(body)))
}

/// The properties of a replay: a fresh start for the same worker, under the same name unless it has to have a new one.
/// Its hops go on: of two copies the later is known.
pub fn replayed(dead: &Properties, new_id: Option<String>) -> BasicProperties {
    let of_the_death = |name: &str| name.strip_prefix(PREFIX).is_some_and(|name| OF_THE_DEATH.contains(&name));
    let mut headers = kept(&dead.basic, |name| !of_the_death(name));
    let replayed = dead.count("replayed").saturating_add(1);
    headers.insert(format!("{PREFIX}replayed").into(), AMQPValue::LongUInt(replayed));
    headers.insert(format!("{PREFIX}attempt").into(), AMQPValue::LongUInt(0));
    if let Some(id) = new_id {
        headers.insert(format!("{PREFIX}id").into(), AMQPValue::LongString(id.into()));
    }
    lasting(&dead.basic).with_headers(headers).with_delivery_mode(2)
}

/// The properties of the same dead letter put back anew. What the broker alone said of it we say now.
pub fn renewed(dead: &Properties) -> BasicProperties {
    let mut headers = kept(&dead.basic, |_| true);
    let letter = read(dead, Bytes::new(), 0);
    let mut add = |name: &str, value: AMQPValue| {
        let name = format!("{PREFIX}{name}");
        if !headers.contains_key(name.as_str()) {
            headers.insert(name.into(), value);
        }
    };
    add("reason", AMQPValue::LongString(letter.reason.into()));
    if let Some(died) = letter.died.and_then(|died| died.duration_since(UNIX_EPOCH).ok()) {
        add("died", AMQPValue::Timestamp(died.as_secs()));
    }
    if let Some(routing_key) = letter.routing_key {
        add("origin-routing-key", AMQPValue::LongString(routing_key.into()));
    }
    lasting(&dead.basic).with_headers(headers).with_delivery_mode(2)
}

/// How often the broker has handed it out before.
pub fn deliveries(dead: &Properties) -> i64 {
    let count = dead.basic.headers().as_ref().and_then(|headers| headers.inner().get("x-delivery-count"));
    count.and_then(whole_number).unwrap_or_default()
}

/// The headers of a letter that a copy may have, as far as they are wanted.
fn kept(dead: &BasicProperties, is_wanted: impl Fn(&str) -> bool) -> FieldTable {
    let mut headers = FieldTable::default();
    for (key, value) in dead.headers().iter().flat_map(FieldTable::inner) {
        if is_wanted(key.as_str()) && !is_stripped(key.as_str()) {
            headers.insert(key.clone(), value.clone());
        }
    }
    headers
}

/// What the broker says of the latest death by its own hand.
fn latest_death(dead: &BasicProperties) -> Option<&FieldTable> {
    match dead.headers().as_ref()?.inner().get("x-death")? {
        AMQPValue::FieldArray(deaths) => match deaths.as_slice().first()? {
            AMQPValue::FieldTable(death) => Some(death),
            _ => None,
        },
        _ => None,
    }
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok().map(str::to_owned),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn time(value: &AMQPValue) -> Option<SystemTime> {
    let seconds = match value {
        AMQPValue::Timestamp(seconds) => *seconds,
        other => u64::try_from(whole_number(other)?).ok()?,
    };
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(headers: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> Properties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(name.into(), value);
        }
        on_its_queue(BasicProperties::default().with_headers(table))
    }

    fn on_its_queue(properties: BasicProperties) -> Properties {
        Properties::of("".into(), "queue.dead".into(), properties)
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    #[test]
    fn a_replay_is_a_fresh_start_with_the_same_name_and_hops() {
        let mut dead = properties([
            ("x-ckan-worker-id", long("m-1")),
            ("x-ckan-worker-only", long("archive")),
            ("x-ckan-worker-reason", long("permanent")),
            ("x-ckan-worker-error", long("404")),
            ("x-ckan-worker-attempt", AMQPValue::LongUInt(9)),
            ("x-ckan-worker-hops", AMQPValue::LongUInt(10)),
            ("x-ckan-worker-held-since", AMQPValue::Timestamp(5)),
            ("x-ckan-worker-first-seen", AMQPValue::Timestamp(4)),
            ("x-death", AMQPValue::FieldArray(vec![].into())),
            ("x-first-death-queue", long("q")),
            ("x-delivery-count", AMQPValue::LongLongInt(3)),
            ("own", long("kept")),
        ]);
        dead.basic = dead.basic.with_expiration("1".into()).with_user_id("somebody".into());
        let replay = replayed(&dead, None);
        let again = on_its_queue(replay.clone());
        let letter = read(&again, Bytes::new(), 1);
        assert_eq!((letter.id.as_str(), letter.worker.as_deref()), ("m-1", Some("archive")));
        assert_eq!((letter.attempts, letter.hops, letter.replayed), (0, 10, 1));
        assert!(replay.expiration().is_none() && replay.user_id().is_none());
        let mut names: Vec<_> =
            replay.headers().iter().flat_map(FieldTable::inner).map(|(key, _)| key.to_string()).collect();
        names.sort();
        let ours = ["attempt", "first-seen", "hops", "id", "only", "replayed"].map(|name| format!("{PREFIX}{name}"));
        assert_eq!(names, [vec!["own".to_owned()], ours.to_vec()].concat());
        let renamed = read(&on_its_queue(replayed(&again, Some("m-1~0".to_owned()))), Bytes::new(), 1);
        assert_eq!((renamed.id.as_str(), renamed.replayed), ("m-1~0", 2));
    }

    #[test]
    fn what_is_put_back_anew_is_the_same_letter_with_nothing_counted() {
        let mut death = FieldTable::default();
        death.insert("reason".into(), long("delivery_limit"));
        death.insert("time".into(), AMQPValue::Timestamp(77));
        death.insert("routing-keys".into(), AMQPValue::FieldArray(vec![long("Package")].into()));
        let death = ("x-death", AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()));
        let count = ("x-delivery-count", AMQPValue::LongLongInt(17));
        let of_ours = ("x-ckan-worker-reason", long("permanent"));
        for (dead, reason) in [
            (properties([death.clone(), count.clone()]), "delivery_limit"),
            (properties([death, count, of_ours]), "permanent"),
        ] {
            assert_eq!((deliveries(&dead), deliveries(&on_its_queue(renewed(&dead)))), (17, 0));
            for letter in [read(&dead, Bytes::new(), 1), read(&on_its_queue(renewed(&dead)), Bytes::new(), 1)] {
                assert_eq!((letter.reason.as_str(), letter.routing_key.as_deref()), (reason, Some("Package")));
                assert_eq!(letter.died, Some(UNIX_EPOCH + Duration::from_secs(77)));
            }
        }
    }

    #[test]
    fn headers_of_any_kind_do_no_harm() {
        let odd = properties([
            ("x-ckan-worker-id", AMQPValue::Boolean(true)),
            ("x-ckan-worker-attempt", long("nine")),
            ("x-ckan-worker-hops", AMQPValue::LongLongInt(-1)),
            ("x-ckan-worker-replayed", AMQPValue::Timestamp(u64::MAX)),
            ("x-ckan-worker-died", AMQPValue::Timestamp(u64::MAX)),
            ("x-ckan-worker-reason", AMQPValue::LongString(b"\xff".to_vec().into())),
            ("x-death", long("of another")),
        ]);
        let letter = read(&odd, Bytes::from_static(b"body"), 1);
        assert_eq!((letter.attempts, letter.hops, letter.replayed, letter.died), (0, 0, 0, None));
        assert_eq!((letter.reason.as_str(), letter.id.len()), ("unknown", 64));
    }
}
