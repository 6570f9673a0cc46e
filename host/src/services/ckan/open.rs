//! Opens files that were uploaded to CKAN, those of private datasets too.

use url::Url;

use super::{Client, bad_request, site};
use crate::services::Failure;
use crate::services::http::{self, HeaderName, HeaderValue, Method, header};

/// How long an opened file may be read at most; whoever reads it has a shorter limit of its own.
const OPEN_MAX: std::time::Duration = std::time::Duration::from_secs(60 * 60);

impl Client {
    /// Whether an address is the portal's own, by scheme, host and port, as seen from outside or from here.
    pub fn owns(&self, url: &Url) -> bool {
        self.site.owns(url)
    }

    /// Where a public address is reached from here; `None` if it is reached as it is.
    pub fn internal(&self, url: &Url) -> Option<Url> {
        self.site.internal(url)
    }

    /// The id of the resource that [`open`](Self::open) would open: that of the file, uploaded to the portal, whose
    /// address this is.
    pub fn uploaded_resource<'u>(&self, url: &'u Url) -> Option<&'u str> {
        site::upload(url).filter(|_| self.owns(url))
    }

    /// Asks the portal for a file that was uploaded to it, with the token, and answers what it says once the head is
    /// there: also a redirect, which is not followed, and a refusal.
    ///
    /// The token goes to the portal's own addresses and to no other; nothing but an upload is opened, for whoever typed
    /// an address must not see with our rights what else the portal has.
    ///
    /// # Errors
    /// `ckan.bad-request` if this is not the address of an upload or not a `GET` or `HEAD`; `ckan.unavailable` or
    /// `ckan.config` if the portal cannot be reached.
    pub async fn open(
        &self,
        url: &Url,
        headers: &[(String, String)],
        method: Method,
    ) -> Result<http::Response, Failure> {
        const NAME: &str = "download";
        if self.uploaded_resource(url).is_none() {
            return Err(bad_request(NAME, "this is not the address of a file that was uploaded to the portal"));
        }
        if !matches!(method, Method::GET | Method::HEAD) {
            return Err(bad_request(NAME, "files are asked for by GET or HEAD"));
        }
        let url = self.internal(url).unwrap_or_else(|| url.clone());
        let mut request = self.http.request(method, url).timeout(OPEN_MAX).header(header::ACCEPT_ENCODING, "identity");
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad_request(NAME, "no name of a header"))?;
            let value = HeaderValue::from_str(value).map_err(|_| bad_request(NAME, "no value of a header"))?;
            // Who we are is for us to say.
            if !self.is_ours(&name) {
                request = request.header(name, value);
            }
        }
        let sent = tokio::time::timeout(self.timeout, self.with_token(request).send()).await;
        match sent {
            Ok(answer) => answer.map_err(|error| self.unreachable(NAME, error)),
            Err(_) => Err(self.silent(NAME)),
        }
    }

    fn is_ours(&self, name: &HeaderName) -> bool {
        let ours = [&header::AUTHORIZATION, &header::COOKIE, &header::HOST, &header::ACCEPT_ENCODING];
        ours.contains(&name) || self.token.as_ref().is_some_and(|token| token.header == *name)
    }
}
