//! What a message was published with.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};

use crate::delivery::{Origin, Past};

/// What all headers of ours begin with.
pub(super) const PREFIX: &str = "x-ckan-worker-";

/// A count beyond this was not written by us; one that is not ours begins at nothing.
const COUNT_MAX: u32 = 1 << 30;

/// What a message was published with, kept so that a copy can have it too.
pub struct Properties {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) basic: BasicProperties,
}

impl Properties {
    /// Keeps what came with a message.
    pub fn of(exchange: ShortString, routing_key: ShortString, basic: BasicProperties) -> Self {
        Self { exchange, routing_key, basic }
    }

    /// The publisher's name for the message. An empty one is none: all that have it would be taken for the same.
    pub fn message_id(&self) -> Option<&str> {
        let is_name = |id: &&str| !id.is_empty();
        let published = || self.basic.message_id().as_ref().map(ShortString::as_str);
        self.text("id").filter(is_name).or_else(|| published().filter(is_name))
    }

    /// What became of it before, if it is a copy for one worker. Anybody may have written these headers: what is no
    /// number or time counts as absent.
    pub fn past(&self) -> Option<Past> {
        let now = SystemTime::now();
        let mut past = Past::none(self.text("only")?, now);
        past.hops = self.count("hops");
        past.first_seen = self.time("first-seen", now).unwrap_or(now);
        // Only dead letters have a reason. Whoever moves one back to this queue means a fresh start.
        if self.header("reason").is_none() {
            past.attempts = self.count("attempt");
            past.held_since = self.time("held-since", now);
        }
        Some(past)
    }

    /// As what everybody but the source sees of it.
    pub fn into_origin(self) -> Origin {
        Arc::new(self)
    }

    /// A header of ours, if it is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.header(name)? {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// A header of ours as a number; 0 without one.
    pub(super) fn count(&self, name: &str) -> u32 {
        let number = self.header(name).and_then(whole_number).and_then(|number| u32::try_from(number).ok());
        number.filter(|number| *number <= COUNT_MAX).unwrap_or_default()
    }

    /// A header of ours as a time that is not to come.
    fn time(&self, name: &str, now: SystemTime) -> Option<SystemTime> {
        let seconds = match self.header(name)? {
            AMQPValue::Timestamp(seconds) => *seconds,
            other => u64::try_from(whole_number(other)?).ok()?,
        };
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map(|time| time.min(now))
    }

    pub(super) fn header(&self, name: &str) -> Option<&AMQPValue> {
        let headers = self.basic.headers().as_ref()?;
        headers.inner().iter().find(|(key, _)| key.as_str().strip_prefix(PREFIX) == Some(name)).map(|(_, value)| value)
    }
}

/// A whole number, of whatever width: other programs that move messages write another one than we do.
pub(super) fn whole_number(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::LongLongInt(number) => *number,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use lapin::types::{ByteArray, FieldTable};

    use super::*;

    /// What is read from these headers: attempts, hops, seconds of `first_seen` and of `held_since`.
    fn past<const N: usize>(headers: [(&str, AMQPValue); N]) -> Option<(u32, u32, u64, Option<u64>)> {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(format!("{PREFIX}{name}").into(), value);
        }
        let properties = Properties::of("".into(), "q".into(), BasicProperties::default().with_headers(table));
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let past = properties.past()?;
        assert_eq!(&*past.worker, "archive");
        Some((past.attempts, past.hops, seconds(past.first_seen), past.held_since.map(seconds)))
    }

    fn only() -> (&'static str, AMQPValue) {
        ("only", AMQPValue::LongString("archive".into()))
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn what_we_wrote_is_read_in_full() {
        let headers = [
            only(),
            ("attempt", AMQPValue::LongUInt(3)),
            ("hops", AMQPValue::LongUInt(5)),
            ("first-seen", AMQPValue::Timestamp(1000)),
            ("held-since", AMQPValue::Timestamp(2000)),
        ];
        assert_eq!(past(headers), Some((3, 5, 1000, Some(2000))));
    }

    #[test]
    fn an_empty_name_is_none() {
        let name = |header: &str, published: &str| {
            let mut table = FieldTable::default();
            table.insert(format!("{PREFIX}id").into(), AMQPValue::LongString(header.into()));
            let basic = BasicProperties::default().with_headers(table).with_message_id(published.into());
            Properties::of("".into(), "q".into(), basic).message_id().map(str::to_owned)
        };
        assert_eq!(name("", ""), None);
        assert_eq!(name("", "published").as_deref(), Some("published"));
        assert_eq!(name("ours", "").as_deref(), Some("ours"));
    }

    #[test]
    fn what_is_for_all_workers_has_no_past() {
        assert_eq!(past([("attempt", AMQPValue::LongUInt(3))]), None);
        assert_eq!(past([("only", AMQPValue::LongUInt(3)), ("attempt", AMQPValue::LongUInt(3))]), None);
    }

    #[test]
    fn a_dead_letter_that_was_moved_back_starts_afresh_but_is_still_known_from_its_earlier_copies() {
        let headers = [
            only(),
            ("reason", AMQPValue::LongString("permanent".into())),
            ("attempt", AMQPValue::LongUInt(9)),
            ("hops", AMQPValue::LongUInt(9)),
            ("first-seen", AMQPValue::Timestamp(1000)),
            ("held-since", AMQPValue::Timestamp(2000)),
        ];
        assert_eq!(past(headers), Some((0, 9, 1000, None)));
    }

    #[test]
    fn numbers_of_any_width_are_read_and_nonsense_counts_as_absent() {
        let good = [
            AMQPValue::ShortShortInt(7),
            AMQPValue::ShortShortUInt(7),
            AMQPValue::ShortInt(7),
            AMQPValue::ShortUInt(7),
            AMQPValue::LongInt(7),
            AMQPValue::LongLongInt(7),
        ];
        for value in good {
            let headers = [only(), ("attempt", value.clone()), ("hops", value), ("first-seen", AMQPValue::LongInt(7))];
            assert_eq!(past(headers), Some((7, 7, 7, None)));
        }
        let bad = [
            AMQPValue::LongInt(-1),
            AMQPValue::LongUInt(u32::MAX),
            AMQPValue::LongLongInt(i64::MAX),
            AMQPValue::LongLongInt(i64::MIN),
            AMQPValue::Double(1.5),
            AMQPValue::LongString("7".into()),
            AMQPValue::ByteArray(ByteArray::from(b"\xff".to_vec())),
            AMQPValue::FieldTable(FieldTable::default()),
            AMQPValue::Void,
        ];
        for value in bad {
            let (attempts, hops, ..) = past([only(), ("attempt", value.clone()), ("hops", value)]).unwrap();
            assert_eq!((attempts, hops), (0, 0));
        }
    }

    #[test]
    fn no_time_is_to_come() {
        for time in [u64::MAX, u64::MAX / 2, now() + 1_000_000] {
            let (.., first_seen, held_since) =
                past([only(), ("first-seen", AMQPValue::Timestamp(time)), ("held-since", AMQPValue::Timestamp(time))])
                    .unwrap();
            assert!(first_seen <= now() && held_since.is_none_or(|held_since| held_since <= now()));
        }
    }
}
