//! What can go wrong with a request, in the words that portals' editors get to see.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use url::Url;

use super::link::{invalid, shown};
use crate::services::Failure;
use crate::services::address::Forbidden;
use crate::services::http::{self, Response, Trouble};

/// An answer whose status is no good.
pub(super) fn status(response: &Response) -> Failure {
    let status = response.status();
    let line = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let message = format!("Server reported status error: {}", line.trim_end());
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    let mut failure =
        if passing { Failure::retryable("fetch.status", message) } else { Failure::permanent("fetch.status", message) };
    failure.retry_after = http::retry_after(response.headers(), Timestamp::now()).filter(|_| passing);
    failure
}

/// A body that is too long, as was announced or as was found.
pub(super) fn too_large(bytes: u64, bytes_max: u64, announced: bool) -> Failure {
    let message = if announced {
        format!("Content-length {bytes} exceeds maximum allowed value {bytes_max}")
    } else {
        format!("Content-length exceeds maximum allowed value {bytes_max}, found while reading")
    };
    let detail = json!({ "bytes": bytes, "bytes_max": bytes_max }).to_string();
    Failure { detail, ..Failure::permanent("fetch.too-large", message) }
}

/// Something took too long.
pub(super) fn timed_out(after: Duration, what: &str) -> Failure {
    let colon = if what.is_empty() { "" } else { ": " };
    Failure::retryable("fetch.timeout", format!("Connection timed out after {}s{colon}{what}", after.as_secs_f64()))
}

/// The file cannot be written.
pub(super) fn disk(dir: &Path, error: &std::io::Error) -> Failure {
    Failure::retryable("fetch.disk", format!("cannot write to {}: {error}", dir.display()))
}

/// The server is asked by too many already, or wants to be left alone.
pub(super) fn host_busy(url: &Url, wait: Duration, why: &str) -> Failure {
    let host = url.host_str().unwrap_or_default();
    let message = format!("{host} is left alone for {}s: {why}", wait.as_secs_f64().ceil());
    Failure { retry_after: Some(wait), ..Failure::retryable("fetch.host-busy", message) }
}

/// A redirect that is not followed.
pub(super) fn redirects(what: &str) -> Failure {
    Failure::permanent("fetch.redirects", format!("Too many redirects: {what}"))
}

/// A link leads where nothing may be asked.
pub(super) fn forbidden(forbidden: &Forbidden, url: &Url) -> Failure {
    match forbidden {
        Forbidden::Address { host, address, kind } => {
            // Where a name leads inside of a network is for its operators alone.
            tracing::warn!("not fetched: {forbidden}; if it is meant, name its network in `fetch.allow`");
            let leads = if *host == address.to_string() { "is" } else { "leads to" };
            let message = format!("URL invalid: forbidden address: {host} {leads} {kind}");
            Failure::permanent("fetch.forbidden-address", message)
        }
        Forbidden::Port { host } => {
            let port = url.port_or_known_default().unwrap_or_default();
            tracing::warn!(
                "not fetched: port {port} of {host}; if it is meant, add it to `fetch.ports`, or the host's network to \
                 `fetch.allow`"
            );
            let message = format!("URL invalid: forbidden port: {port} of {host}");
            Failure::permanent("fetch.forbidden-port", message)
        }
    }
}

/// No answer came from `url`, within the time that connecting may take.
pub(super) fn no_answer(trouble: Trouble, url: &Url, connect: Duration) -> Failure {
    match trouble {
        Trouble::Forbidden(reason) => forbidden(&reason, url),
        Trouble::Timeout => timed_out(connect, "no connection came about"),
        Trouble::Connect(reason) => Failure::retryable("fetch.connect", format!("Connection error: {reason}")),
        Trouble::Tls { reason, lasting: true } => Failure::permanent("fetch.tls", format!("TLS error: {reason}")),
        Trouble::Tls { reason, lasting: false } => Failure::retryable("fetch.tls", format!("TLS error: {reason}")),
        Trouble::Unsendable(reason) => invalid(format!("URL parsing failure: {reason}: {}", shown(url))),
        Trouble::Broken(reason) => Failure::retryable("fetch.read", format!("the answer cannot be read: {reason}")),
    }
}

/// The connection broke off in the middle of the body.
pub(super) fn broken_off(trouble: Trouble, bytes: u64) -> Failure {
    let reason = match trouble {
        Trouble::Broken(reason)
        | Trouble::Connect(reason)
        | Trouble::Unsendable(reason)
        | Trouble::Tls { reason, .. } => reason,
        Trouble::Timeout => "it took too long".to_owned(),
        Trouble::Forbidden(forbidden) => forbidden.to_string(),
    };
    Failure::retryable("fetch.read", format!("the connection broke off after {bytes} bytes: {reason}"))
}
