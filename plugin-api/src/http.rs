//! Requests to strangers' addresses, as they cross the border as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Fetched, Host, Result};

/// How an address is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// For what it has.
    #[default]
    Get,
    /// For the head of its answer.
    Head,
    /// Whether it answers: by HEAD, and where that is refused or not answered by a GET of one byte, and then by a whole
    /// GET of which nothing is kept. The status may be 206 then, and the length stands in `content-range`.
    Check,
    /// To take something. Redirects are not followed: a status from 300 to 399 is an answer.
    Post,
}

/// Which hash of the content is made while it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// 64 hexadecimal digits.
    #[default]
    Sha256,
    /// 40 hexadecimal digits.
    Sha1,
}

/// A request as it crosses the border.
#[doc(hidden)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WireRequest {
    pub url: String,
    pub method: Method,
    pub headers: Vec<(String, String)>,
    /// The longest body that is taken; a longer one is an error, `fetch.too-large`.
    pub bytes_max: u64,
    /// Stops after so many bytes, which is no error; a `Range` asks for no more.
    pub first_bytes: Option<u64>,
    pub hash: Hash,
    /// Shorter than the host's own limit, if that.
    pub timeout_ms: Option<u64>,
}

/// A request to a stranger's address, while it is described. It is sent by [`send`](Self::send).
///
/// ```
/// # use ckan_worker_plugin::prelude::*;
/// # use ckan_worker_plugin::Method;
/// fn is_still_the_same(host: &Host<'_>, url: &str, etag: &str) -> Result<bool> {
///     let response = host.request(url).header("If-None-Match", etag).bytes_max(1 << 20).send()?;
///     Ok(response.is_not_modified())
/// }
/// ```
#[must_use = "nothing is sent before `send`"]
pub struct Request<'a> {
    pub(crate) host: Host<'a>,
    pub(crate) wire: WireRequest,
    pub(crate) body: Vec<u8>,
}

impl Request<'_> {
    /// Asks so; by GET, unless said.
    pub fn method(mut self, method: Method) -> Self {
        self.wire.method = method;
        self
    }

    /// Sends a header. `Host`, `Content-Length`, `Transfer-Encoding`, `Connection`, `Accept-Encoding` and the like are the
    /// host's. One that could say who asks, which is any but a few plain ones, stays behind where a redirect leads to
    /// another server.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.wire.headers.push((name.into(), value.into()));
        self
    }

    /// Sends a body, with POST.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.method(Method::Post)
    }

    /// Takes a body of at most so many bytes; 0, which holds unless said, takes none and is no error.
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.wire.bytes_max = bytes;
        self
    }

    /// Takes only the first so many bytes; that there are more is no error.
    pub fn first_bytes(mut self, bytes: u64) -> Self {
        self.wire.first_bytes = Some(bytes);
        self
    }

    /// Makes this hash; SHA-256, unless said.
    pub fn hash(mut self, hash: Hash) -> Self {
        self.wire.hash = hash;
        self
    }

    /// Takes no longer than this, and no longer than the host allows.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.wire.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sends it, and waits for the whole answer. Redirects are followed, each vetted like the first address.
    ///
    /// # Errors
    /// As [`Host::fetch`]; a status from 400 on is `fetch.status`. `fetch.invalid-header`, `fetch.forbidden-port`.
    /// [`Trace::of`] says how far it came.
    /// `fetch.host-busy`: too many already wait for that server; [`Error::delay`] says how long to leave it alone.
    pub fn send(self) -> Result<Response> {
        self.host.send(&self.wire, &self.body)
    }
}

/// The way a request took: the redirects it followed and the address that answered, or failed, at last. What in an address
/// looks like a secret is masked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// The address that was asked last, after the redirects.
    pub url: String,
    /// The redirects that were followed, in order.
    pub redirects: Vec<Redirect>,
    /// The HTTP status of the last answer, if there was one.
    pub status: Option<u16>,
    /// How long it took in all, in milliseconds.
    pub duration_ms: u64,
}

/// One redirect on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Its status: 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Where it led.
    pub url: String,
}

impl Trace {
    /// The way of a request that failed; `None` if the error is not of one.
    pub fn of(error: &Error) -> Option<Self> {
        if !error.code().starts_with("fetch.") {
            return None;
        }
        let trace: Self = serde_json::from_str(error.detail()).ok()?;
        (!trace.url.is_empty()).then_some(trace)
    }

    /// Whether there were redirects, and every one of them a permanent one (301 or 308).
    pub fn is_moved_for_good(&self) -> bool {
        !self.redirects.is_empty() && self.redirects.iter().all(|redirect| matches!(redirect.status, 301 | 308))
    }
}

/// What a stranger's address answered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Response {
    /// How it was reached.
    #[serde(flatten)]
    pub trace: Trace,
    /// The headers, in lower case; of repeated ones the first. At most 64, each at most 1,000 characters.
    pub headers: BTreeMap<String, String>,
    /// The content; `None` if none was asked for or there is none.
    pub body: Option<Body>,
}

/// The content of a response, in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Where it is; deleted when the call ends, unless it was renamed.
    pub path: PathBuf,
    /// Its length, in bytes.
    pub bytes: u64,
    /// The hash that was asked for, in hexadecimal digits.
    pub hash: String,
    /// Whether it is all of it: `first_bytes` may have cut it.
    pub is_whole: bool,
}

impl Response {
    /// The HTTP status: below 400.
    pub fn status(&self) -> u16 {
        self.trace.status.unwrap_or_default()
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Whether the other side says that what was asked for is unchanged (304).
    pub fn is_not_modified(&self) -> bool {
        self.status() == 304
    }

    /// In the shape that [`Host::fetch`] answers; `None` without content.
    pub fn into_fetched(self) -> Option<Fetched> {
        let body = self.body?;
        let text = |name: &str| self.headers.get(name).cloned();
        Some(Fetched {
            path: body.path,
            bytes: body.bytes,
            sha256: body.hash,
            status: self.trace.status.unwrap_or_default(),
            content_type: text("content-type"),
            etag: text("etag"),
            last_modified: text("last-modified"),
            redirects: u32::try_from(self.trace.redirects.len()).unwrap_or(u32::MAX),
            permanent_redirect: self.trace.is_moved_for_good(),
            url: self.trace.url,
        })
    }
}
