//! What CKAN said, read from a body.

pub mod published;

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use bytes::Bytes;
use ckan_worker_plugin::entity;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How deep a payload may be nested: as deep as the JSON readers that workers use will follow.
const DEPTH_MAX: usize = 127;

/// What CKAN said: the class of what changed, what happened to it, and the entity itself, all still in the body.
#[derive(Debug)]
pub struct Notification {
    body: Bytes,
    routing_key: Text,
    operation: Text,
    payload: Range<usize>,
    meta: Option<Range<usize>>,
    entity_id: Option<Text>,
    package_id: Option<Text>,
}

/// Why a body is no notification.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    /// There is nothing.
    #[error("the body is empty")]
    Empty,
    /// It is larger than is allowed.
    #[error("the body has {bytes} bytes, more than `body_bytes_max` = {bytes_max}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// It is not JSON, or not of the published shape.
    #[error("expected {{\"routing_key\": text, \"operation\": text, \"payload\": object}}, got: {0}")]
    Shape(String),
    /// The payload is nested too deeply for any worker to read it.
    #[error("the payload is nested more than {DEPTH_MAX} deep")]
    TooDeep,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    routing_key: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow, default)]
    meta: Option<&'a RawValue>,
}

/// Reads the envelope and the ids; the payload is neither copied nor turned into a tree.
///
/// # Errors
/// The body is not of the published shape, too large or nested too deeply.
pub fn parse(body: &Bytes, bytes_max: usize) -> Result<Notification, Malformed> {
    if body.is_empty() {
        return Err(Malformed::Empty);
    }
    if body.len() > bytes_max {
        return Err(Malformed::TooLarge { bytes: body.len(), bytes_max });
    }
    // An array of three would do for serde, too.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Malformed::Shape(beginning(body)));
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|error| Malformed::Shape(error.to_string()))?;
    let payload = envelope.payload.get();
    if !payload.starts_with('{') {
        return Err(Malformed::Shape("a payload that is not an object".to_owned()));
    }
    if is_deeper_than(payload.as_bytes(), DEPTH_MAX) {
        return Err(Malformed::TooDeep);
    }
    let ids = entity::ids(&envelope.routing_key, payload.as_bytes());
    let range = |json: &str| offset(body, json)..offset(body, json) + json.len();
    Ok(Notification {
        routing_key: Text::of(&envelope.routing_key, body),
        operation: match entity::operation(&envelope.operation, payload.as_bytes()) {
            published if *published == *envelope.operation => Text::of(&envelope.operation, body),
            meant => Text::Beside(meant.into()),
        },
        payload: range(payload),
        meta: envelope.meta.map(|meta| range(meta.get())),
        entity_id: ids.entity.as_ref().map(|id| Text::of(id, body)),
        package_id: ids.package.as_ref().map(|id| Text::of(id, body)),
        body: body.clone(),
    })
}

/// What a body that is no JSON object begins with, for people.
fn beginning(body: &[u8]) -> String {
    let shown: Vec<u8> = body.iter().take(20).copied().collect();
    let more = if shown.len() < body.len() { "…" } else { "" };
    format!("{:?}{more}", String::from_utf8_lossy(&shown))
}

impl Notification {
    /// Whether who works on this need not work on an earlier one of the same lane: it is about the same thing, or about
    /// the whole dataset.
    pub fn covers(&self, earlier: &Self) -> bool {
        let is_same = self.routing_key() == earlier.routing_key() && self.entity_id() == earlier.entity_id();
        (is_same && self.entity_id().is_some()) || self.routing_key() == "Package"
    }

    /// The whole message it was read from, byte for byte.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The class of what changed.
    pub fn routing_key(&self) -> &str {
        self.routing_key.read(&self.body)
    }

    /// Who wrote what this is about, as CKAN's extension has heard it from the writer: `HOST;WORKER`.
    pub fn origin(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Meta {
            origin: Option<String>,
        }
        let meta = &self.body[self.meta.clone()?];
        serde_json::from_slice::<Meta>(meta).ok()?.origin
    }

    /// What happened to it; a change to the state `deleted` is a deletion, whatever it was published as.
    pub fn operation(&self) -> &str {
        self.operation.read(&self.body)
    }

    /// The JSON of the entity, byte for byte as it was published.
    pub fn payload(&self) -> &[u8] {
        &self.body[self.payload.clone()]
    }

    /// The id of what changed.
    pub fn entity_id(&self) -> Option<&str> {
        self.entity_id.as_ref().map(|id| id.read(&self.body))
    }

    /// The id of the dataset it belongs to; for a dataset its own.
    pub fn package_id(&self) -> Option<&str> {
        self.package_id.as_ref().map(|id| id.read(&self.body))
    }

    /// The lane it goes by: notifications with the same one are worked on one after another. `None`: any order.
    pub fn lane(&self) -> Option<u64> {
        let id = self.package_id().or_else(|| self.entity_id())?;
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// A text that stands in the body, or, where the body has escapes in it, beside it.
#[derive(Debug)]
enum Text {
    InBody(Range<usize>),
    Beside(Box<str>),
}

impl Text {
    #[expect(clippy::ptr_arg, reason = "whether it was borrowed from the body is the question")]
    fn of(text: &Cow<'_, str>, body: &Bytes) -> Self {
        match text {
            Cow::Borrowed(text) => {
                let start = offset(body, text);
                Self::InBody(start..start + text.len())
            }
            Cow::Owned(text) => Self::Beside(text.as_str().into()),
        }
    }

    fn read<'a>(&'a self, body: &'a Bytes) -> &'a str {
        match self {
            Self::InBody(range) => {
                std::str::from_utf8(&body[range.clone()]).expect("it was a `str` when the range was taken")
            }
            Self::Beside(text) => text,
        }
    }
}

/// Where in `body` the text stands that was borrowed from it.
fn offset(body: &Bytes, text: &str) -> usize {
    text.as_ptr() as usize - body.as_ptr() as usize
}

/// Whether brackets are nested more than `depth_max` deep in a text that is known to be JSON.
fn is_deeper_than(json: &[u8], depth_max: usize) -> bool {
    // With few brackets in all there is nothing to find out, and counting is much quicker than following: in pieces
    // whose count fits a byte, the compiler counts many at once.
    let count = |piece: &[u8]| piece.iter().map(|byte| u8::from(matches!(byte, b'{' | b'['))).sum::<u8>();
    let opening: usize = json.chunks(usize::from(u8::MAX)).map(|piece| usize::from(count(piece))).sum();
    if opening <= depth_max {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth -= 1,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 1 << 20;

    fn parsed(body: &str) -> Result<Notification, Malformed> {
        parse(&Bytes::copy_from_slice(body.as_bytes()), BYTES_MAX)
    }

    #[test]
    fn the_three_values_are_read_as_they_were_published() {
        let body = r#"{"routing_key": "Resource", "payload": {"id": "r1", "x": 1.0e3,  "package_id":"p\u0031"}, "operation": "changed", "meta": {}}"#;
        let notification = parsed(body).unwrap();
        assert_eq!(notification.routing_key(), "Resource");
        assert_eq!(notification.operation(), "changed");
        assert_eq!(notification.payload(), br#"{"id": "r1", "x": 1.0e3,  "package_id":"p\u0031"}"#);
        assert_eq!(notification.entity_id(), Some("r1"));
        assert_eq!(notification.package_id(), Some("p1"));
    }

    #[test]
    fn a_change_to_the_state_deleted_is_a_deletion_and_the_payload_is_as_it_was_published() {
        let body = r#"{"routing_key":"Package","operation":"changed","payload":{"id":"p1","state":"deleted"}}"#;
        let notification = parsed(body).unwrap();
        assert_eq!(notification.operation(), "deleted");
        assert_eq!(notification.payload(), br#"{"id":"p1","state":"deleted"}"#);
        assert_eq!(notification.body(), body);
    }

    #[test]
    fn who_wrote_it_stands_in_the_meta() {
        let origin = |meta: &str| {
            let body = format!(r#"{{"routing_key":"Package","operation":"changed","payload":{{"id":"p1"}}{meta}}}"#);
            parsed(&body).unwrap().origin()
        };
        assert_eq!(origin(r#","meta":{"id":"1","origin":"here;archive"}"#).as_deref(), Some("here;archive"));
        for without in ["", r#","meta":null"#, r#","meta":{"origin":null}"#, r#","meta":{"origin":7}"#, r#","meta":[]"#]
        {
            assert_eq!(origin(without), None, "{without}");
        }
    }

    #[test]
    fn a_resource_goes_by_the_lane_of_its_dataset() {
        let package = parsed(r#"{"routing_key":"Package","operation":"new","payload":{"id":"p1"}}"#).unwrap();
        let resource =
            parsed(r#"{"routing_key":"Resource","operation":"new","payload":{"id":"r1","package_id":"p1"}}"#).unwrap();
        let other = parsed(r#"{"routing_key":"Package","operation":"new","payload":{"id":"p2"}}"#).unwrap();
        let nobody = parsed(r#"{"routing_key":"Package","operation":"new","payload":{}}"#).unwrap();
        assert_eq!(package.lane(), resource.lane());
        assert_ne!(package.lane(), other.lane());
        assert_eq!(nobody.lane(), None);
    }

    #[track_caller]
    fn refused(body: &[u8], expected: &str) {
        let error = parse(&Bytes::copy_from_slice(body), BYTES_MAX).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_not_of_the_published_shape_is_refused() {
        refused(b"", "empty");
        refused(b"not json", "got: \"not json\"");
        refused(b"[]", "got: \"[]\"");
        refused(br#"["Package","new",{"id":"p1"}]"#, "got: \"[");
        refused(br#"{"routing_key":"Package""#, "EOF while parsing");
        refused(b"null", "got: \"null\"");
        refused(b"7", "got: \"7\"");
        refused(br#"{"routing_key":"Package","operation":"new"}"#, "missing field `payload`");
        refused(br#"{"routing_key":7,"operation":"new","payload":{}}"#, "invalid type: integer `7`");
        refused(br#"{"routing_key":"Package","operation":"new","payload":[]}"#, "a payload that is not an object");
        refused(br#"{"routing_key":"Package","operation":"new","payload":{"a":}}"#, "expected value");
        refused(br#"{"routing_key":"P","operation":"n","operation":"n","payload":{}}"#, "duplicate field");
        refused(b"{\"routing_key\":\"P\xff\",\"operation\":\"n\",\"payload\":{}}", "invalid unicode");
        refused(b"{\"routing_key\":\"P\",\"operation\":\"n\",\"payload\":{\"a\":\"\xff\"}}", "invalid unicode");
        refused(b"\xef\xbb\xbf{}", "{}");
        refused(b"   ", "got: \"   \"");
        refused(&vec![b' '; BYTES_MAX + 1], "more than `body_bytes_max`");
    }

    #[test]
    fn nesting_counts_only_outside_of_texts() {
        let deep = |depth: usize| {
            let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
            format!(r#"{{"routing_key":"P","operation":"n","payload":{{"a":{open}{close}}}}}"#)
        };
        assert!(parsed(&deep(DEPTH_MAX)).is_ok());
        assert_eq!(parsed(&deep(DEPTH_MAX + 1)).unwrap_err(), Malformed::TooDeep);
        assert_eq!(parsed(&deep(100_000)).unwrap_err(), Malformed::TooDeep);
        let flat = format!(r#"{{"routing_key":"P","operation":"n","payload":{{"a":"{}\"["}}}}"#, "[{".repeat(500));
        assert!(parsed(&flat).is_ok());
    }
}
