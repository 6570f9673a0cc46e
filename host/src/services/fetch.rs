//! Asks strangers' addresses, and takes what they have into files.
//!
//! One request: check the link, wait for a turn with its server, ask, follow redirects (each checked like the first
//! link), judge the answer, then stream its content into a file under the limit. Nothing is left behind when any of it
//! fails, or when the future is dropped.

mod ask;
mod counts;
mod door;
mod failure;
mod follow;
mod landing;
mod link;
mod pace;
mod room;
mod take;
mod way;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ckan_worker_plugin::{Fetched, Response, WireRequest};
use ipnet::IpNet;

use self::ask::{Ask, Keep};
pub use self::counts::{Counts, Snapshot};
use self::door::Door;
pub use self::door::Proxy;
use self::pace::Pace;
pub use self::pace::Settings as PaceSettings;
pub use self::room::Room;
use self::way::Way;
pub use super::http::{Addrs, Name, Resolve, Resolving};
use super::http::{HeaderMap, SystemNames, plain};
use super::{Failure, ckan};

/// How many headers of an answer are told on, and how much of a value.
const HEADERS_MAX: usize = 64;
const HEADER_CHARS_MAX: usize = 999;

/// What may be fetched, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Networks that may be fetched from although they are private, and at any port.
    pub allow: Vec<IpNet>,
    /// The ports that are open to fetching.
    pub ports: Vec<u16>,
    /// Who asks in our place; the names of hosts are then looked up there, and not vetted here.
    pub proxy: Option<Proxy>,
    /// How long what may take.
    pub deadlines: Deadlines,
    /// How many redirects are followed.
    pub redirects_max: usize,
    /// How one server is treated by all workers together.
    pub pace: PaceSettings,
    /// What the other side is told about who asks.
    pub user_agent: String,
}

/// How long a request may take, and its parts.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// To open a connection.
    pub connect: Duration,
    /// Until the head of an answer is there, with connecting; for each redirect anew.
    pub first_byte: Duration,
    /// Between two pieces of the content.
    pub idle: Duration,
    /// In all.
    pub total: Duration,
    /// The fewest bytes of content that come in a second, on average; 0 for no such limit.
    pub rate_min: u64,
    /// From when on that is looked at.
    pub rate_grace: Duration,
}

/// Why nothing can be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The user agent is no header, the proxy no address, or the system's TLS roots cannot be read.
    #[error("cannot fetch with these settings; are `fetch.user_agent` and `fetch.proxy` as they should be?")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Asks addresses that strangers typed; it never carries the portal's token.
#[derive(Debug)]
pub struct Fetcher {
    door: Door,
    pace: Pace,
    deadlines: Deadlines,
    redirects_max: usize,
    counts: Counts,
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
        let door = Door::new(&settings, names).map_err(SetupError::Client)?;
        if let Some(proxy) = &settings.proxy {
            tracing::warn!(
                "downloads go through the proxy {proxy:?} (`fetch.proxy`): it looks names up and decides where they may \
                 lead; here only links with a number for a host are vetted. Have it refuse private networks"
            );
        }
        Ok(Self {
            door,
            pace: Pace::new(settings.pace),
            deadlines: settings.deadlines,
            redirects_max: settings.redirects_max,
            counts: Counts::default(),
        })
    }

    /// How requests have ended so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Sends a request; content that is kept goes into a new file in `dir`, which the caller owns from then on.
    ///
    /// # Errors
    /// `fetch.invalid-url`, `fetch.invalid-header`, `fetch.forbidden-address`, `fetch.forbidden-port`,
    /// `fetch.host-busy`, `fetch.status`, `fetch.too-large`, `fetch.redirects`, `fetch.timeout`, `fetch.connect`,
    /// `fetch.tls`, `fetch.read`, `fetch.disk`. Once the link has been read, the detail holds a
    /// [`Trace`](ckan_worker_plugin::Trace).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection and deletes the file.
    pub async fn request(&self, request: &WireRequest, body: Bytes, dir: &Path) -> Result<Response, Failure> {
        self.request_of(None, request, body, dir).await
    }

    /// The same for a file that was uploaded to the portal, which is opened with the portal's token.
    ///
    /// Whoever calls this has made sure that the file may be seen by who gets it: the address is a stranger's word.
    ///
    /// # Errors
    /// As [`request`](Self::request), and those of the portal.
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn request_of(
        &self,
        portal: Option<&ckan::Client>,
        request: &WireRequest,
        body: Bytes,
        dir: &Path,
    ) -> Result<Response, Failure> {
        let open = self.counts.begin();
        let answer = match Ask::read(request, body) {
            Ok(ask) => self.answer(&Ask { portal, ..ask }, dir).await,
            Err(failure) => Err(failure),
        };
        open.end(&answer);
        answer
    }

    /// Fetches `url` into a new file in `dir`, at most `bytes_max` bytes; the caller owns the file from then on.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn fetch(&self, url: &str, bytes_max: u64, dir: &Path) -> Result<Fetched, Failure> {
        let open = self.counts.begin();
        let request = WireRequest { url: url.to_owned(), ..WireRequest::default() };
        let answer = match Ask::read(&request, Bytes::new()) {
            Ok(ask) => self.answer(&Ask { keep: Keep::All { bytes_max }, ..ask }, dir).await,
            Err(failure) => Err(failure),
        };
        open.end(&answer);
        answer?.into_fetched().ok_or_else(|| Failure::retryable("fetch.read", "the answer has no content"))
    }

    async fn answer(&self, ask: &Ask<'_>, dir: &Path) -> Result<Response, Failure> {
        let mut way = Way::begin(&ask.url);
        let total = ask.timeout.unwrap_or(Duration::MAX).min(self.deadlines.total);
        match tokio::time::timeout(total, self.go(ask, &mut way, dir)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(failure)) => Err(way.explain(failure)),
            Err(_) => Err(way.explain(failure::timed_out(total, ""))),
        }
    }

    async fn go(&self, ask: &Ask<'_>, way: &mut Way, dir: &Path) -> Result<Response, Failure> {
        let arrival = self.arrive(ask, way).await?;
        let headers = told(arrival.response.headers());
        let body = take::take(arrival.response, ask.keep, ask.hash, &self.deadlines, dir).await?;
        drop(arrival.turn);
        Ok(Response { trace: way.trace(), headers, body })
    }
}

/// The headers of an answer, as they cross the border; of repeated ones the first.
fn told(headers: &HeaderMap) -> BTreeMap<String, String> {
    let named = headers.keys().take(HEADERS_MAX).filter_map(|name| Some((name, headers.get(name)?)));
    named
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), plain(&value, HEADER_CHARS_MAX))
        })
        .collect()
}
