//! What the host reads from a payload: the ids of what changed, and whether it is gone. Shared with the test bench.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

/// The ids in a payload; `None` where it has none, or none that is a text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ids<'a> {
    /// The id of the entity itself.
    pub entity: Option<Cow<'a, str>>,
    /// The id of the dataset it belongs to; for a dataset its own.
    pub package: Option<Cow<'a, str>>,
}

/// Reads the ids from the JSON of a payload whose class is `routing_key`.
///
/// Reading stops as soon as both are found, so that a long payload costs no more than a short one.
pub fn ids<'a>(routing_key: &str, payload: &'a [u8]) -> Ids<'a> {
    let mut found = Found { wants_package: routing_key != "Package", entity: None, package: None };
    let mut reader = serde_json::Deserializer::from_slice(payload);
    // An error here only means that reading stopped early, or that the payload is not an object.
    let _ = reader.deserialize_map(&mut found);
    let Found { entity, package, wants_package } = found;
    if wants_package { Ids { entity, package } } else { Ids { package: entity.clone(), entity } }
}

const DELETED: &str = "deleted";

#[derive(serde::Deserialize)]
struct Entity<'a> {
    #[serde(borrow, default)]
    state: MaybeText<'a>,
}

/// What really happened to an entity: CKAN announces most deletions as `changed`, with the state `deleted`.
pub fn operation<'a>(published: &'a str, payload: &[u8]) -> &'a str {
    // Nearly no payload has the word in it, and that is seen at once.
    if published != "changed" || memchr::memmem::find(payload, DELETED.as_bytes()).is_none() {
        return published;
    }
    let entity = serde_json::from_slice::<Entity<'_>>(payload);
    let is_deleted = entity.is_ok_and(|entity| entity.state.0.as_deref() == Some(DELETED));
    if is_deleted { DELETED } else { published }
}

/// Whether a text is a UUID or a name as CKAN gives them, and so safe in a path or an address.
pub fn is_id(text: &str) -> bool {
    (2..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

struct Found<'a> {
    wants_package: bool,
    entity: Option<Cow<'a, str>>,
    package: Option<Cow<'a, str>>,
}

impl<'de> Visitor<'de> for &mut Found<'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an entity")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            match key.as_ref() {
                "id" => self.entity = map.next_value::<MaybeText<'de>>()?.0,
                "package_id" => self.package = map.next_value::<MaybeText<'de>>()?.0,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if self.entity.is_some() && (self.package.is_some() || !self.wants_package) {
                break;
            }
        }
        Ok(())
    }
}

/// A text, borrowed where it holds no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A text, or anything else, which counts as none.
#[derive(Default)]
struct MaybeText<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for MaybeText<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Either<'a> {
            Text(#[serde(borrow)] Cow<'a, str>),
            Other(IgnoredAny),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Text(text) => Some(text),
            Either::Other(IgnoredAny) => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(routing_key: &str, payload: &str, entity: Option<&str>, package: Option<&str>) {
        let ids = ids(routing_key, payload.as_bytes());
        assert_eq!((ids.entity.as_deref(), ids.package.as_deref()), (entity, package));
    }

    #[test]
    fn ids_are_found_wherever_they_stand() {
        check("Package", r#"{"id": "p1", "title": "x"}"#, Some("p1"), Some("p1"));
        check("Package", r#"{"resources": [{"id": "r"}], "id": "p1"}"#, Some("p1"), Some("p1"));
        check("Resource", r#"{"id": "r1", "package_id": "p1"}"#, Some("r1"), Some("p1"));
        check("Resource", r#"{"package_id": "p1", "x": [1, {}], "id": "r\u0031"}"#, Some("r1"), Some("p1"));
        check("Resource", r#"{"id": "r1"}"#, Some("r1"), None);
        check("Group", r#"{"id": "g1", "name": "x"}"#, Some("g1"), None);
    }

    #[test]
    fn a_change_to_the_state_deleted_is_a_deletion() {
        let check = |published, payload: &str, expected| assert_eq!(operation(published, payload.as_bytes()), expected);
        check("changed", r#"{"id": "p1", "state": "deleted"}"#, "deleted");
        check("new", r#"{"id": "p1", "state": "deleted"}"#, "new");
        check("changed", r#"{"id": "p1", "state": "active"}"#, "changed");
        check("changed", r#"{"id": "p1", "state": "active", "notes": "deleted"}"#, "changed");
        check("changed", r#"{"id": "p1", "resources": [{"state": "deleted"}]}"#, "changed");
        check("changed", r#"{"id": "p1", "state": ["deleted"]}"#, "changed");
        check("changed", r#"{"state": "deleted"#, "changed");
    }

    #[test]
    fn what_is_not_a_text_is_no_id() {
        check("Package", r#"{"id": 7}"#, None, None);
        check("Package", r#"{"id": null}"#, None, None);
        check("Package", "[]", None, None);
        check("Package", "null", None, None);
        check("Package", "", None, None);
    }
}
