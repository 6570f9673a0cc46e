//! What a message was published with.

use std::sync::Arc;
use std::time::SystemTime;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};

use crate::delivery::{Origin, Past};

/// What all headers of ours begin with.
pub(super) const PREFIX: &str = "x-ckan-worker-";

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

    /// The publisher's name for the message.
    pub fn message_id(&self) -> Option<&str> {
        self.text("id").or_else(|| self.basic.message_id().as_ref().map(ShortString::as_str))
    }

    /// What became of it before, if it is a copy for one worker.
    pub fn past(&self) -> Option<Past> {
        let mut past = Past::none(self.text("only")?, SystemTime::now());
        if let Some(AMQPValue::LongUInt(attempts)) = self.header("attempt") {
            past.attempts = *attempts;
        }
        Some(past)
    }

    /// As what everybody but the source sees of it.
    pub fn into_origin(self) -> Origin {
        Arc::new(self)
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.header(name)? {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            _ => None,
        }
    }

    fn header(&self, name: &str) -> Option<&AMQPValue> {
        let headers = self.basic.headers().as_ref()?;
        headers.inner().iter().find(|(key, _)| key.as_str().strip_prefix(PREFIX) == Some(name)).map(|(_, value)| value)
    }
}
