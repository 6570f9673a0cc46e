//! Reads what CKAN answers: the JSON of `result`, or a failure by status *and* `__type`.
//!
//! Neither alone is enough: a 409 may be a wrong field, a lost race or a search engine that is down; a 400 may be a
//! bare JSON text; and whatever stands in front of CKAN answers in HTML.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{CONFIG, LOST_RACE, NOT_AUTHORIZED, NOT_FOUND, RATE_LIMITED, SEARCH, SERVER, UNAVAILABLE};
use crate::services::Failure;
use crate::services::http::{self, HeaderMap, StatusCode, header, plain};

/// How much of the portal's own words goes into a message.
const WORDS_CHARS_MAX: usize = 300;
/// How much of CKAN's `error` object is handed on.
const DETAIL_BYTES_MAX: usize = 16 * 1024;
/// CKAN announces a dataset before it has saved it; what is not there yet mostly is after this time.
const NOT_YET_THERE: Duration = Duration::from_millis(100);

/// CKAN's envelope around every answer.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    success: bool,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Value>,
}

/// Takes the `result` out of an answer; it shares the answer's memory.
pub(super) fn result(name: &str, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Failure> {
    if !status.is_success() {
        return Err(refused(name, status, headers, body));
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) else {
        return Err(incompatible(
            name,
            "the answer is not what CKAN's action API gives; does `ckan.site_url` name a CKAN?",
        ));
    };
    match envelope {
        Envelope { success: true, result: Some(result), .. } => Ok(body.slice_ref(result.get().as_bytes())),
        // `result: null` and no `result` look the same here, and mean the same.
        Envelope { success: true, result: None, .. } => Ok(Bytes::from_static(b"null")),
        Envelope { success: false, error, .. } => {
            let mut failure = incompatible(name, "CKAN reports a failure with a status that means success");
            failure.detail = error.map(|error| detail(&error)).unwrap_or_default();
            Err(failure)
        }
    }
}

/// An answer that CKAN does not give.
pub(super) fn incompatible(name: &str, reason: &str) -> Failure {
    Failure::permanent("ckan.incompatible", format!("{name}: {}", plain(reason, WORDS_CHARS_MAX)))
}

/// An answer that is longer than we take.
pub(super) fn too_long(name: &str, bytes_max: usize) -> Failure {
    let mebibytes = bytes_max / (1024 * 1024);
    Failure::permanent(
        "ckan.too-large",
        format!("{name}: CKAN's answer is longer than {mebibytes} MiB; ask for less at once, as with `rows`"),
    )
}

/// What CKAN, or something in front of it, says in a refusal.
enum Said {
    /// CKAN's `error` object.
    Error(Map<String, Value>),
    /// A bare text.
    Text(String),
    /// Nothing that CKAN would say: HTML, most often.
    Foreign,
}

impl Said {
    fn read(body: &[u8]) -> Self {
        if let Ok(Envelope { error: Some(error), .. }) = serde_json::from_slice(body) {
            return match error {
                Value::Object(error) => Self::Error(error),
                Value::String(text) => Self::Text(text),
                other => Self::Text(other.to_string()),
            };
        }
        serde_json::from_slice(body).map_or(Self::Foreign, Self::Text)
    }

    fn kind(&self) -> &str {
        match self {
            Self::Error(error) => error.get("__type").and_then(Value::as_str).unwrap_or_default(),
            Self::Text(_) | Self::Foreign => "",
        }
    }

    fn is_lost_race(&self) -> bool {
        matches!(self, Self::Error(error) if error.contains_key("match"))
    }

    fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign)
    }

    /// The portal's own words, on one short line.
    fn words(&self) -> String {
        let words = match self {
            Self::Error(error) => match error.get("message").and_then(Value::as_str) {
                Some(message) => message.to_owned(),
                None => fields(error),
            },
            Self::Text(text) => text.clone(),
            Self::Foreign => "the answer is not CKAN's but of something in front of it".to_owned(),
        };
        plain(&words, WORDS_CHARS_MAX)
    }
}

fn refused(name: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    if status.is_redirection() {
        return redirected(name, headers);
    }
    let said = Said::read(body);
    let (code, passing, what) = classify(status, &said);
    let message = format!("{name}: {what}: {} (HTTP {})", said.words(), status.as_u16());
    let mut failure = if passing { Failure::retryable(code, message) } else { Failure::permanent(code, message) };
    failure.retry_after = match code {
        NOT_FOUND => Some(NOT_YET_THERE),
        _ if passing => http::retry_after(headers, Timestamp::now()),
        _ => None,
    };
    if let Said::Error(error) = said {
        failure.detail = detail(&Value::Object(error));
    }
    failure
}

/// The table: the code, whether the failure may pass, and what it means.
fn classify(status: StatusCode, said: &Said) -> (&'static str, bool, &'static str) {
    match (status.as_u16(), said.kind()) {
        (401 | 403, _) => (
            NOT_AUTHORIZED,
            false,
            "CKAN does not allow it; is the token in `ckan.api_key` valid, with the rights for this",
        ),
        (404, _) if said.is_foreign() => {
            (CONFIG, false, "there is no CKAN at this address; does `ckan.site_url` lack a path")
        }
        (404, _) => (NOT_FOUND, true, "CKAN does not have it"),
        (405, _) => (CONFIG, false, "this address does not take calls; is `ckan.site_url` right"),
        (409, "Search Error") => (SEARCH, true, "CKAN's search failed"),
        (409, _) if said.is_lost_race() => (LOST_RACE, true, "somebody else was faster; read it again"),
        (409, "Validation Error") => ("ckan.validation", false, "CKAN finds the values invalid"),
        (413, _) => ("ckan.too-large", false, "the request is too large for the portal"),
        (429, _) => (RATE_LIMITED, true, "the portal asks for fewer requests"),
        (408 | 425 | 502..=504, _) => (UNAVAILABLE, true, "the portal is not available"),
        (500..=599, _) => (SERVER, true, "CKAN failed"),
        (400..=499, _) => ("ckan.bad-request", false, "CKAN does not understand the request"),
        _ => ("ckan.incompatible", false, "this status is none that CKAN gives"),
    }
}

/// Following would carry the token to another address, and turn a POST into a GET.
fn redirected(name: &str, headers: &HeaderMap) -> Failure {
    let to = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let site = to.split(['?', '#']).next().unwrap_or_default();
    let site = site.split_once("/api/3/action").map_or(site, |(site, _)| site);
    let hint = match site.split_once("://") {
        Some((_, host)) if !host.contains('@') => format!("; write `{}` to `ckan.site_url`", plain(site, 200)),
        _ => "; write the address it redirects to, often https://…, to `ckan.site_url`".to_owned(),
    };
    Failure::permanent(CONFIG, format!("{name}: the portal redirects calls elsewhere, which is not followed{hint}"))
}

/// `{"size": ["Invalid integer"]}` as `size: Invalid integer`.
fn fields(error: &Map<String, Value>) -> String {
    let mut line = String::new();
    for (field, problem) in error.iter().filter(|(field, _)| *field != "__type") {
        let separator = if line.is_empty() { "" } else { "; " };
        let texts: Option<Vec<&str>> = problem.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        // Writing to a `String` cannot fail.
        let _ = match texts {
            Some(texts) => write!(line, "{separator}{field}: {}", texts.join(", ")),
            None => write!(line, "{separator}{field}: {problem}"),
        };
    }
    line
}

/// CKAN's `error` object as it is; of one that is too long only its kind and the beginning of its message.
fn detail(error: &Value) -> String {
    let whole = error.to_string();
    if whole.len() <= DETAIL_BYTES_MAX {
        return whole;
    }
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(|text| plain(text, WORDS_CHARS_MAX));
    json!({ "__type": text("__type"), "message": text("message"), "truncated": true }).to_string()
}
