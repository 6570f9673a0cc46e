//! What a letter carries beside its body: what was published with it, and what is to be known about its way so far.

use std::time::{SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};

use super::properties::{PREFIX, Properties};
use crate::delivery::{Fate, Letter};

/// How long an error text may be in a header, in bytes.
const ERROR_BYTES_MAX: usize = 2048;

/// How long a name may be in a header, in bytes; a stranger may have written it.
const NAME_BYTES_MAX: usize = 255;

/// How many bytes of foreign headers are kept. All headers together must fit into one frame.
const FOREIGN_BYTES_MAX: usize = 64 * 1024;

/// Headers of the broker's that would be wrong on a copy; a name that ends with `-` is the beginning of several.
const STRIPPED: [&str; 7] =
    ["x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", "CC", "BCC"];

/// The original's properties, less what the broker wrote, and with what is to be known about the copy.
pub fn letter_properties(letter: &Letter, original: Option<&Properties>, queue: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut add = |name: &str, value: AMQPValue| {
        headers.insert(format!("{PREFIX}{name}").into(), value);
    };
    add("id", name(&letter.delivery.to_string()));
    if let Fate::Dead(reason) = letter.fate {
        add("reason", text(reason.as_str()));
        add("died", timestamp(SystemTime::now()));
    }
    add("error", text(truncated(&letter.error, ERROR_BYTES_MAX)));
    add("attempt", AMQPValue::LongUInt(letter.attempts));
    add("hops", AMQPValue::LongUInt(letter.hops));
    if let Some(worker) = &letter.worker {
        add("only", name(worker));
    }
    add("first-seen", timestamp(letter.first_seen));
    if let Some(held_since) = letter.held_since {
        add("held-since", timestamp(held_since));
    }
    // A copy comes from a rung of the ladder, by the default exchange; what is of interest is where it all began.
    let earlier = |name| original.and_then(|original| original.text(name));
    add("origin-queue", name(earlier("origin-queue").unwrap_or(queue)));
    let Some(original) = original else {
        return BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    };
    add("origin-exchange", name(earlier("origin-exchange").unwrap_or(original.exchange.as_str())));
    add("origin-routing-key", name(earlier("origin-routing-key").unwrap_or(original.routing_key.as_str())));
    let replayed = original.count("replayed");
    if replayed > 0 {
        add("replayed", AMQPValue::LongUInt(replayed));
    }
    add_foreign(&mut headers, original);
    lasting(&original.basic).with_headers(headers).with_delivery_mode(2)
}

/// The headers of a message that is for one worker alone and that nobody has tried.
pub fn addressed(worker: &str, routing_key: &str) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(format!("{PREFIX}only").into(), text(worker));
    // It comes by the default exchange, under the name of its queue.
    headers.insert(format!("{PREFIX}origin-routing-key").into(), text(routing_key));
    headers
}

/// Adds the headers that were published with a message, as far as there is room for them.
fn add_foreign(headers: &mut FieldTable, original: &Properties) {
    let (mut bytes, mut dropped) = (0, original.count("headers-dropped"));
    for (key, value) in original.basic.headers().iter().flat_map(FieldTable::inner) {
        let name = key.as_str();
        // Those of ours were written above, as far as they still hold: a retry has no `reason`.
        if name.starts_with(PREFIX) || is_stripped(name) {
            continue;
        }
        let size = name.len() + size(value);
        if bytes + size > FOREIGN_BYTES_MAX {
            dropped = dropped.saturating_add(1);
            continue;
        }
        bytes += size;
        headers.insert(key.clone(), value.clone());
    }
    if dropped > 0 {
        headers.insert(format!("{PREFIX}headers-dropped").into(), AMQPValue::LongUInt(dropped));
    }
}

/// Whether a header is one of the broker's that a copy must not have.
pub(super) fn is_stripped(name: &str) -> bool {
    STRIPPED.iter().any(|stripped| if stripped.ends_with('-') { name.starts_with(stripped) } else { name == *stripped })
}

/// About how many bytes a value takes in a frame; rather more than less.
fn size(value: &AMQPValue) -> usize {
    let content = match value {
        AMQPValue::LongString(text) => text.as_bytes().len(),
        AMQPValue::ShortString(text) => text.as_str().len(),
        AMQPValue::ByteArray(bytes) => bytes.len(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(size).sum(),
        AMQPValue::FieldTable(table) => table.inner().iter().map(|(key, value)| key.as_str().len() + size(value)).sum(),
        _ => 8,
    };
    content + 8
}

/// The properties of a message, without the two that a copy must not have: with `expiration` it would vanish, and the
/// broker refuses a `user_id` that is not ours.
pub(super) fn lasting(published: &BasicProperties) -> BasicProperties {
    let mut kept = BasicProperties::default();
    macro_rules! keep {
        ($($read:ident $write:ident),*) => {
            $(if let Some(value) = published.$read().clone() {
                kept = kept.$write(value);
            })*
        };
    }
    keep!(
        content_type with_content_type,
        content_encoding with_content_encoding,
        priority with_priority,
        correlation_id with_correlation_id,
        reply_to with_reply_to,
        message_id with_message_id,
        timestamp with_timestamp,
        kind with_type,
        app_id with_app_id
    );
    kept
}

/// The beginning of a text, at most so many bytes, cut between characters.
fn truncated(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A text that a stranger may have written.
fn name(name: &str) -> AMQPValue {
    text(truncated(name, NAME_BYTES_MAX))
}

fn timestamp(time: SystemTime) -> AMQPValue {
    AMQPValue::Timestamp(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::{DeadReason, DeliveryId};

    fn letter(fate: Fate) -> Letter {
        Letter {
            delivery: DeliveryId::Named("m-1".into()),
            worker: Some("archive".into()),
            fate,
            error: "503".to_owned(),
            attempts: 2,
            hops: 3,
            first_seen: UNIX_EPOCH + Duration::from_secs(1000),
            held_since: None,
            body: bytes::Bytes::new(),
            origin: None,
        }
    }

    fn published(headers: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> Properties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(name.into(), value);
        }
        Properties::of("portal".into(), "Package".into(), BasicProperties::default().with_headers(table))
    }

    /// The properties of a letter as they are read when it comes back from the ladder.
    fn come_back(properties: BasicProperties) -> Properties {
        Properties::of("".into(), "queue".into(), properties)
    }

    fn names(properties: &BasicProperties) -> Vec<&str> {
        properties.headers().iter().flat_map(FieldTable::inner).map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn names_that_are_too_long_for_a_frame_are_cut() {
        let long = "x".repeat(100_000);
        let letter = Letter {
            delivery: DeliveryId::Named("ä".repeat(100_000).into()),
            worker: Some(long.as_str().into()),
            error: "e".repeat(100_000),
            ..letter(Fate::Dead(DeadReason::WorkerNotLoaded))
        };
        let original = published([
            ("x-ckan-worker-origin-queue", text(&long)),
            ("x-ckan-worker-origin-exchange", text(&long)),
            ("x-ckan-worker-origin-routing-key", text(&long)),
        ]);
        let properties = letter_properties(&letter, Some(&original), "queue");
        let headers = properties.headers().as_ref().unwrap();
        let bytes: usize = headers.inner().iter().map(|(key, value)| key.as_str().len() + size(value)).sum();
        assert!(bytes < 4096, "{bytes}");
    }

    #[test]
    fn what_is_sent_to_wait_comes_back_with_its_past_and_still_says_where_it_began() {
        let first = letter_properties(&letter(Fate::Retry(Duration::from_secs(10))), Some(&published([])), "queue");
        let copy = come_back(first);
        let past = copy.past().unwrap();
        assert_eq!((&*past.worker, past.attempts, past.hops), ("archive", 2, 3));
        assert_eq!((past.first_seen, past.held_since), (UNIX_EPOCH + Duration::from_secs(1000), None));
        assert_eq!(copy.message_id(), Some("m-1"));
        let again = come_back(letter_properties(&letter(Fate::Dead(DeadReason::Permanent)), Some(&copy), "queue"));
        assert_eq!(
            (again.text("origin-exchange"), again.text("origin-routing-key")),
            (Some("portal"), Some("Package"))
        );
        assert_eq!(again.text("origin-queue"), Some("queue"));
    }

    #[test]
    fn a_replayed_letter_that_fails_again_is_not_taken_for_a_fresh_start_for_ever() {
        let original = published([
            ("x-ckan-worker-only", text("archive")),
            ("x-ckan-worker-reason", text("permanent")),
            ("x-ckan-worker-held-since", AMQPValue::Timestamp(7)),
            ("x-ckan-worker-replayed", AMQPValue::LongUInt(1)),
            ("own", text("kept")),
        ]);
        let copy = letter_properties(&letter(Fate::Retry(Duration::from_secs(10))), Some(&original), "queue");
        assert!(!names(&copy).contains(&"x-ckan-worker-reason"), "{:?}", names(&copy));
        assert!(!names(&copy).contains(&"x-ckan-worker-held-since"), "{:?}", names(&copy));
        assert!(names(&copy).contains(&"own"));
        let copy = come_back(copy);
        assert_eq!((copy.past().unwrap().attempts, copy.count("replayed")), (2, 1));
    }

    #[test]
    fn foreign_headers_are_kept_as_far_as_there_is_room_and_the_rest_is_counted_also_over_several_copies() {
        let mut table = FieldTable::default();
        for number in 0..2000 {
            table.insert(format!("header-{number}").into(), text(&"x".repeat(100)));
        }
        let original = Properties::of("".into(), "q".into(), BasicProperties::default().with_headers(table));
        let mut copy = original;
        let mut dropped = None;
        for _ in 0..3 {
            copy = come_back(letter_properties(&letter(Fate::Retry(Duration::ZERO)), Some(&copy), "queue"));
            let headers = copy.basic.headers().as_ref().unwrap();
            let bytes: usize = headers.inner().iter().map(|(key, value)| key.as_str().len() + size(value)).sum();
            assert!((60_000..70_000).contains(&bytes), "{bytes}");
            let now = copy.count("headers-dropped");
            assert!(now > 1000 && *dropped.get_or_insert(now) == now, "{now}");
        }
    }
}
