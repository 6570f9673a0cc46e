//! What is asked of a resource's server, and what its answer is.

use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::{Body, Class, Method, Request, Response, Trace};

use crate::dataset::Resource;
use crate::finding::Seen;
use crate::page::{self, Fault, HEAD_BYTES, Head};
use crate::round::{Round, Wanted};
use crate::service;
use crate::sniff::sniff;
use crate::status::OUT_OF_TIME;

/// What the record calls the request for a whole file.
pub const GET: &str = "GET";
/// What the record calls the request for a head.
const CHECK: &str = "CHECK";

/// A page longer than this is no error page.
const PAGE_BYTES_MAX: u64 = 64 * 1024;

/// An answer that was read.
pub struct Reading {
    /// How it was reached.
    pub trace: Trace,
    /// What was asked for.
    pub request_type: &'static str,
    /// What came.
    pub content: Content,
    /// The beginning of what came, as a text.
    head: String,
}

/// What came.
pub enum Content {
    /// The copy that is here is still the same.
    NotModified,
    /// A file that is to be kept.
    File {
        /// It.
        body: Body,
        /// What is odd about it.
        remark: String,
        /// What is known of it.
        seen: Seen,
    },
    /// Something of which nothing is kept.
    Seen {
        /// What is known of it.
        seen: Seen,
        /// What is odd about it.
        remark: String,
    },
    /// An error that came as a success.
    Fault(Fault),
}

/// What is asked for, as the record calls it.
pub fn request_type(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Copy => GET,
        Wanted::Look => CHECK,
    }
}

/// Asks for the whole file, and under these conditions.
pub fn for_all(round: &Round<'_>, resource: &Resource, conditions: &[(&'static str, String)]) -> Result<Reading> {
    let asker = Asker { round, resource, wanted: Wanted::Copy };
    let first = asker.read(resource.url(), conditions);
    asker.or_capabilities(first)
}

/// Asks only for the head: whether the link works. Where that does not tell, a little of the content is looked at.
pub fn for_head(round: &Round<'_>, resource: &Resource) -> Result<Reading> {
    let asker = Asker { round, resource, wanted: Wanted::Look };
    if service::is_likely(resource.declared(), resource.url()) {
        // Map services say what is wrong with status 200.
        let first = asker.read(resource.url(), &[]);
        return asker.or_capabilities(first);
    }
    let response = asker.send(round.host.request(resource.url()).method(Method::Check))?;
    if is_doubtful(&response, resource.declared()) {
        return asker.read(resource.url(), &[]);
    }
    let seen = seen_of(&response, length_of(&response));
    Ok(Reading {
        trace: response.trace,
        request_type: CHECK,
        content: Content::Seen { seen, remark: String::new() },
        head: String::new(),
    })
}

struct Asker<'a> {
    round: &'a Round<'a>,
    resource: &'a Resource,
    wanted: Wanted,
}

impl Asker<'_> {
    /// Sends a request, unless there is no time for it.
    fn send(&self, request: Request<'_>) -> Result<Response> {
        let Some(limit) = self.round.clock.for_a_request(self.round.host) else { return request.send() };
        request.timeout(limit).send().map_err(|error| {
            let took = Trace::of(&error).map_or(0, |trace| u128::from(trace.duration_ms));
            // Slow or not, it was not given the time that others get.
            let cut_short = error.code() == "fetch.timeout" && took >= limit.as_millis();
            if cut_short { Error::retryable("this run had no more time for it").with_code(OUT_OF_TIME) } else { error }
        })
    }

    /// Asks for the content, or as much of it as is looked at, and reads it.
    fn read(&self, url: &str, conditions: &[(&'static str, String)]) -> Result<Reading> {
        let policy = self.round.policy;
        let mut request = self.round.host.request(url).hash(policy.hash);
        request = match self.wanted {
            Wanted::Copy => request.bytes_max(policy.bytes_max),
            Wanted::Look => request.bytes_max(HEAD_BYTES).first_bytes(HEAD_BYTES),
        };
        for (name, value) in conditions {
            request = request.header(*name, value.as_str());
        }
        let mut response = self.send(request)?;
        let request_type = request_type(self.wanted);
        let is_conditional = !conditions.is_empty();
        if is_conditional && response.is_not_modified() {
            let content = Content::NotModified;
            return Ok(Reading { trace: response.trace, request_type, content, head: String::new() });
        }
        let body = response.body.take();
        let (content, head) = self.content(&response, body)?;
        Ok(Reading { trace: response.trace, request_type, content, head })
    }

    fn content(&self, response: &Response, body: Option<Body>) -> Result<(Content, String)> {
        let fault = |reason: String| Ok((Content::Fault(Fault::Other(reason)), String::new()));
        if response.is_not_modified() {
            return fault("Server reported status 304 without being asked for changes".to_owned());
        }
        let Some(body) = body else { return fault("Content-length after streaming was 0".to_owned()) };
        let length = if body.is_whole { Some(body.bytes) } else { length_of(response) };
        if body.bytes == 0 || length.is_some_and(|length| length < self.round.policy.bytes_min) {
            return fault(format!("Content-length after streaming was {}", body.bytes));
        }
        let declared = self.resource.declared();
        let head = Head::read(&body.path, length)?;
        if let Some(fault) = page::fault(&head, declared) {
            return Ok((Content::Fault(fault), head.text()));
        }
        let sniffed = sniff(&body.path, &head, declared)?;
        let seen = Seen { mimetype: Some(sniffed.mimetype), ..seen_of(response, length) };
        let remark = match length {
            Some(1) => "it is only 1 byte long".to_owned(),
            _ => sniffed.remark,
        };
        let content = match self.wanted {
            Wanted::Copy => Content::File { body, remark, seen },
            Wanted::Look => Content::Seen { seen, remark },
        };
        Ok((content, head.text()))
    }

    /// Asks a map service for its capabilities where the address as it is gives an error.
    ///
    /// Only where the server answers at all, and where it looks like a map service or answered like one.
    fn or_capabilities(&self, first: Result<Reading>) -> Result<Reading> {
        let answered_like_one = match &first {
            Ok(Reading { content: Content::Fault(fault), .. }) => matches!(fault, Fault::Report(_)),
            Err(error) if error.code() == "fetch.status" && error.delay().is_none() => false,
            _ => return first,
        };
        for attempt in service::attempts(self.resource.declared(), self.resource.url(), answered_like_one) {
            match self.read(&attempt.url, &[]) {
                Ok(reading) if is_an_answer(&reading, &attempt) => {
                    return Ok(Reading { request_type: attempt.name, ..reading });
                }
                Err(error) if error.class() == Class::Cancelled => return Err(error),
                _ => {}
            }
        }
        first
    }
}

fn is_an_answer(reading: &Reading, attempt: &service::Attempt) -> bool {
    let is_file = matches!(reading.content, Content::File { .. } | Content::Seen { .. });
    let text = reading.head.trim_start();
    is_file && if attempt.is_ogc { service::names_capabilities(text) } else { text.starts_with('{') }
}

/// Whether a head leaves open what the content is: a short page, or nothing, where a data file was declared.
fn is_doubtful(response: &Response, declared: &str) -> bool {
    let is_page = response.header("content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html"));
    let length = length_of(response);
    let is_short = length.is_none_or(|length| length <= PAGE_BYTES_MAX);
    length == Some(0) || (is_page && is_short && page::is_data(declared))
}

/// How long the whole file is, as its server says.
fn length_of(response: &Response) -> Option<u64> {
    let of_range = response.header("content-range").and_then(|range| range.rsplit_once('/')).map(|(_, all)| all);
    match of_range {
        Some(all) => all.trim().parse().ok(),
        None => response.header("content-length").and_then(|length| length.trim().parse().ok()),
    }
}

fn seen_of(response: &Response, bytes: Option<u64>) -> Seen {
    let text = |name: &str| response.header(name).map(str::to_owned);
    let mimetype = text("content-type").map(|kind| kind.split(';').next().unwrap_or_default().trim().to_lowercase());
    Seen { bytes, mimetype, etag: text("etag"), last_modified: text("last-modified") }
}
