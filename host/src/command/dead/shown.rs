//! Dead letters as they are shown: a table, a page, JSON.

use std::io::{self, Write};
use std::time::SystemTime;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use crate::config::Config;
use crate::notification;
use crate::source::DeadLetter;

/// The version of the JSON documents; fields are only ever added to it.
const SCHEMA: &str = "ckan-worker/1";

/// How much of an error stands in a table.
const ERROR_SHOWN: usize = 60;

/// All that is known of a dead letter but its body.
#[derive(Serialize)]
pub struct Facts {
    id: String,
    worker: Option<String>,
    reason: String,
    error: String,
    attempts: u32,
    hops: u32,
    replayed: u32,
    first_seen: Option<String>,
    died: Option<String>,
    routing_key: Option<String>,
    operation: Option<String>,
    entity_id: Option<String>,
    body_bytes: usize,
}

/// The same with the body, byte for byte.
#[derive(Serialize)]
pub struct Whole {
    #[serde(flatten)]
    facts: Facts,
    /// As text, if it is JSON in UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize)]
struct Document<'a, T> {
    schema: &'static str,
    queue: &'a str,
    address: String,
    letters: &'a [T],
}

impl Facts {
    /// What is known of a letter.
    pub fn of(letter: &DeadLetter) -> Self {
        let notification = notification::parse(&letter.body, usize::MAX).ok();
        let of_body = notification.as_ref().map(|notification| notification.routing_key().to_owned());
        Self {
            id: letter.id.clone(),
            worker: letter.worker.clone(),
            reason: letter.reason.clone(),
            error: letter.error.clone(),
            attempts: letter.attempts,
            hops: letter.hops,
            replayed: letter.replayed,
            first_seen: letter.first_seen.and_then(written),
            died: letter.died.and_then(written),
            routing_key: letter.routing_key.clone().or(of_body),
            operation: notification.as_ref().map(|notification| notification.operation().to_owned()),
            entity_id: notification.as_ref().and_then(|notification| notification.entity_id()).map(str::to_owned),
            body_bytes: letter.body.len(),
        }
    }

    /// What it is about: the class, what happened, to whom.
    fn about(&self) -> String {
        let words = [&self.routing_key, &self.operation, &self.entity_id];
        words.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

impl Whole {
    /// A letter with its body.
    pub fn of(letter: &DeadLetter) -> Self {
        let text = std::str::from_utf8(&letter.body).ok();
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&letter.body).is_ok();
        let body = text.filter(|_| is_json).map(str::to_owned);
        let body_base64 = body.is_none().then(|| base64(&letter.body));
        Self { facts: Facts::of(letter), body, body_base64 }
    }
}

/// A time as it stands in JSON and tables: to the second, in UTC.
fn written(time: SystemTime) -> Option<String> {
    let time = Timestamp::try_from(time).ok()?;
    Timestamp::from_second(time.as_second()).ok().map(|time| time.to_string())
}

/// Prints letters as a table.
///
/// # Errors
/// Those of writing.
pub fn table(letters: &[Facts], out: &mut dyn Write) -> io::Result<()> {
    if letters.is_empty() {
        return writeln!(out, "No dead letters.");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "WORKER", "REASON", "ATTEMPTS", "DIED", "ABOUT", "ERROR"]);
    for letter in letters {
        let error = plain(&letter.error);
        let error = match error.char_indices().nth(ERROR_SHOWN) {
            Some((end, _)) => format!("{}…", &error[..end]),
            None => error,
        };
        table.add_row([
            plain(&letter.id),
            plain(letter.worker.as_deref().unwrap_or("-")),
            plain(&letter.reason),
            letter.attempts.to_string(),
            letter.died.clone().unwrap_or_else(|| "-".to_owned()),
            plain(&letter.about()),
            error,
        ]);
    }
    table.lines().try_for_each(|line| writeln!(out, "{}", line.trim()))
}

/// Prints all there is to know about each letter.
///
/// # Errors
/// Those of writing.
pub fn pages(letters: &[DeadLetter], out: &mut dyn Write) -> io::Result<()> {
    for (index, letter) in letters.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let facts = Facts::of(letter);
        let lines = [
            ("id", plain(&facts.id)),
            ("worker", facts.worker.as_deref().map_or_else(|| "- (it is for all of them)".to_owned(), plain)),
            ("reason", plain(&facts.reason)),
            ("error", plain(&facts.error)),
            ("attempts", facts.attempts.to_string()),
            ("sent on", format!("{} times", facts.hops)),
            ("replayed", format!("{} times", facts.replayed)),
            ("first seen", facts.first_seen.clone().unwrap_or_else(|| "-".to_owned())),
            ("died", facts.died.clone().unwrap_or_else(|| "-".to_owned())),
            ("about", plain(&facts.about())),
            ("body", format!("{} bytes", facts.body_bytes)),
        ];
        lines.iter().try_for_each(|(key, value)| writeln!(out, "{key:<11} {value}"))?;
        match std::str::from_utf8(&letter.body) {
            Ok(text) => writeln!(out, "\n{}", plain_lines(text))?,
            Err(_) => writeln!(out, "\nThe body is no text; `worker dead export` and --format json have its bytes.")?,
        }
    }
    Ok(())
}

/// Prints letters as one JSON document.
///
/// # Errors
/// Those of writing.
pub fn document<T: Serialize>(config: &Config, letters: &[T], out: &mut dyn Write) -> io::Result<()> {
    let (queue, address) = (config.queue.name.as_str(), config.queue.address.to_string());
    serde_json::to_writer_pretty(&mut *out, &Document { schema: SCHEMA, queue, address, letters })?;
    writeln!(out)
}

/// A text on one line, with nothing that a terminal would obey: strangers have written it.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn plain_lines(text: &str) -> String {
    let is_harmless = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    text.trim_end().chars().map(|letter| if is_harmless(letter) { letter } else { ' ' }).collect()
}

/// Bytes as text, as RFC 4648 says.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_everybody_reads_them() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (b"\xff\0\xfe", "/wD+"),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn a_stranger_cannot_talk_to_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\r\nc"), "a [2Jb  c");
        assert_eq!(plain_lines("a\x1b[2Jb\n\tc\n"), "a [2Jb\n\tc");
    }
}
