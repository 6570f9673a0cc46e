#![expect(unsafe_code, reason = "the plugin's side of the host's vtable")]

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use ckan_worker_abi as abi;
use ckan_worker_abi::abi_stable::std_types::{RResult, RSlice, RStr, RVec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::http::{Request, Response, WireRequest};
use crate::{Ckan, Class, Error, Result, State};

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// Work failed.
    Error = 1,
    /// Something an operator should look at.
    Warn = 2,
    /// What happened.
    Info = 3,
    /// What an author wants to see.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// What a worker may ask of the host, for as long as the call lasts.
///
/// Once the call is cancelled (its deadline has passed, or the host is stopping) everything here that takes time
/// answers at once with an error of [`Class::Cancelled`]; pass it on with `?`.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    pub(crate) raw: abi::Host,
    call: PhantomData<&'a ()>,
}

impl<'a> Host<'a> {
    /// Takes the host as it came over the border.
    ///
    /// # Safety
    /// `raw.ctx` must be valid for the functions in `raw.vt` throughout `'a`.
    #[doc(hidden)]
    pub unsafe fn from_abi(raw: abi::Host) -> Self {
        Self { raw, call: PhantomData }
    }

    /// Writes a line to the host's log; it carries the worker's and the delivery's name by itself.
    pub fn log(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        // SAFETY: the context is valid throughout `'a`.
        if unsafe { (self.raw.vt.log_level())(self.raw.ctx) } < level as u32 {
            return;
        }
        let attrs: Vec<abi::Attr<'_>> =
            fields.iter().map(|(key, value)| abi::Attr { key: (*key).into(), value: (*value).into() }).collect();
        let (target, attrs) = (RStr::from_str(""), RSlice::from_slice(&attrs));
        // SAFETY: as above; what is borrowed outlives the call.
        unsafe { (self.raw.vt.log())(self.raw.ctx, level as u32, target, message.into(), attrs) }
    }

    /// Logs what happened.
    pub fn info(&self, message: &str) {
        self.log(Level::Info, message, &[]);
    }

    /// Logs what an operator should look at.
    pub fn warn(&self, message: &str) {
        self.log(Level::Warn, message, &[]);
    }

    /// Logs what failed.
    pub fn error(&self, message: &str) {
        self.log(Level::Error, message, &[]);
    }

    /// Logs what an author wants to see.
    pub fn debug(&self, message: &str) {
        self.log(Level::Debug, message, &[]);
    }

    /// Whether to give the work up: the deadline has passed or the host is stopping. Ask in every long loop.
    pub fn is_cancelled(&self) -> bool {
        // SAFETY: the context is valid throughout `'a`.
        unsafe { (self.raw.vt.is_cancelled())(self.raw.ctx) }
    }

    /// Gives the work up if it is cancelled, for use with `?`.
    ///
    /// # Errors
    /// [`Class::Cancelled`] if it is.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// How long is left until this call's deadline; `None` if it has none.
    pub fn remaining(&self) -> Option<Duration> {
        // SAFETY: the context is valid throughout `'a`.
        match unsafe { (self.raw.vt.remaining_ms())(self.raw.ctx) } {
            u64::MAX => None,
            milliseconds => Some(Duration::from_millis(milliseconds)),
        }
    }

    /// Waits, unless the call is cancelled.
    ///
    /// # Errors
    /// [`Class::Cancelled`], at once, when it is.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // SAFETY: the context is valid throughout `'a`.
        if unsafe { (self.raw.vt.sleep_ms())(self.raw.ctx, milliseconds) } { Ok(()) } else { Err(Error::cancelled()) }
    }

    /// The portal. The host owns the connection and the token; no plugin sees it.
    pub fn ckan(&self) -> Ckan<'a> {
        Ckan { host: *self }
    }

    /// Fetches what a stranger's address points to into a file, at most `bytes_max` bytes of it.
    ///
    /// The host refuses private addresses, follows redirects, and hashes while it writes. The file is deleted when
    /// the call ends: rename it away to keep it.
    ///
    /// # Errors
    /// `fetch.forbidden-address`, `fetch.forbidden-port`, `fetch.host-busy`, `fetch.invalid-url`, `fetch.status`, `fetch.too-large`, `fetch.timeout`,
    /// `fetch.redirects`, `fetch.tls`, `fetch.connect`, …: see [`Error::code`]. Those that cannot pass are permanent.
    pub fn fetch(&self, url: &str, bytes_max: u64) -> Result<Fetched> {
        let request = serde_json::to_vec(&FetchRequest { url, bytes_max })?;
        // SAFETY: the context is valid throughout `'a`; the request outlives the call.
        let answer = unsafe { (self.raw.vt.fetch())(self.raw.ctx, RSlice::from_slice(&request)) };
        received(answer)
    }

    /// A request to a stranger's address, to be described: how, under which limits, and with which conditions.
    pub fn request(&self, url: &str) -> Request<'a> {
        let wire = WireRequest { url: url.to_owned(), ..WireRequest::default() };
        Request { host: *self, wire, body: Vec::new() }
    }

    pub(crate) fn send(&self, request: &WireRequest, body: &[u8]) -> Result<Response> {
        let http = self.raw.vt.http().ok_or_else(too_old)?;
        let request = serde_json::to_vec(request)?;
        // SAFETY: the context is valid throughout `'a`; request and body outlive the call.
        received(unsafe { http(self.raw.ctx, RSlice::from_slice(&request), RSlice::from_slice(body)) })
    }

    /// What this worker remembers.
    pub fn state(&self) -> State<'a> {
        State { host: *self }
    }

    /// Has this worker called again for a dataset, by its id, after this time, once this run has ended well.
    ///
    /// It comes as a notification of the class `Package` with the operation `recheck`, which the manifest must ask for,
    /// and `{"id": …}` as its payload, when there is room beside what the portal announces. There is one such wish for
    /// each dataset: a later one replaces it, and a zero takes it back.
    ///
    /// # Errors
    /// `recheck.id` if it is not the id of a dataset.
    pub fn recheck_after(&self, dataset_id: &str, delay: Duration) -> Result<()> {
        let recheck = self.raw.vt.recheck().ok_or_else(too_old)?;
        let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        // SAFETY: the context is valid throughout `'a`; the id outlives the call.
        bytes(unsafe { recheck(self.raw.ctx, dataset_id.into(), milliseconds) }).map(drop)
    }
}

/// A file that was fetched.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Fetched {
    /// Where it is; deleted when the call ends, unless it was renamed.
    pub path: PathBuf,
    /// Its length, in bytes.
    pub bytes: u64,
    /// The SHA-256 of its content, 64 hexadecimal digits.
    pub sha256: String,
    /// The HTTP status of the last answer.
    pub status: u16,
    /// The `Content-Type` of the last answer.
    pub content_type: Option<String>,
    /// The address that answered at last, after `redirects`.
    pub url: String,
    /// How many redirects were followed.
    pub redirects: u32,
    /// Whether every redirect on the way was a permanent one (301 or 308).
    pub permanent_redirect: bool,
    /// The `ETag` of the last answer.
    pub etag: Option<String>,
    /// The `Last-Modified` of the last answer.
    pub last_modified: Option<String>,
}

#[derive(Serialize)]
struct FetchRequest<'a> {
    url: &'a str,
    bytes_max: u64,
}

pub(crate) fn received<T: DeserializeOwned>(answer: abi::Answer) -> Result<T> {
    serde_json::from_slice(&bytes(answer)?).map_err(|error| {
        Error::permanent(format!("the answer does not have the expected shape: {error}")).with_code("answer")
    })
}

pub(crate) fn bytes(answer: abi::Answer) -> Result<RVec<u8>> {
    match answer {
        RResult::ROk(bytes) => Ok(bytes),
        RResult::RErr(reply) => Err(Error::from_reply(reply)),
    }
}

/// What a host says that does not have a function yet.
pub(crate) fn too_old() -> Error {
    Error::permanent(
        "this host is older than the worker: it speaks ABI 1.0, and the worker needs 1.1; use a newer `worker`",
    )
    .with_code("host.too-old")
}

impl Error {
    /// What a call that was taken back answers.
    #[doc(hidden)]
    pub fn cancelled() -> Self {
        Self::new(Class::Cancelled, "cancelled", "the host took the work back".to_owned())
    }

    /// Takes an error as it came over the border.
    #[doc(hidden)]
    pub fn from_reply(reply: abi::Reply) -> Self {
        let class = match reply.status {
            abi::Status::PERMANENT | abi::Status::FATAL => Class::Permanent,
            abi::Status::CANCELLED => Class::Cancelled,
            // Whatever is not known may pass.
            _ => Class::Retryable,
        };
        Self {
            class,
            code: reply.code.into_string().into(),
            message: reply.message.into_string(),
            retry_after: (reply.retry_after_ms > 0).then(|| Duration::from_millis(reply.retry_after_ms)),
            detail: reply.detail.into_string(),
        }
    }
}
