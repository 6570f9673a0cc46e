//! The one door to HTTP: builds the clients, reads answers under a limit, and says in words what went wrong.

mod names;
mod stranger;
mod tls;
mod verify;

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
pub use reqwest::dns::{Addrs, Name, Resolve, Resolving};
pub(super) use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
pub(super) use reqwest::{Body, Client, Error, Method, RequestBuilder, Response, StatusCode, multipart};

pub use self::names::SystemNames;
pub(super) use self::stranger::{Manners, open_client, proxied_client};
use super::address::Forbidden;

/// How long opening a connection may take; a host that is switched off does not hold a run for longer.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a connection may lie idle before it is closed; shorter than most servers wait.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// The longest wait that another side can ask of us.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Builds the client that talks to the portal, and to nobody else.
///
/// # Errors
/// If the system's TLS roots cannot be read.
pub(super) fn portal_client(timeout: Duration) -> Result<Client, Error> {
    builder().user_agent(concat!("ckan-worker/", env!("CARGO_PKG_VERSION"))).timeout(timeout).build()
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // A proxy resolves names itself, out of the guard's sight, and would see the token.
        .no_proxy()
        // Who follows a redirect must vet it first; see `fetch`.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_MAX)
        .pool_idle_timeout(IDLE_MAX)
}

/// Why an exchange did not come to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The address must not be connected to.
    Forbidden(Forbidden),
    /// It took too long.
    Timeout,
    /// No connection came about; the reason in words.
    Connect(String),
    /// No secure connection came about; the reason in words, and whether it will stay so.
    Tls { reason: String, lasting: bool },
    /// The request cannot be written down as HTTP.
    Unsendable(String),
    /// The connection broke, or what came over it is not HTTP.
    Broken(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let mut deepest = String::new();
        for cause in causes(&error) {
            if let Some(forbidden) = cause.downcast_ref::<Forbidden>() {
                return Self::Forbidden(forbidden.clone());
            }
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                let (reason, lasting) = tls::reason(tls);
                return Self::Tls { reason, lasting };
            }
            deepest = cause.to_string();
        }
        match &error {
            error if error.is_timeout() => Self::Timeout,
            error if error.is_connect() => Self::Connect(deepest),
            error if error.is_builder() => Self::Unsendable(deepest),
            _ => Self::Broken(deepest),
        }
    }
}

/// What lies behind an error, the nearest cause first; without its own text, which may contain the whole address.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause| next_cause(*cause))
}

fn next_cause<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match cause.downcast_ref::<io::Error>() {
        // An I/O error leaves out the error it wraps when asked for its source.
        Some(wrapper) => wrapper.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => cause.source(),
    }
}

/// Why an answer was not read to its end.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is longer than the limit.
    TooLarge,
    /// The connection failed.
    Broken(Error),
}

/// Reads an answer into memory; an answer that came in one piece is not copied.
pub(super) async fn read(mut response: Response, bytes_max: usize) -> Result<Bytes, Unread> {
    if response.content_length().is_some_and(|length| length > bytes_max as u64) {
        return Err(Unread::TooLarge);
    }
    let Some(first) = response.chunk().await.map_err(Unread::Broken)? else { return Ok(Bytes::new()) };
    let Some(second) = response.chunk().await.map_err(Unread::Broken)? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity((first.len() + second.len()) * 2);
    whole.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if whole.len() + chunk.len() > bytes_max {
            return Err(Unread::TooLarge);
        }
        whole.extend_from_slice(&chunk);
        next = response.chunk().await.map_err(Unread::Broken)?;
    }
    Ok(whole.freeze())
}

/// How long the other side asks us to wait, at most a day; it may say so in seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // A number that does not fit is still a very long time.
        text.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// Makes text from outside fit for a log line: no control characters, at most `chars_max` characters.
pub(super) fn plain(text: &str, chars_max: usize) -> String {
    let mut words = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut plain: String = words.by_ref().take(chars_max).collect();
    if words.next().is_some() {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<u64>) {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
        assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
    }

    #[test]
    fn a_wait_is_understood_in_seconds_and_as_a_date_and_is_at_most_a_day() {
        check("120", Some(120));
        check("0", Some(0));
        check("1000000000", Some(86_400));
        check("99999999999999999999999999", Some(86_400));
        check("Thu, 01 Jan 2026 00:01:00 GMT", Some(60));
        check("Thu, 01 Jan 2037 00:00:00 GMT", Some(86_400));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(0));
        check("soon", None);
        check("-5", None);
        check("", None);
    }

    #[test]
    fn text_from_outside_becomes_one_short_line() {
        assert_eq!(plain("a\r\nb\u{1b}[0m", 100), "a  b [0m");
        assert_eq!(plain("abcdef", 3), "abc…");
    }
}
