//! What the headers of a dead letter say, and those of its replay. Anybody may have written them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use sha2::{Digest as _, Sha256};

use super::letter::lasting;
use super::properties::PREFIX;
use crate::source::graveyard::{DeadLetter, Grave};

/// Headers of the broker's that would be wrong on a copy; a name that ends with `-` is the beginning of several.
const OF_THE_BROKER: [&str; 7] =
    ["x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", "CC", "BCC"];

/// Headers of ours that a fresh start does not have.
const OF_THE_DEATH: [&str; 5] = ["reason", "error", "died", "held-since", "attempt"];

/// All that the properties of a dead letter say of it.
pub fn read(properties: &BasicProperties, body: Bytes, tag: u64) -> DeadLetter {
    let headers = Headers(properties.headers().as_ref());
    // What the broker set aside by itself carries the broker's words alone.
    let death = headers.first_death();
    let of_death = |name| death.as_ref().and_then(|death| Headers(Some(death)).text(name));
    let id = headers.ours("id").and_then(text).map(str::to_owned);
    let id = id.or_else(|| properties.message_id().as_ref().map(ToString::to_string));
    let died = headers.ours("died").or_else(|| Headers(death.as_ref()).get("time"));
    DeadLetter {
        id: id.filter(|id| !id.is_empty()).unwrap_or_else(|| fingerprint(&body)),
        worker: headers.ours("only").and_then(text).map(str::to_owned),
        reason: headers.ours("reason").and_then(text).or(of_death("reason")).unwrap_or("unknown").to_owned(),
        error: headers.ours("error").and_then(text).unwrap_or_default().to_owned(),
        attempts: headers.count("attempt"),
        hops: headers.count("hops"),
        first_seen: headers.ours("first-seen").and_then(time),
        died: died.and_then(time),
        replayed: headers.count("replayed"),
        routing_key: headers.ours("origin-routing-key").and_then(text).map(str::to_owned).or_else(|| {
            let death = death.as_ref()?;
            match Headers(Some(death)).get("routing-keys")? {
                AMQPValue::FieldArray(keys) => text(keys.as_slice().first()?).map(str::to_owned),
                _ => None,
            }
        }),
        body,
        grave: Grave { tag, origin: None },
    }
}

/// What a message of unknown name is called: by its content.
fn fingerprint(body: &[u8]) -> String {
    format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(body)))
}

/// The properties of a replay: a fresh start for the same worker, under the same name. Its hops go on: of two copies
/// the later is known.
pub fn replayed(dead: &BasicProperties) -> BasicProperties {
    let of_the_death = |name: &str| name.strip_prefix(PREFIX).is_some_and(|name| OF_THE_DEATH.contains(&name));
    let mut headers = kept(dead, |name| !of_the_death(name));
    let replayed = Headers(dead.headers().as_ref()).count("replayed").saturating_add(1);
    headers.insert(format!("{PREFIX}replayed").into(), AMQPValue::LongUInt(replayed));
    headers.insert(format!("{PREFIX}attempt").into(), AMQPValue::LongUInt(0));
    lasting(dead).with_headers(headers).with_delivery_mode(2)
}

/// The properties of the same dead letter put back anew. What the broker alone said of it we say now.
pub fn renewed(dead: &BasicProperties) -> BasicProperties {
    let mut headers = kept(dead, |_| true);
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
    lasting(dead).with_headers(headers).with_delivery_mode(2)
}

/// How often the broker has handed it out before.
pub fn deliveries(dead: &BasicProperties) -> u64 {
    let count = Headers(dead.headers().as_ref()).get("x-delivery-count").and_then(number);
    count.unwrap_or_default()
}

/// The headers of a letter that a copy may have, as far as they are wanted.
fn kept(dead: &BasicProperties, is_wanted: impl Fn(&str) -> bool) -> FieldTable {
    let mut headers = FieldTable::default();
    for (key, value) in dead.headers().iter().flat_map(FieldTable::inner) {
        if is_wanted(key.as_str()) && !is_of_the_broker(key.as_str()) {
            headers.insert(key.clone(), value.clone());
        }
    }
    headers
}

fn is_of_the_broker(name: &str) -> bool {
    let is = |known: &str| if known.ends_with('-') { name.starts_with(known) } else { name == known };
    OF_THE_BROKER.iter().any(|known| is(known))
}

/// Headers, if there are any.
struct Headers<'a>(Option<&'a FieldTable>);

impl<'a> Headers<'a> {
    fn get(&self, name: &str) -> Option<&'a AMQPValue> {
        self.0?.inner().get(name)
    }

    fn ours(&self, name: &str) -> Option<&'a AMQPValue> {
        self.get(&format!("{PREFIX}{name}"))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        text(self.get(name)?)
    }

    /// A number of ours; 0 without one.
    fn count(&self, name: &str) -> u32 {
        self.ours(name).and_then(number).and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
    }

    /// What the broker says of the latest death by its own hand.
    fn first_death(&self) -> Option<FieldTable> {
        match self.get("x-death")? {
            AMQPValue::FieldArray(deaths) => match deaths.as_slice().first()? {
                AMQPValue::FieldTable(death) => Some(death.clone()),
                _ => None,
            },
            _ => None,
        }
    }
}

fn text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(ShortString::as_str(text)),
        _ => None,
    }
}

fn number(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::ShortShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortShortUInt(number) => Some(u64::from(*number)),
        AMQPValue::ShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortUInt(number) => Some(u64::from(*number)),
        AMQPValue::LongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongUInt(number) => Some(u64::from(*number)),
        AMQPValue::LongLongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::Timestamp(number) => Some(*number),
        _ => None,
    }
}

fn time(value: &AMQPValue) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(number(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(headers: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(name.into(), value);
        }
        BasicProperties::default().with_headers(table)
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    #[test]
    fn a_replay_is_a_fresh_start_with_the_same_name_and_hops() {
        let dead = properties([
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
        ])
        .with_expiration("1".into())
        .with_user_id("somebody".into());
        let replay = replayed(&dead);
        let letter = read(&replay, Bytes::new(), 1);
        assert_eq!((letter.id.as_str(), letter.worker.as_deref()), ("m-1", Some("archive")));
        assert_eq!((letter.attempts, letter.hops, letter.replayed), (0, 10, 1));
        assert!(replay.expiration().is_none() && replay.user_id().is_none());
        let mut names: Vec<_> =
            replay.headers().iter().flat_map(FieldTable::inner).map(|(key, _)| key.to_string()).collect();
        names.sort();
        let ours = ["attempt", "first-seen", "hops", "id", "only", "replayed"].map(|name| format!("{PREFIX}{name}"));
        assert_eq!(names, [vec!["own".to_owned()], ours.to_vec()].concat());
        assert_eq!(read(&replayed(&replay), Bytes::new(), 1).replayed, 2);
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
            assert_eq!((deliveries(&dead), deliveries(&renewed(&dead))), (17, 0));
            for letter in [read(&dead, Bytes::new(), 1), read(&renewed(&dead), Bytes::new(), 1)] {
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
