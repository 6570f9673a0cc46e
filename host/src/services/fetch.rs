//! Fetches what strangers' addresses point to into files.
//!
//! One fetch: check the link, ask, follow redirects (each checked like the first link), look at the status and the
//! announced length, then stream into a file under the limit. Nothing is left behind when any of it fails, or when
//! the future is dropped.

mod landing;
mod link;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ckan_worker_plugin::Fetched;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::json;
use url::Url;

use self::landing::{Landed, Landing};
use self::link::{invalid, parse, redirect, shown};
use super::Failure;
use super::address::Guard;
use super::http::{self, HeaderMap, Response, StatusCode, SystemNames, Trouble, header, plain};
pub use super::http::{Addrs, Name, Resolve, Resolving};

/// How much of a header's value is kept.
const HEADER_CHARS_MAX: usize = 1000;

/// What may be fetched, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Networks that may be fetched from although they are private.
    pub allow: Vec<IpNet>,
    /// How long one fetch may take in all.
    pub timeout: Duration,
    /// How many redirects are followed.
    pub redirects_max: u32,
    /// What the other side is told about who asks.
    pub user_agent: String,
}

/// Why nothing can be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The user agent is no header, or the system's TLS roots cannot be read.
    #[error("cannot fetch with these settings; is `fetch.user_agent` one line of plain text?")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Fetches files from addresses that strangers typed; it never carries the portal's token.
#[derive(Debug)]
pub struct Fetcher {
    client: http::Client,
    guard: Guard,
    timeout: Duration,
    redirects_max: u32,
}

impl Fetcher {
    /// Makes a fetcher that resolves names as the system does.
    ///
    /// # Errors
    /// [`SetupError`] if no HTTP client can be made of the settings.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        Self::with_names(settings, Arc::new(SystemNames))
    }

    /// Makes a fetcher that asks `names` where a host is; what it answers is vetted all the same.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_names(settings: Settings, names: Arc<dyn Resolve>) -> Result<Self, SetupError> {
        let guard = Guard::new(settings.allow);
        let client = http::stranger_client(&settings.user_agent, guard.clone(), names)
            .map_err(|error| SetupError::Client(error.into()))?;
        Ok(Self { client, guard, timeout: settings.timeout, redirects_max: settings.redirects_max })
    }

    /// Fetches `url` into a new file in `dir`, at most `bytes_max` bytes; the caller owns the file from then on.
    ///
    /// # Errors
    /// `fetch.invalid-url`, `fetch.forbidden-address`, `fetch.status`, `fetch.too-large`, `fetch.redirects`,
    /// `fetch.timeout`, `fetch.connect`, `fetch.tls`, `fetch.read`, `fetch.disk`.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection and deletes the file.
    pub async fn fetch(&self, url: &str, bytes_max: u64, dir: &Path) -> Result<Fetched, Failure> {
        match tokio::time::timeout(self.timeout, self.fetch_patiently(url, bytes_max, dir)).await {
            Ok(answer) => answer,
            Err(_) => Err(timed_out(self.timeout)),
        }
    }

    /// Sends a request.
    pub async fn request(
        &self,
        _: &ckan_worker_plugin::WireRequest,
        _: bytes::Bytes,
        _: &Path,
    ) -> Result<ckan_worker_plugin::Response, Failure> {
        Err(Failure::permanent("host.too-old", "not yet"))
    }

    async fn fetch_patiently(&self, url: &str, bytes_max: u64, dir: &Path) -> Result<Fetched, Failure> {
        let arrival = self.follow(parse(url)?).await?;
        check_status(&arrival.response)?;
        check_announced_length(&arrival.response, bytes_max)?;
        let (status, headers) = (arrival.response.status(), arrival.response.headers().clone());
        let landed = land(arrival.response, bytes_max, dir).await?;
        Ok(Fetched {
            path: landed.path,
            bytes: landed.bytes,
            sha256: landed.sha256,
            status: status.as_u16(),
            content_type: text(&headers, &header::CONTENT_TYPE),
            url: arrival.url.into(),
            redirects: arrival.redirects,
            permanent_redirect: arrival.permanent,
            etag: text(&headers, &header::ETAG),
            last_modified: text(&headers, &header::LAST_MODIFIED),
        })
    }

    /// Asks, and asks on where the answer says that the file has moved.
    ///
    /// From https to http is followed too: nothing secret goes along, and portals are full of such links.
    async fn follow(&self, mut url: Url) -> Result<Arrival, Failure> {
        let (mut redirects, mut permanent) = (0, true);
        let mut seen = HashSet::from([url.clone()]);
        loop {
            self.guard.vet_literal(&url).map_err(|forbidden| failure(Trouble::Forbidden(forbidden), self.timeout))?;
            let sent = self.client.get(url.clone()).send().await;
            let response = sent.map_err(|error| failure(error.into(), self.timeout))?;
            let Some(next) = redirect(&response, &url)? else {
                return Ok(Arrival { response, url, redirects, permanent: permanent && redirects > 0 });
            };
            if redirects == self.redirects_max {
                return Err(Failure::permanent(
                    "fetch.redirects",
                    format!("Too many redirects: more than {redirects}"),
                ));
            }
            redirects += 1;
            permanent &= matches!(response.status().as_u16(), 301 | 308);
            url = next;
            if !seen.insert(url.clone()) {
                return Err(Failure::permanent(
                    "fetch.redirects",
                    format!("Too many redirects: {} leads back to itself", shown(&url)),
                ));
            }
        }
    }
}

/// The answer at the end of the redirects.
struct Arrival {
    response: Response,
    url: Url,
    redirects: u32,
    permanent: bool,
}

fn check_status(response: &Response) -> Result<(), Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let message = format!("Server reported status error: {}", status_line(status));
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    let mut failure =
        if passing { Failure::retryable("fetch.status", message) } else { Failure::permanent("fetch.status", message) };
    failure.retry_after = http::retry_after(response.headers(), Timestamp::now()).filter(|_| passing);
    failure.detail = json!({ "status": status.as_u16() }).to_string();
    Err(failure)
}

fn check_announced_length(response: &Response, bytes_max: u64) -> Result<(), Failure> {
    match response.content_length() {
        Some(bytes) if bytes > bytes_max => Err(too_large(
            bytes,
            bytes_max,
            format!("Content-length {bytes} exceeds maximum allowed value {bytes_max}"),
        )),
        _ => Ok(()),
    }
}

async fn land(mut response: Response, bytes_max: u64, dir: &Path) -> Result<Landed, Failure> {
    let mut landing = Landing::create(dir).await.map_err(|error| disk(dir, &error))?;
    while let Some(chunk) = response.chunk().await.map_err(|error| broken_off(error.into(), landing.bytes()))? {
        let bytes = landing.bytes() + chunk.len() as u64;
        if bytes > bytes_max {
            let message = format!("Content-length exceeds maximum allowed value {bytes_max}, found while reading");
            return Err(too_large(bytes, bytes_max, message));
        }
        landing.write(&chunk).await.map_err(|error| disk(dir, &error))?;
    }
    landing.finish().await.map_err(|error| disk(dir, &error))
}

fn too_large(bytes: u64, bytes_max: u64, message: String) -> Failure {
    let detail = json!({ "bytes": bytes, "bytes_max": bytes_max }).to_string();
    Failure { detail, ..Failure::permanent("fetch.too-large", message) }
}

fn timed_out(timeout: Duration) -> Failure {
    Failure::retryable("fetch.timeout", format!("Connection timed out after {}s", timeout.as_secs_f64()))
}

fn disk(dir: &Path, error: &std::io::Error) -> Failure {
    Failure::retryable("fetch.disk", format!("cannot write to {}: {error}", dir.display()))
}

fn broken_off(trouble: Trouble, bytes: u64) -> Failure {
    match trouble {
        Trouble::Broken(reason) => {
            Failure::retryable("fetch.read", format!("the connection broke off after {bytes} bytes: {reason}"))
        }
        other => failure(other, Duration::ZERO),
    }
}

fn failure(trouble: Trouble, timeout: Duration) -> Failure {
    match trouble {
        Trouble::Forbidden(forbidden) => Failure::permanent(
            "fetch.forbidden-address",
            format!("URL invalid: forbidden address: {forbidden}; if it is meant, name its network in `fetch.allow`"),
        ),
        Trouble::Timeout => timed_out(timeout.min(http::CONNECT_MAX)),
        Trouble::Connect(reason) => Failure::retryable("fetch.connect", format!("Connection error: {reason}")),
        Trouble::Tls { reason, lasting: true } => Failure::permanent("fetch.tls", format!("TLS error: {reason}")),
        Trouble::Tls { reason, lasting: false } => Failure::retryable("fetch.tls", format!("TLS error: {reason}")),
        Trouble::Unsendable(reason) => invalid(format!("URL parsing failure: {reason}")),
        Trouble::Broken(reason) => Failure::retryable("fetch.read", format!("the answer cannot be read: {reason}")),
    }
}

fn status_line(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

fn text(headers: &HeaderMap, name: &http::HeaderName) -> Option<String> {
    headers.get(name).map(|value| plain(&String::from_utf8_lossy(value.as_bytes()), HEADER_CHARS_MAX))
}
