//! The fields of a payload, read without changing a byte of them.

use std::borrow::Cow;
use std::fmt;

use ckan_worker_plugin::prelude::*;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// What only sysadmins see of a dataset in CKAN, and what it announces all the same.
const INTERNAL: &str = "plugin_data";

/// A payload: the JSON as it was published, and its fields.
pub struct Payload<'a> {
    whole: &'a RawValue,
    /// In their order; what is no object has none. A name may stand there twice.
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Payload<'a> {
    /// Reads the payload of a notification.
    ///
    /// # Errors
    /// It is not JSON, or the name of a field is not a text. The error is permanent.
    pub fn of(notification: Notification<'a>) -> Result<Self> {
        let whole: &RawValue = notification.json()?;
        if !whole.get().starts_with('{') {
            return Ok(Self { whole, fields: Vec::new() });
        }
        // A name that cannot be read might be that of a field which must not leave the house.
        let Fields(fields) = notification.json()?;
        Ok(Self { whole, fields })
    }

    /// All values of a field that can be read so; one of another shape counts as `None`.
    pub fn all<T: Deserialize<'a>>(&self, name: &str) -> impl Iterator<Item = Option<T>> {
        self.fields.iter().filter(move |(key, _)| key == name).map(|(_, value)| serde_json::from_str(value.get()).ok())
    }

    /// The text in a field; `None` if there is none, or an empty one.
    pub fn text(&self, name: &str) -> Option<String> {
        self.all::<String>(name).flatten().find(|text| !text.trim().is_empty())
    }

    /// The JSON as it may leave the house: byte for byte, or, `without_internal`, all fields but what is CKAN's own.
    pub fn data(&self, without_internal: bool) -> Cow<'a, RawValue> {
        if !without_internal || self.fields.iter().all(|(name, _)| name != INTERNAL) {
            return Cow::Borrowed(self.whole);
        }
        let fields = self.fields.iter().filter(|(name, _)| name != INTERNAL);
        let fields: Vec<String> = fields.map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        let text = format!("{{{}}}", fields.join(","));
        Cow::Owned(RawValue::from_string(text).expect("it is made of JSON"))
    }
}

struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A text, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
