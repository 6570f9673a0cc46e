use std::borrow::Cow;
use std::fmt;

use ckan_worker_abi as abi;
use serde::Deserialize;

use crate::{Error, Result};

/// What CKAN said: that an entity is new, has changed, or was deleted.
///
/// The three values of the original worker are here as they were published: [`routing_key`](Self::routing_key),
/// [`operation`](Self::operation) and [`payload`](Self::payload).
///
/// CKAN announces a change *before* it is committed. Take a notification as a hint, and read what you act on from CKAN.
#[derive(Clone, Copy)]
pub struct Notification<'a> {
    delivery: &'a abi::Delivery<'a>,
}

impl<'a> Notification<'a> {
    #[doc(hidden)]
    pub fn from_abi(delivery: &'a abi::Delivery<'a>) -> Self {
        Self { delivery }
    }

    /// The class of what changed: `Package`, `Resource`, …
    pub fn routing_key(&self) -> &'a str {
        self.delivery.routing_key.as_str()
    }

    /// What happened to it: `new`, `changed` or `deleted`. What CKAN announced as `changed` with the state `deleted` is
    /// `deleted` here.
    pub fn operation(&self) -> &'a str {
        self.delivery.operation.as_str()
    }

    /// The JSON of the entity, byte for byte as it was published.
    pub fn payload(&self) -> &'a [u8] {
        self.delivery.payload.as_slice()
    }

    /// The payload as a type of yours.
    ///
    /// ```
    /// # use ckan_worker_plugin::prelude::*;
    /// #[derive(Deserialize)]
    /// struct Package<'a> { name: &'a str }
    ///
    /// fn name<'a>(notification: &Notification<'a>) -> Result<&'a str> {
    ///     Ok(notification.json::<Package>()?.name)
    /// }
    /// ```
    ///
    /// # Errors
    /// The payload does not have that shape. The error is permanent: it would never have.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T> {
        serde_json::from_slice(self.payload()).map_err(|error| {
            Error::permanent(format!("the payload of this {} notification: {error}", self.routing_key()))
                .with_code("payload")
        })
    }

    /// The id of what changed.
    ///
    /// # Errors
    /// The payload has no text `id`. The error is permanent.
    pub fn entity_id(&self) -> Result<&'a str> {
        self.attr("entity-id").ok_or_else(|| self.without("id"))
    }

    /// The id of the dataset that what changed belongs to; for a dataset its own.
    ///
    /// # Errors
    /// The payload names no dataset. The error is permanent.
    pub fn package_id(&self) -> Result<&'a str> {
        self.attr("package-id").ok_or_else(|| self.without("package_id"))
    }

    /// Which attempt of this worker at this notification this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.delivery.attempt
    }

    /// Whether this may have been delivered before; `false` means that it was not.
    pub fn redelivered(&self) -> bool {
        self.delivery.flags & abi::Delivery::REDELIVERED != 0
    }

    /// Whether this is a dry run: the host writes nothing to CKAN and remembers nothing. A worker that changes something
    /// elsewhere, as a file or another service, leaves that alone, too, and logs what it would do.
    pub fn is_dry_run(&self) -> bool {
        self.attr("dry-run").is_some()
    }

    fn attr(self, key: &str) -> Option<&'a str> {
        self.delivery.attrs.iter().find(|attr| attr.key.as_str() == key).map(|attr| attr.value.as_str())
    }

    fn without(self, field: &'static str) -> Error {
        let message: Cow<'_, str> =
            format!("the payload of this {} notification has no text {field:?}", self.routing_key()).into();
        Error::permanent(message).with_code("payload")
    }
}

impl fmt::Debug for Notification<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Notification")
            .field("routing_key", &self.routing_key())
            .field("operation", &self.operation())
            .field("payload_bytes", &self.payload().len())
            .field("attempt", &self.attempt())
            .finish()
    }
}
