//! A notification as a CloudEvent.

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::payload::Payload;

const NAME_CHARS_MAX: usize = 200;

/// A notification as it is told to others.
pub struct Event<'a> {
    /// Where it comes from: the setting `source`.
    pub source: &'a str,
    /// What happened, as in `org.ckan.package.changed`.
    pub kind: String,
    /// The id of what it happened to.
    pub subject: Option<&'a str>,
    /// When that was changed, as the payload says.
    pub time: Option<String>,
    /// The JSON of what it happened to.
    pub payload: &'a Payload<'a>,
    notification: Notification<'a>,
}

/// A CloudEvent in JSON.
#[derive(Serialize)]
pub struct Envelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

impl<'a> Event<'a> {
    /// Reads a notification.
    pub fn of(notification: Notification<'a>, payload: &'a Payload<'a>, source: &'a str) -> Self {
        let word = |text: &str| -> String {
            let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
            text.chars().map(plain).take(64).collect()
        };
        Self {
            source,
            kind: format!("org.ckan.{}.{}", word(notification.routing_key()), word(notification.operation())),
            subject: notification.entity_id().ok(),
            time: payload.text("metadata_modified").and_then(|text| utc(&text)),
            payload,
            notification,
        }
    }

    /// The id of this event for a target. It stays the same when the same is said again, so that a receiver knows it.
    pub fn id_for(&self, target: &str) -> String {
        let mut hash = Sha256::new();
        let notification = self.notification;
        let parts = [target, notification.routing_key(), notification.operation()].map(str::as_bytes);
        for part in parts.into_iter().chain([notification.payload()]) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digits = hash.finalize().iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        format!("ckan-{digits}")
    }

    /// The event with its data in it.
    pub fn envelope<'b>(&'b self, id: &'b str, data: &'b RawValue) -> Envelope<'b> {
        Envelope {
            specversion: "1.0",
            id,
            source: self.source,
            kind: &self.kind,
            subject: self.subject,
            time: self.time.as_deref(),
            datacontenttype: "application/json",
            data,
        }
    }

    /// What happened, in words: `Dataset "Trees" changed`.
    pub fn sentence(&self) -> String {
        let class = match self.notification.routing_key() {
            "Package" => "Dataset",
            other => other,
        };
        let is_deleted = self.payload.text("state").is_some_and(|state| state == "deleted");
        let happened = match self.notification.operation() {
            _ if is_deleted => "deleted",
            "new" => "added",
            other => other,
        };
        let named = ["title", "name"].into_iter().find_map(|field| self.payload.text(field));
        let name: String = match (&named, self.subject) {
            (Some(name), _) => one_line(name).chars().take(NAME_CHARS_MAX).collect(),
            (None, subject) => one_line(subject.unwrap_or("without an id")),
        };
        format!("{} \"{name}\" {}", one_line(class), one_line(happened))
    }

    /// The page of what it happened to, if the payload has its address.
    pub fn link(&self) -> Option<String> {
        let url = Url::parse(&self.payload.text("ckan_url")?).ok()?;
        matches!(url.scheme(), "http" | "https").then(|| url.to_string())
    }
}

/// A time of CKAN's, which is in UTC and does not say so, in the form of RFC 3339.
fn utc(text: &str) -> Option<String> {
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?,
    };
    Some(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_ckan_are_in_utc() {
        assert_eq!(utc("2026-01-31T12:00:00.123456").as_deref(), Some("2026-01-31T12:00:00.123456Z"));
        assert_eq!(utc("2026-01-31 12:00:00").as_deref(), Some("2026-01-31T12:00:00Z"));
        assert_eq!(utc("2026-01-31T12:00:00+02:00").as_deref(), Some("2026-01-31T10:00:00Z"));
        assert_eq!(utc("yesterday"), None);
    }
}
