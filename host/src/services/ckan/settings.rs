//! How to reach CKAN, and why that may not work.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::http;

/// How to reach CKAN.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The portal, as in `https://data.example`; `None` if no worker is to use it.
    pub site_url: Option<Url>,
    /// CKAN's own `ckan.root_path`, as in `/data/{{LANG}}`; used if `site_url` has no path.
    pub root_path: Option<String>,
    /// Where public addresses are to be reached from here, as behind a reverse proxy.
    pub url_rewrite: Vec<Rewrite>,
    /// The API token; `None` for anonymous access.
    pub api_key: Option<SecretString>,
    /// The header that carries the token; CKAN's own `apitoken_header_name`.
    pub token_header: String,
    /// How long one request may take.
    pub timeout: Duration,
    /// How many writes go on at once.
    pub concurrency: usize,
    /// Whether nothing is written, and what would be is told instead.
    pub dry_run: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            site_url: None,
            root_path: None,
            url_rewrite: Vec::new(),
            api_key: None,
            token_header: "Authorization".to_owned(),
            timeout: Duration::from_secs(30),
            concurrency: 4,
            dry_run: false,
        }
    }
}

/// A public address and the one that it has from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// As links have it: `https://data.example`.
    pub public: Url,
    /// As we reach it: `http://ckan:5000`.
    pub internal: Url,
}

impl Rewrite {
    /// Reads `https://data.example=http://ckan:5000`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected =
            || format!("expected PUBLIC=INTERNAL as in https://data.example=http://ckan:5000, `{text}` is none");
        let (public, internal) = text.split_once('=').ok_or_else(expected)?;
        let address = |text: &str| {
            let url = Url::parse(text.trim()).ok()?;
            let is_plain = matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none();
            is_plain.then_some(url)
        };
        let (public, internal) = address(public).zip(address(internal)).ok_or_else(expected)?;
        Ok(Self { public, internal })
    }

    /// The internal address of what lies at or below the public one.
    pub(super) fn apply(&self, url: &Url) -> Option<Url> {
        let below = url.path().strip_prefix(self.public.path().trim_end_matches('/'))?;
        if url.origin() != self.public.origin() || !(below.is_empty() || below.starts_with('/')) {
            return None;
        }
        let mut rewritten = self.internal.clone();
        rewritten.set_path(&format!("{}{below}", self.internal.path().trim_end_matches('/')));
        rewritten.set_query(url.query());
        Some(rewritten)
    }
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

/// The token, ready to be sent.
pub(super) struct Token {
    pub(super) header: http::HeaderName,
    pub(super) value: http::HeaderValue,
    pub(super) text: SecretString,
}

impl Token {
    pub(super) fn new(header: &str, text: SecretString) -> Result<Self, SetupError> {
        use secrecy::ExposeSecret;
        let header = http::HeaderName::from_bytes(header.as_bytes())
            .map_err(|_| SetupError::TokenHeader(http::plain(header, 100)))?;
        let mut value = http::HeaderValue::from_str(text.expose_secret()).map_err(|_| SetupError::Token)?;
        value.set_sensitive(true);
        Ok(Self { header, value, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_public_address_has_an_internal_one() {
        let check = |rule: &str, url: &str, expected: &str| {
            let rewritten = Rewrite::parse(rule).unwrap().apply(&url.parse().unwrap());
            assert_eq!(rewritten.map(String::from).unwrap_or_default(), expected, "{rule} {url}");
        };
        let rule = "https://data.example=http://ckan:5000";
        check(rule, "https://data.example/dataset/x?a=b", "http://ckan:5000/dataset/x?a=b");
        check(rule, "https://data.example:443/", "http://ckan:5000/");
        check(rule, "http://data.example/", "");
        check(rule, "https://data.example:8443/", "");
        check(rule, "https://data.example.evil.example/", "");
        let rule = "https://city.example/data = http://ckan:5000/";
        check(rule, "https://city.example/data/dataset/x", "http://ckan:5000/dataset/x");
        check(rule, "https://city.example/data", "http://ckan:5000/");
        check(rule, "https://city.example/database", "");
    }

    #[test]
    fn a_rewrite_is_two_plain_addresses() {
        for text in ["https://data.example", "a=b", "https://u:p@a.example=http://b", "http://a=ftp://b", "=http://b"] {
            assert!(Rewrite::parse(text).unwrap_err().starts_with("expected PUBLIC=INTERNAL"), "{text}");
        }
    }
}
