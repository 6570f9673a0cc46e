//! What a dead letter carries beside its body: what was published with it, and what is to be known about the death.

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

/// Headers of the broker's that would be wrong on a copy.
const STRIPPED: [&str; 7] =
    ["x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", "CC", "BCC"];

/// The original's properties, less what the broker wrote, and with what is to be known about the death.
pub fn letter_properties(letter: &Letter, original: Option<&Properties>, queue: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut add = |name: &str, value: AMQPValue| {
        headers.insert(format!("{PREFIX}{name}").into(), value);
    };
    add("id", text(truncated(&letter.delivery.to_string(), NAME_BYTES_MAX)));
    if let Fate::Dead(reason) = letter.fate {
        add("reason", text(reason.as_str()));
        add("died", AMQPValue::Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()));
    }
    add("error", text(truncated(&letter.error, ERROR_BYTES_MAX)));
    add("attempt", AMQPValue::LongUInt(letter.attempts));
    add("origin-queue", text(queue));
    if let Some(worker) = &letter.worker {
        add("only", text(truncated(worker, NAME_BYTES_MAX)));
    }
    let since = letter.first_seen.duration_since(UNIX_EPOCH).unwrap_or_default();
    add("first-seen", AMQPValue::Timestamp(since.as_secs()));
    let Some(original) = original else {
        return BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    };
    add("origin-exchange", text(original.exchange.as_str()));
    add("origin-routing-key", text(original.routing_key.as_str()));
    add_foreign(&mut headers, &original.basic);
    lasting(&original.basic).with_headers(headers).with_delivery_mode(2)
}

/// Adds the headers that were published with a message, as far as there is room for them.
fn add_foreign(headers: &mut FieldTable, published: &BasicProperties) {
    let (mut bytes, mut dropped) = (0, 0_u32);
    for (key, value) in published.headers().iter().flat_map(FieldTable::inner) {
        let name = key.as_str();
        if headers.contains_key(name) || STRIPPED.iter().any(|stripped| name.starts_with(stripped)) {
            continue;
        }
        let size = name.len() + size(value);
        if bytes + size > FOREIGN_BYTES_MAX {
            dropped += 1;
            continue;
        }
        bytes += size;
        headers.insert(key.clone(), value.clone());
    }
    if dropped > 0 {
        headers.insert(format!("{PREFIX}headers-dropped").into(), AMQPValue::LongUInt(dropped));
    }
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

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{DeadReason, DeliveryId};

    #[test]
    fn names_that_are_too_long_for_a_frame_are_cut() {
        let letter = Letter {
            delivery: DeliveryId::Named("ä".repeat(100_000).into()),
            worker: Some("x".repeat(100_000).into()),
            fate: Fate::Dead(DeadReason::WorkerNotLoaded),
            error: "e".repeat(100_000),
            attempts: 0,
            hops: 1,
            first_seen: SystemTime::now(),
            held_since: None,
            body: bytes::Bytes::new(),
            origin: None,
        };
        let properties = letter_properties(&letter, None, "queue");
        let headers = properties.headers().as_ref().unwrap();
        let bytes: usize = headers.inner().iter().map(|(key, value)| key.as_str().len() + size(value)).sum();
        assert!(bytes < 4096, "{bytes}");
    }
}
