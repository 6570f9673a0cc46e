//! The one connection to CKAN, and the only place that knows the token.
//!
//! A call is one request to `/api/3/action/NAME`; what the portal answers becomes the JSON of `result`, or a
//! [`Failure`] by the table in `answer`. The token goes to the portal's own address and nowhere else: redirects are
//! not followed, proxies not used.

mod again;
mod answer;
mod breaker;
mod check;
mod counters;
mod dataset;
mod delta;
mod dry;
mod effects;
mod equal;
mod flush;
mod kind;
mod listing;
mod open;
mod request;
mod settings;
mod site;
mod upload;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use url::Url;

pub use self::breaker::Breaker;
pub use self::check::{CheckReport, Identity, Portal};
pub use self::counters::{Counted, Ended};
pub use self::dataset::Announced;
pub use self::delta::{Change, Revision, revision};
pub use self::dry::Refused;
pub use self::effects::{package_in, package_of, paths};
pub use self::flush::{OwnWrites, flush};
pub use self::kind::{Kind, kind};
pub use self::listing::{Listed, Listing, Order, drops_filters, to_millisecond};
pub use self::settings::{Rewrite, Settings, SetupError};

use self::request::query_pairs;
use self::settings::Token;
use super::Failure;
use super::http::{self, HeaderMap, HeaderValue, Trouble, Unread, header};

/// The longest answer that is taken; a `package_search` for 1,000 large datasets stays well below.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A token shorter than this is not looked for in what the portal says; CKAN's are far longer.
const TOKEN_BYTES_MIN: usize = 8;
/// The header that tells CKAN, and whoever hears of the change, which worker wrote it.
const ORIGIN: &str = "x-ckan-worker-origin";

/// The code of a call that did not reach CKAN.
pub const UNAVAILABLE: &str = "ckan.unavailable";
/// The code of a call about something that CKAN does not know, or not yet.
pub const NOT_FOUND: &str = "ckan.not-found";
/// The code of a call that CKAN does not let us make.
pub const NOT_AUTHORIZED: &str = "ckan.not-authorized";
/// The code of a write that came after another.
pub const LOST_RACE: &str = "ckan.lost-race";
/// The code of a call that the portal had no time for.
pub const RATE_LIMITED: &str = "ckan.rate-limited";
/// The code of a call that CKAN failed at.
pub const SERVER: &str = "ckan.server";
/// The code of a call that CKAN's search failed at.
const SEARCH: &str = "ckan.search";
/// The code of a call that cannot work with these settings.
const CONFIG: &str = "ckan.config";

/// The portal, by its action API.
pub struct Client {
    http: http::Client,
    site: site::Site,
    token: Option<Token>,
    timeout: Duration,
    breaker: Breaker,
    /// A permit for each write that may go on: CKAN is soon overwhelmed.
    writes: Semaphore,
    counters: counters::Counters,
    dry_run: bool,
    refused: Box<Refused>,
}

impl Client {
    /// Makes a client; it connects when it is first used.
    ///
    /// # Errors
    /// [`SetupError`] if the settings cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        let http = http::portal_client(settings.timeout).map_err(|error| SetupError::Client(error.into()))?;
        let site = site::Site::new(&settings)?;
        let token = settings.api_key.map(|text| Token::new(&settings.token_header, text)).transpose()?;
        Ok(Self {
            http,
            site,
            token,
            timeout: settings.timeout,
            breaker: Breaker::default(),
            writes: Semaphore::new(settings.concurrency.max(1)),
            counters: counters::Counters::default(),
            dry_run: settings.dry_run,
            refused: Box::new(dry::log),
        })
    }

    /// Calls an action by POST with a JSON object, and answers the JSON of its `result`.
    ///
    /// What may be repeated is sent again, up to three times, while its failure may pass and that takes seconds; see
    /// [`kind()`]. At most `ckan.concurrency` writes go on at once. In a dry run no write is sent.
    ///
    /// # Errors
    /// `ckan.config`, `ckan.bad-request`, `ckan.not-authorized`, `ckan.not-found`, `ckan.validation`,
    /// `ckan.lost-race`, `ckan.search`, `ckan.too-large`, `ckan.rate-limited`, `ckan.unavailable`, `ckan.server`,
    /// `ckan.incompatible`. After `ckan.unavailable` and `ckan.server` the action may have been done all the same.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the action may have been done all the same.
    pub async fn action(&self, name: &str, body: impl Into<Bytes>) -> Result<Bytes, Failure> {
        self.action_as(None, name, body).await
    }

    /// The same, telling CKAN who writes: `HOST;WORKER;hop=N`, in the header `X-CKAN-Worker-Origin`.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub async fn action_as(&self, origin: Option<&str>, name: &str, body: impl Into<Bytes>) -> Result<Bytes, Failure> {
        let url = self.url(name)?;
        let mut body = body.into();
        if body.is_empty() {
            body = Bytes::from_static(b"{}");
        }
        let kind = kind(name, &body);
        if self.dry_run && kind != Kind::Read {
            return self.refuse_body(name, &body);
        }
        let request = self.http.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
        self.call(name, kind, origin, request).await
    }

    /// Calls an action that changes nothing by GET. `query` is a JSON object of texts, numbers and lists of them.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub async fn get(&self, name: &str, query: &[u8]) -> Result<Bytes, Failure> {
        let mut url = self.url(name)?;
        let pairs = query_pairs(query).map_err(|reason| bad_request(name, &reason))?;
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        self.call(name, Kind::Read, None, self.http.get(url)).await
    }

    /// Whether a portal is set at all.
    pub fn is_set(&self) -> bool {
        self.site.actions.is_some()
    }

    /// Asks whether the portal answers, and whom it takes us for.
    pub async fn check(&self) -> CheckReport {
        check::run(self).await
    }

    /// Whether CKAN is away, as far as the last calls tell.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// How the calls have ended so far.
    pub fn counted(&self) -> Counted {
        self.counters.snapshot()
    }

    /// Sends a call, again while that is of use, and notes how it ended.
    async fn call(
        &self,
        name: &str,
        kind: Kind,
        origin: Option<&str>,
        request: http::RequestBuilder,
    ) -> Result<Bytes, Failure> {
        let mut request = self.with_token(request);
        if let Some(Ok(origin)) = origin.filter(|_| kind != Kind::Read).map(HeaderValue::from_str) {
            request = request.header(ORIGIN, origin);
        }
        let (began, mut tries) = (Instant::now(), 0);
        let called = loop {
            tries += 1;
            // What is read from a file while it is sent cannot be sent again.
            let again = request.try_clone();
            let called = self.call_once(name, kind, request).await;
            let (Err(failure), Some(next)) = (&called, again) else { break called };
            // While CKAN is away one knock at its door is enough.
            let wait = again::wait(kind, failure, tries, began.elapsed(), fastrand::f64());
            let Some(wait) = wait.filter(|_| !self.breaker.is_open()) else { break called };
            self.counters.repeat();
            tokio::time::sleep(wait).await;
            request = next;
        };
        match &called {
            Err(failure) if failure.code == UNAVAILABLE => self.breaker.failed(),
            _ => self.breaker.worked(),
        }
        self.counters.count(kind, called.as_ref().map_or_else(|failure| Ended::by(failure.code), |_| Ended::Done));
        called
    }

    async fn call_once(&self, name: &str, kind: Kind, request: http::RequestBuilder) -> Result<Bytes, Failure> {
        // Nobody closes the semaphore, so waiting for it does not fail.
        let _permit = if kind == Kind::Read { None } else { self.writes.acquire().await.ok() };
        let response = request.send().await.map_err(|error| self.unreachable(name, error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match http::read(response, ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(Unread::TooLarge) => return Err(answer::too_long(name, ANSWER_BYTES_MAX)),
            Err(Unread::Broken(error)) => return Err(self.unreachable(name, error)),
        };
        // Before anything is cut off: half a token is still half a secret.
        let (headers, body) = if status.is_success() { (headers, body) } else { self.masked(headers, body) };
        answer::result(name, status, &headers, &body).map_err(|failure| self.without_token(failure))
    }

    /// An answer without the token.
    fn masked(&self, mut headers: HeaderMap, body: Bytes) -> (HeaderMap, Bytes) {
        let token = self.token.as_ref().map(|token| token.text.expose_secret());
        let Some(token) = token.filter(|token| token.len() >= TOKEN_BYTES_MIN) else { return (headers, body) };
        let says_it = |text: &[u8]| text.windows(token.len()).any(|window| window == token.as_bytes());
        if headers.get(header::LOCATION).is_some_and(|location| says_it(location.as_bytes())) {
            headers.remove(header::LOCATION);
        }
        if !says_it(&body) {
            return (headers, body);
        }
        (headers, String::from_utf8_lossy(&body).replace(token, "***").into())
    }

    fn url(&self, name: &str) -> Result<Url, Failure> {
        let actions = self.site.actions.as_ref().ok_or_else(|| {
            Failure::permanent(
                CONFIG,
                format!("{}: no portal is set; write its address to `ckan.site_url`", http::plain(name, 100)),
            )
        })?;
        let well_formed = !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if !well_formed {
            return Err(bad_request(&http::plain(name, 100), "this is no name of an action, like `package_show`"));
        }
        actions.join(name).map_err(|error| bad_request(name, &error.to_string()))
    }

    fn unreachable(&self, name: &str, error: http::Error) -> Failure {
        let reason = match Trouble::from(error) {
            Trouble::Timeout => return self.silent(name),
            Trouble::Tls { reason, lasting: true } => {
                return Failure::permanent(CONFIG, format!("{name}: no secure connection to CKAN: {reason}"));
            }
            Trouble::Unsendable(reason) => return bad_request(name, &reason),
            Trouble::Tls { reason, .. } | Trouble::Connect(reason) | Trouble::Broken(reason) => reason,
            Trouble::Forbidden(forbidden) => forbidden.to_string(),
        };
        unavailable(name, &reason)
    }

    /// What comes of a portal that takes too long.
    fn silent(&self, name: &str) -> Failure {
        unavailable(name, &format!("it did not answer in time, at most {} s", self.timeout.as_secs_f64()))
    }

    fn with_token(&self, request: http::RequestBuilder) -> http::RequestBuilder {
        match &self.token {
            Some(token) => request.header(&token.header, &token.value),
            None => request,
        }
    }

    /// A portal in debug mode may repeat what it was sent.
    fn without_token(&self, mut failure: Failure) -> Failure {
        let token = self.token.as_ref().map(|token| token.text.expose_secret());
        if let Some(token) = token.filter(|token| token.len() >= TOKEN_BYTES_MIN) {
            failure.message = failure.message.replace(token, "***");
            failure.detail = failure.detail.replace(token, "***");
        }
        failure
    }
}

/// Shows where calls go, never the token.
impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = self.site.actions.as_ref().map(Url::as_str);
        formatter
            .debug_struct("Client")
            .field("actions", &actions)
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

fn unavailable(name: &str, reason: &str) -> Failure {
    Failure::retryable(UNAVAILABLE, format!("{name}: CKAN cannot be reached: {}", http::plain(reason, 300)))
}

fn bad_request(name: &str, reason: &str) -> Failure {
    Failure::permanent("ckan.bad-request", format!("{name}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "canary-5f1d0c";

    fn settings(site_url: &str) -> Settings {
        Settings { site_url: Some(site_url.parse().unwrap()), api_key: Some(TOKEN.into()), ..Settings::default() }
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused_without_showing_secrets() {
        for site in ["ftp://data.example", "https://me:hunter2@data.example", "https://data.example/?key=hunter2"] {
            let error = Client::new(settings(site)).unwrap_err();
            assert!(matches!(error, SetupError::SiteUrl(_)), "{site}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        let broken = Settings { api_key: Some("canary\n5f1d0c".into()), ..settings("https://data.example") };
        let error = Client::new(broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
        let broken = Settings { token_header: "X Token".to_owned(), ..settings("https://data.example") };
        assert!(matches!(Client::new(broken), Err(SetupError::TokenHeader(_))));
    }

    #[test]
    fn the_client_shows_no_token_when_it_is_printed() {
        let client = Client::new(settings("https://data.example")).unwrap();
        assert!(!format!("{client:?} {client:#?}").contains(TOKEN));
        assert!(!format!("{:?}", settings("https://data.example")).contains(TOKEN));
    }
}
