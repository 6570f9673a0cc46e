use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use ckan_worker_plugin::{Error, Fetched, Result};
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
    redirect: Option<Redirect>,
    failure: Option<Error>,
    takes_back: bool,
}

#[derive(Debug, Clone)]
struct Redirect {
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
        self.with(|answer| answer.redirect = Some(Redirect { to: to.to_owned(), permanent }))
    }

    /// Fails; the code is the error's: `Error::retryable("timed out").with_code("fetch.timeout")`.
    pub fn fails(self, error: Error) -> Self {
        self.with(|answer| answer.failure = Some(error))
    }

    /// The host takes the work back while this is being fetched, as when it is stopping.
    pub fn is_cancelled(self) -> Self {
        self.with(|answer| answer.takes_back = true)
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

    /// Fetches an address into a file in `dir`.
    pub(crate) fn fetch(&self, url: &str, bytes_max: u64, dir: &Path) -> Result<Fetched> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let message = format!("Invalid url scheme. Please use one of: http, https; got {url:?}");
            return Err(Error::permanent(message).with_code("fetch.invalid-url"));
        }
        let (mut at, mut redirects, mut permanent) = (url.to_owned(), 0, true);
        let answer = loop {
            let answer = lock(&self.0).get(&at).cloned();
            let answer = answer.ok_or_else(|| nobody_at(&at))?;
            let Some(redirect) = &answer.redirect else { break answer };
            (at, permanent, redirects) = (redirect.to.clone(), permanent && redirect.permanent, redirects + 1);
            if redirects > 10 {
                return Err(Error::permanent("Too many redirects").with_code("fetch.redirects"));
            }
        };
        let path = save(&answer.give(bytes_max)?, dir)?;
        Ok(Fetched {
            path,
            bytes: answer.body.len() as u64,
            sha256: hexadecimal(&Sha256::digest(&answer.body)),
            status: answer.status.unwrap_or(200),
            content_type: answer.content_type,
            url: at,
            redirects,
            permanent_redirect: redirects > 0 && permanent,
            etag: answer.etag,
            last_modified: answer.last_modified,
        })
    }
}

impl Answer {
    fn give(&self, bytes_max: u64) -> Result<Vec<u8>> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        if let Some(status) = self.status.filter(|status| *status >= 400) {
            return Err(self.status_error(status));
        }
        let bytes = self.body.len() as u64;
        if bytes > bytes_max {
            let message = format!("Content-length {bytes} exceeds maximum allowed value {bytes_max}");
            return Err(Error::permanent(message).with_code("fetch.too-large"));
        }
        Ok(self.body.clone())
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

fn save(body: &[u8], dir: &Path) -> Result<PathBuf> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(body)?;
    Ok(file.keep()?.1)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn nobody_at(url: &str) -> Error {
    Error::retryable(format!("connection refused: the bench has no page at {url}")).with_code("fetch.connect")
}
