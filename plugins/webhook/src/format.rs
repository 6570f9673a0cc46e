//! The forms in which an event is posted.

use ckan_worker_plugin::prelude::*;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::event::Event;

/// What CloudEvents has encoded in the values of headers.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The form in which a target wants events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A CloudEvent, all of it in the body.
    #[default]
    CloudEvents,
    /// A CloudEvent whose body is the payload, the rest in headers.
    Binary,
    /// A sentence, as Slack, Mattermost and Rocket.Chat take it.
    Slack,
    /// A card with a sentence, as Teams takes it.
    Teams,
}

/// What is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// `Content-Type` and what goes with it.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Format {
    /// Reads its name.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn read(name: &str) -> Result<Self, String> {
        match name {
            "cloudevents" => Ok(Self::CloudEvents),
            "binary" => Ok(Self::Binary),
            "slack" => Ok(Self::Slack),
            "teams" => Ok(Self::Teams),
            _ => Err(format!("expected one of cloudevents, binary, slack, teams for `format`, got {name:?}")),
        }
    }

    /// Writes an event so, with the fields of its payload that only sysadmins see or without them.
    ///
    /// # Errors
    /// None that is known of: what is written is made of texts and JSON.
    pub fn write(self, event: &Event<'_>, id: &str, plugin_data: bool) -> Result<Content> {
        let data = event.payload.data(!plugin_data);
        let (kind, body, more) = match self {
            Self::CloudEvents => {
                let body = serde_json::to_vec(&event.envelope(id, &data))?;
                ("application/cloudevents+json; charset=utf-8", body, Vec::new())
            }
            Self::Binary => ("application/json", data.get().as_bytes().to_vec(), attributes(event, id)),
            Self::Slack => ("application/json", serde_json::to_vec(&json!({ "text": for_slack(event) }))?, Vec::new()),
            Self::Teams => ("application/json", serde_json::to_vec(&for_teams(event))?, Vec::new()),
        };
        let mut headers = vec![("Content-Type", kind.to_owned())];
        headers.extend(more);
        Ok(Content { headers, body })
    }
}

/// The attributes of an event as headers.
fn attributes(event: &Event<'_>, id: &str) -> Vec<(&'static str, String)> {
    let present = [
        ("ce-specversion", Some("1.0")),
        ("ce-id", Some(id)),
        ("ce-source", Some(event.source)),
        ("ce-type", Some(event.kind.as_str())),
        ("ce-subject", event.subject),
        ("ce-time", event.time.as_deref()),
    ];
    let encoded = |value: &str| utf8_percent_encode(value, IN_HEADER).to_string();
    present.into_iter().filter_map(|(name, value)| Some((name, encoded(value?)))).collect()
}

/// `&`, `<` and `>` would be markup there, and could call everybody in the channel.
fn for_slack(event: &Event<'_>) -> String {
    let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    match event.link() {
        None => plain(&event.sentence()),
        Some(link) => format!("{}: <{}>", plain(&event.sentence()), plain(&link)),
    }
}

/// The sentence is a `TextRun`, in which nothing is markup.
fn for_teams(event: &Event<'_>) -> Value {
    let open = |url| json!({ "type": "Action.OpenUrl", "title": "Open", "url": url });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.3",
                "body": [{
                    "type": "RichTextBlock",
                    "inlines": [{ "type": "TextRun", "text": event.sentence() }],
                }],
                "actions": event.link().map(open).into_iter().collect::<Vec<Value>>(),
            },
        }],
    })
}
