use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use ckan_worker_plugin::{Body, Error, Fetched, Hash, Method, Redirect, Response, Result, Trace, WireRequest};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::bench::lock;

/// What addresses answer.
#[derive(Default)]
pub(crate) struct Pages(Mutex<HashMap<String, Answer>>);

#[derive(Debug, Clone, Default)]
struct Answer {
    body: Vec<u8>,
    content_type: Option<String>,
    etag: Option<String>,
    last_modified: Option<String>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    redirect: Option<Moved>,
    failure: Option<Error>,
    takes_back: bool,
    takes: Duration,
}

#[derive(Debug, Clone)]
struct Moved {
    to: String,
    permanent: bool,
}

/// A page on the bench's web, while it is described.
///
/// Too large is what has a longer body than the worker allows; for that nothing needs to be said here.
pub struct Page<'a> {
    pages: &'a Pages,
    url: String,
}

#[expect(clippy::return_self_not_must_use, reason = "what is said about a page is taken down at once")]
impl Page<'_> {
    /// Answers with this body.
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        self.with(|answer| answer.body = body.as_ref().to_vec())
    }

    /// Calls it this in `Content-Type`.
    pub fn content_type(self, content_type: &str) -> Self {
        self.with(|answer| answer.content_type = Some(content_type.to_owned()))
    }

    /// Sends this `ETag`.
    pub fn etag(self, etag: &str) -> Self {
        self.with(|answer| answer.etag = Some(etag.to_owned()))
    }

    /// Sends this `Last-Modified`.
    pub fn last_modified(self, date: &str) -> Self {
        self.with(|answer| answer.last_modified = Some(date.to_owned()))
    }

    /// Answers with this status; from 400 on the fetch fails with `fetch.status`.
    pub fn status(self, status: u16) -> Self {
        self.with(|answer| answer.status = Some(status))
    }

    /// Sends this `Retry-After`.
    pub fn retry_after(self, delay: Duration) -> Self {
        self.with(|answer| answer.retry_after = Some(delay))
    }

    /// Sends who asks to another address, for good (301) or for now (302).
    pub fn redirect(self, to: &str, permanent: bool) -> Self {
        self.with(|answer| answer.redirect = Some(Moved { to: to.to_owned(), permanent }))
    }

    /// Fails; the code is the error's: `Error::retryable("timed out").with_code("fetch.timeout")`.
    pub fn fails(self, error: Error) -> Self {
        self.with(|answer| answer.failure = Some(error))
    }

    /// The host takes the work back while this is being fetched, as when it is stopping.
    pub fn is_cancelled(self) -> Self {
        self.with(|answer| answer.takes_back = true)
    }

    /// Takes this long to answer, of the time that [`Bench::deadline`](crate::Bench::deadline) gives. Nobody waits.
    ///
    /// A request that allows less time fails with `fetch.timeout`.
    pub fn takes(self, duration: Duration) -> Self {
        self.with(|answer| answer.takes = duration)
    }

    fn with(self, change: impl FnOnce(&mut Answer)) -> Self {
        change(lock(&self.pages.0).entry(self.url.clone()).or_default());
        self
    }
}

impl Pages {
    pub(crate) fn at(&self, url: &str) -> Page<'_> {
        Page { pages: self, url: url.to_owned() }.with(|_| ())
    }

    pub(crate) fn takes_back(&self, url: &str) -> bool {
        lock(&self.0).get(url).is_some_and(|answer| answer.takes_back)
    }

    /// How long an address takes to answer a request, or to fail because that is too long.
    pub(crate) fn time_for(&self, request: &WireRequest) -> (Duration, Option<Error>) {
        let takes = lock(&self.0).get(&request.url).map(|answer| answer.takes).unwrap_or_default();
        let limit = request.timeout_ms.map_or(Duration::MAX, Duration::from_millis);
        if takes <= limit {
            return (takes, None);
        }
        let duration_ms = request.timeout_ms.unwrap_or_default();
        let trace = Trace { url: request.url.clone(), duration_ms, ..Trace::default() };
        let late = Error::retryable(format!("Connection timed out after {limit:?}")).with_code("fetch.timeout");
        (limit, Some(traced(late, &trace)))
    }

    /// Fetches an address into a file in `dir`.
    pub(crate) fn fetch(&self, url: &str, bytes_max: u64, dir: &Path) -> Result<Fetched> {
        let request = WireRequest { url: url.to_owned(), bytes_max, ..WireRequest::default() };
        let response = self.respond(&request, dir)?;
        response.into_fetched().ok_or_else(|| Error::retryable("an answer without a body").with_code("fetch.read"))
    }

    /// Answers a request, with its body in a file in `dir`.
    pub(crate) fn respond(&self, request: &WireRequest, dir: &Path) -> Result<Response> {
        let url = &request.url;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let message = format!("Invalid url scheme. Please use one of: http, https; got {url:?}");
            return Err(Error::permanent(message).with_code("fetch.invalid-url"));
        }
        let mut trace = Trace { url: url.clone(), ..Trace::default() };
        let answer = loop {
            let answer = lock(&self.0).get(&trace.url).cloned();
            let answer = answer.ok_or_else(|| traced(nobody_at(&trace.url), &trace))?;
            let Some(redirect) = &answer.redirect else { break answer };
            let status = if redirect.permanent { 301 } else { 302 };
            trace.redirects.push(Redirect { status, url: redirect.to.clone() });
            trace.url.clone_from(&redirect.to);
            if trace.redirects.len() > 10 {
                return Err(traced(Error::permanent("Too many redirects").with_code("fetch.redirects"), &trace));
            }
        };
        trace.status = Some(answer.status.unwrap_or(200));
        if answer.is_known(request) {
            trace.status = Some(304);
            return Ok(Response { trace, headers: answer.headers(), body: None });
        }
        let body = answer.give(request).map_err(|error| traced(error, &trace))?;
        let body = body.map(|(bytes, is_whole)| save(&bytes, is_whole, request.hash, dir)).transpose()?;
        Ok(Response { trace, headers: answer.headers(), body })
    }
}

impl Answer {
    /// Whether who asks has it already, and says so.
    fn is_known(&self, request: &WireRequest) -> bool {
        let asked = |name: &str| request.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        match asked("If-None-Match") {
            Some((_, etag)) => Some(etag) == self.etag.as_ref(),
            None => asked("If-Modified-Since").is_some_and(|(_, date)| Some(date) == self.last_modified.as_ref()),
        }
    }

    fn headers(&self) -> BTreeMap<String, String> {
        let length = Some(self.body.len().to_string());
        [
            ("content-type", &self.content_type),
            ("etag", &self.etag),
            ("last-modified", &self.last_modified),
            ("content-length", &length),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
        .collect()
    }

    /// The body, as far as it is asked for, and whether that is all of it.
    fn give(&self, request: &WireRequest) -> Result<Option<(Vec<u8>, bool)>> {
        let bytes_max = request.bytes_max;
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        if let Some(status) = self.status.filter(|status| *status >= 400) {
            return Err(self.status_error(status));
        }
        if matches!(request.method, Method::Head | Method::Check) {
            return Ok(None);
        }
        if let Some(first) = request.first_bytes {
            let first = usize::try_from(first).unwrap_or(usize::MAX).min(self.body.len());
            return Ok(Some((self.body[..first].to_vec(), first == self.body.len())));
        }
        let bytes = self.body.len() as u64;
        if bytes_max == 0 {
            return Ok(None);
        }
        if bytes > bytes_max {
            let message = format!("Content-length {bytes} exceeds maximum allowed value {bytes_max}");
            return Err(Error::permanent(message).with_code("fetch.too-large"));
        }
        Ok(Some((self.body.clone(), true)))
    }

    fn status_error(&self, status: u16) -> Error {
        let message = format!("Server reported status error: {status}");
        let passing = status == 408 || status == 429 || status >= 500;
        let error = if passing { Error::retryable(message) } else { Error::permanent(message) };
        let error = error.with_code("fetch.status");
        match self.retry_after {
            Some(delay) => error.retry_after(delay),
            None => error,
        }
    }
}

fn save(content: &[u8], is_whole: bool, hash: Hash, dir: &Path) -> Result<Body> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(content)?;
    let hash = match hash {
        Hash::Sha256 => hexadecimal(&Sha256::digest(content)),
        Hash::Sha1 => hexadecimal(&Sha1::digest(content)),
    };
    Ok(Body { path: file.keep()?.1, bytes: content.len() as u64, hash, is_whole })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// An error that says how far the request came.
fn traced(error: Error, trace: &Trace) -> Error {
    error.with_detail(serde_json::to_string(trace).unwrap_or_default())
}

fn nobody_at(url: &str) -> Error {
    Error::retryable(format!("connection refused: the bench has no page at {url}")).with_code("fetch.connect")
}
