//! The one connection to CKAN, and the only place that knows the token.
//!
//! A call is one request to `/api/3/action/NAME`; what the portal answers becomes the JSON of `result`, or a
//! [`Failure`] by the table in `answer`. The token goes to the portal's own address and nowhere else: redirects are
//! not followed, proxies not used.

mod answer;
mod breaker;
mod check;
mod request;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use self::breaker::Breaker;
pub use self::check::{CheckReport, Identity, Portal};
use self::request::{actions_url, query_pairs};
use super::Failure;
use super::http::{self, HeaderName, HeaderValue, Trouble, Unread, header};

/// The longest answer that is taken; a `package_search` for 1,000 large datasets stays well below.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A token shorter than this is not looked for in what the portal says; CKAN's are far longer.
const TOKEN_BYTES_MIN: usize = 8;

/// The code of a call that did not reach CKAN.
pub const UNAVAILABLE: &str = "ckan.unavailable";
/// The code of a call about something that CKAN does not know, or not yet.
pub const NOT_FOUND: &str = "ckan.not-found";
/// The code of a call that CKAN does not let us make.
pub const NOT_AUTHORIZED: &str = "ckan.not-authorized";

/// How to reach CKAN.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The portal, as in `https://data.example`; `None` if no worker is to use it.
    pub site_url: Option<Url>,
    /// The API token; `None` for anonymous access.
    pub api_key: Option<SecretString>,
    /// The header that carries the token; CKAN's own `apitoken_header_name`.
    pub token_header: String,
    /// How long one call may take.
    pub timeout: Duration,
}

/// Why the portal cannot be called with these settings. It never says what the token is.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address is not one of a portal.
    #[error("`ckan.site_url` must be an address like `https://data.example`, without user, password or query: {0}")]
    SiteUrl(&'static str),
    /// The header cannot be sent.
    #[error("`{0}` is no name for the header that carries the API token; CKAN's default is `Authorization`")]
    TokenHeader(String),
    /// The token cannot be sent.
    #[error("`ckan.api_key` contains characters that no API token has, perhaps a line break")]
    Token,
    /// No HTTP client can be made.
    #[error("cannot make an HTTP client for CKAN")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The portal, by its action API.
pub struct Client {
    http: http::Client,
    /// Ends in `/api/3/action/`; `None` if no portal is set.
    actions: Option<Url>,
    token: Option<Token>,
    timeout: Duration,
    breaker: Breaker,
}

struct Token {
    header: HeaderName,
    value: HeaderValue,
    text: SecretString,
}

impl Client {
    /// Makes a client; it connects when it is first used.
    ///
    /// # Errors
    /// [`SetupError`] if the settings cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        let http = http::portal_client(settings.timeout).map_err(|error| SetupError::Client(error.into()))?;
        let actions = settings.site_url.as_ref().map(actions_url).transpose()?;
        let token = settings.api_key.map(|text| Token::new(&settings.token_header, text)).transpose()?;
        Ok(Self { http, actions, token, timeout: settings.timeout, breaker: Breaker::default() })
    }

    /// Calls an action by POST with a JSON object, and answers the JSON of its `result`.
    ///
    /// # Errors
    /// `ckan.config`, `ckan.bad-request`, `ckan.not-authorized`, `ckan.not-found`, `ckan.validation`,
    /// `ckan.lost-race`, `ckan.search`, `ckan.too-large`, `ckan.rate-limited`, `ckan.unavailable`, `ckan.server`,
    /// `ckan.incompatible`. After `ckan.unavailable` and `ckan.server` the action may have been done all the same.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the action may have been done all the same.
    pub async fn action(&self, name: &str, body: impl Into<Bytes>) -> Result<Bytes, Failure> {
        let url = self.url(name)?;
        let mut body = body.into();
        if body.is_empty() {
            body = Bytes::from_static(b"{}");
        }
        let request = self.http.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
        self.call(name, request).await
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
        self.call(name, self.http.get(url)).await
    }

    /// Whether a portal is set at all.
    pub fn is_set(&self) -> bool {
        self.actions.is_some()
    }

    /// Asks whether the portal answers, and whom it takes us for.
    pub async fn check(&self) -> CheckReport {
        check::run(self).await
    }

    /// Whether CKAN is away, as far as the last calls tell.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    async fn call(&self, name: &str, request: http::RequestBuilder) -> Result<Bytes, Failure> {
        let called = self.call_once(name, request).await;
        match &called {
            Err(failure) if failure.code == UNAVAILABLE => self.breaker.failed(),
            _ => self.breaker.worked(),
        }
        called
    }

    async fn call_once(&self, name: &str, mut request: http::RequestBuilder) -> Result<Bytes, Failure> {
        if let Some(token) = &self.token {
            request = request.header(&token.header, &token.value);
        }
        let response = request.send().await.map_err(|error| self.unreachable(name, error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match http::read(response, ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(Unread::TooLarge) => return Err(answer::too_long(name, ANSWER_BYTES_MAX)),
            Err(Unread::Broken(error)) => return Err(self.unreachable(name, error)),
        };
        answer::result(name, status, &headers, &body).map_err(|failure| self.without_token(failure))
    }

    fn url(&self, name: &str) -> Result<Url, Failure> {
        let actions = self.actions.as_ref().ok_or_else(|| {
            Failure::permanent(
                "ckan.config",
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
            Trouble::Timeout => format!("it did not answer in time, at most {} s", self.timeout.as_secs_f64()),
            Trouble::Tls { reason, lasting: true } => {
                return Failure::permanent("ckan.config", format!("{name}: no secure connection to CKAN: {reason}"));
            }
            Trouble::Unsendable(reason) => return bad_request(name, &reason),
            Trouble::Tls { reason, .. } | Trouble::Connect(reason) | Trouble::Broken(reason) => reason,
            Trouble::Forbidden(forbidden) => forbidden.to_string(),
        };
        let message = format!("{name}: CKAN cannot be reached: {}", http::plain(&reason, 300));
        Failure::retryable(UNAVAILABLE, message)
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
        let actions = self.actions.as_ref().map(Url::as_str);
        formatter
            .debug_struct("Client")
            .field("actions", &actions)
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

impl Token {
    fn new(header: &str, text: SecretString) -> Result<Self, SetupError> {
        let header =
            HeaderName::from_bytes(header.as_bytes()).map_err(|_| SetupError::TokenHeader(http::plain(header, 100)))?;
        let mut value = HeaderValue::from_str(text.expose_secret()).map_err(|_| SetupError::Token)?;
        value.set_sensitive(true);
        Ok(Self { header, value, text })
    }
}

fn bad_request(name: &str, reason: &str) -> Failure {
    Failure::permanent("ckan.bad-request", format!("{name}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "canary-5f1d0c";

    fn settings(site_url: &str) -> Settings {
        Settings {
            site_url: Some(site_url.parse().unwrap()),
            api_key: Some(TOKEN.into()),
            token_header: "Authorization".to_owned(),
            timeout: Duration::from_secs(5),
        }
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
