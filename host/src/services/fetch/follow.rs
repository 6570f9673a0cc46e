//! Asks an address, and asks on where the answer says that the file has moved.

use std::collections::HashSet;
use std::time::Duration;

use ckan_worker_plugin::Method;
use jiff::Timestamp;
use tokio::time::timeout_at;
use url::{Origin, Url};

use super::ask::{Ask, Manner, first};
use super::link::{redirect, shown};
use super::pace::{Busy, Turn};
use super::way::Way;
use super::{Fetcher, failure};
use crate::services::http::{self, RequestBuilder, Response, StatusCode, Trouble, header};
use crate::services::{Failure, ckan};

/// How long a server may take to answer a HEAD: some never do, and answer a GET at once.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// How many connections that were kept open may turn out to be closed: no more are kept for a server.
const REUSED_MAX: u32 = 2;
/// A page so short in place of a file is what firewalls answer to a HEAD.
const PAGE_BYTES_MIN: u64 = 2048;

/// An answer at the end of the redirects, and the right to read it.
pub(super) struct Arrival {
    pub response: Response,
    pub turn: Turn,
}

impl Fetcher {
    /// Asks as the worker wants it, and judges the answer.
    pub(super) async fn arrive(&self, ask: &Ask<'_>, way: &mut Way) -> Result<Arrival, Failure> {
        let first_byte = self.deadlines.first_byte;
        let (method, range) = match ask.method {
            Method::Check => return self.check(ask, way).await,
            Method::Get => (http::Method::GET, ask.range()),
            Method::Head => (http::Method::HEAD, None),
            Method::Post => (http::Method::POST, None),
        };
        // What may have done something is not done again.
        let again = if method == http::Method::POST { 0 } else { REUSED_MAX };
        let mut manner = Manner { method, range, first_byte, again };
        let mut arrival = self.follow(ask, &manner, way).await?;
        // There is no first part of nothing, and some refuse all parts.
        if manner.range.is_some() && arrival.response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            drop(arrival);
            way.restart();
            manner.range = None;
            arrival = self.follow(ask, &manner, way).await?;
        }
        judged(arrival, ask)
    }

    /// Finds out whether an address answers: by HEAD, then by asking for one byte, then for all of it. Nothing is kept.
    async fn check(&self, ask: &Ask<'_>, way: &mut Way) -> Result<Arrival, Failure> {
        let first_byte = self.deadlines.first_byte;
        // Each is another try already.
        let again = 0;
        let head = Manner { method: http::Method::HEAD, range: None, first_byte: first_byte.min(HEAD_MAX), again };
        match self.follow(ask, &head, way).await {
            Ok(arrival) if is_convincing(&arrival.response, ask) || wants_peace(&arrival.response) => {
                return judged(arrival, ask);
            }
            Err(failure) if !matches!(failure.code, "fetch.timeout" | "fetch.read") => return Err(failure),
            Ok(_) | Err(_) => way.restart(),
        }
        let part = Manner { method: http::Method::GET, range: first(1), first_byte, again };
        match self.follow(ask, &part, way).await {
            Ok(arrival) if !refuses_parts(arrival.response.status()) => return judged(arrival, ask),
            Err(failure) if failure.code != "fetch.read" => return Err(failure),
            Ok(_) | Err(_) => way.restart(),
        }
        let whole = Manner { range: None, ..part };
        judged(self.follow(ask, &whole, way).await?, ask)
    }

    /// Asks in one manner, and follows redirects; each address is vetted like the first.
    ///
    /// From https to http is followed too: nothing secret goes along, and portals are full of such links. The way tells.
    async fn follow(&self, ask: &Ask<'_>, manner: &Manner, way: &mut Way) -> Result<Arrival, Failure> {
        let origin = ask.url.origin();
        let mut is_elsewhere = false;
        let mut seen = HashSet::from([way.url().clone()]);
        loop {
            let arrival = self.hop(ask, manner, way, is_elsewhere).await?;
            if ask.method == Method::Post {
                return Ok(arrival);
            }
            let Some(next) = redirect(&arrival.response, way.url())? else { return Ok(arrival) };
            if way.redirects() >= self.redirects_max {
                return Err(failure::redirects(&format!("more than {}", self.redirects_max)));
            }
            // What was left behind once stays behind, even if the way leads back.
            is_elsewhere |= is_another(&origin, &next);
            way.go_on(next);
            if !seen.insert(way.url().clone()) {
                return Err(failure::redirects(&format!("{} leads back to itself", shown(way.url()))));
            }
        }
    }

    /// Asks one address.
    async fn hop(&self, ask: &Ask<'_>, manner: &Manner, way: &mut Way, is_elsewhere: bool) -> Result<Arrival, Failure> {
        let url = way.url().clone();
        let host = url.host_str().unwrap_or_default();
        // Only the address itself: where a redirect leads has not been looked at by whoever lets us use the token.
        if let Some(portal) = ask.portal.filter(|_| way.redirects() == 0) {
            return self.hop_to_portal(portal, ask, manner, way).await;
        }
        let client = self.door.client_for(&url).map_err(|forbidden| failure::forbidden(&forbidden, &url))?;
        let turn = self.pace.enter(host).await.map_err(|busy| too_busy(&url, &busy))?;
        let mut request = client.request(manner.method.clone(), url.clone()).headers(ask.headers_for(is_elsewhere));
        if let Some(range) = &manner.range {
            request = request.header(header::RANGE, range);
        }
        if ask.method == Method::Post {
            request = request.body(ask.body.clone());
        }
        let response = self.sent(request, manner, &url).await?;
        way.answered(response.status().as_u16());
        if wants_peace(&response) {
            let wait = http::retry_after(response.headers(), Timestamp::now()).unwrap_or_default();
            self.pace.leave_alone(host, wait);
        }
        Ok(Arrival { response, turn })
    }
}

/// The portal's own files.
impl Fetcher {
    /// Asks the portal for a file that was uploaded to it. It is no stranger: it is not vetted, and sees the token.
    async fn hop_to_portal(
        &self,
        portal: &ckan::Client,
        ask: &Ask<'_>,
        manner: &Manner,
        way: &mut Way,
    ) -> Result<Arrival, Failure> {
        let url = way.url().clone();
        let turn = self.pace.enter(url.host_str().unwrap_or_default()).await.map_err(|busy| too_busy(&url, &busy))?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in
            ask.headers_for(false).iter().chain(manner.range.iter().map(|range| (&header::RANGE, range)))
        {
            headers.push((name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        }
        let response = portal.open(&url, &headers, manner.method.clone()).await?;
        way.answered(response.status().as_u16());
        Ok(Arrival { response, turn })
    }
}

/// Sending.
impl Fetcher {
    /// Sends a request until the head of an answer is there. Servers close connections that are kept open, some without a
    /// word: what was asked for on such a one is asked for again on another, as often as the manner allows.
    async fn sent(&self, request: RequestBuilder, manner: &Manner, url: &Url) -> Result<Response, Failure> {
        let until = tokio::time::Instant::now() + manner.first_byte;
        let mut again = manner.again;
        let mut request = request;
        loop {
            let next = request.try_clone();
            let sent = timeout_at(until, request.send())
                .await
                .map_err(|_| failure::timed_out(manner.first_byte, "no answer came"))?;
            match (sent.map_err(Trouble::from), next) {
                (Ok(response), _) => return Ok(response),
                (Err(Trouble::Broken(_)), Some(next)) if again > 0 => {
                    again -= 1;
                    request = next;
                }
                (Err(trouble), _) => return Err(failure::no_answer(trouble, url, self.deadlines.connect)),
            }
        }
    }
}

fn too_busy(url: &Url, busy: &Busy) -> Failure {
    let why = if busy.by_request { "it asked for that" } else { "as many requests as it may get are under way" };
    failure::host_busy(url, busy.wait, why)
}

fn is_another(origin: &Origin, next: &Url) -> bool {
    *origin != next.origin()
}

/// Passes a good answer; another becomes a failure.
fn judged(arrival: Arrival, ask: &Ask<'_>) -> Result<Arrival, Failure> {
    let status = arrival.response.status();
    let is_good = status.is_success()
        || (status == StatusCode::NOT_MODIFIED && ask.is_conditional())
        || (status.is_redirection() && ask.method == Method::Post);
    if is_good { Ok(arrival) } else { Err(failure::status(&arrival.response)) }
}

/// Whether a HEAD was answered as a file would be: not refused, and not by a short page in its place.
fn is_convincing(response: &Response, ask: &Ask<'_>) -> bool {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let is_page = header(header::CONTENT_TYPE).is_some_and(|kind| kind.trim().to_lowercase().starts_with("text/html"));
    let bytes: Option<u64> = header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let is_short_page = is_page && bytes.is_some_and(|bytes| bytes < PAGE_BYTES_MIN);
    (status == StatusCode::OK && !is_short_page) || (status == StatusCode::NOT_MODIFIED && ask.is_conditional())
}

/// Whether a server wants to be left alone for a while.
fn wants_peace(response: &Response) -> bool {
    matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        && response.headers().contains_key(header::RETRY_AFTER)
}

/// Whether the same question without a range may be answered better.
fn refuses_parts(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 403 | 405 | 406 | 416 | 500 | 501)
}
