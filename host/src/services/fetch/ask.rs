//! What a worker asks for, checked before anything is sent.

use std::time::Duration;

use bytes::Bytes;
use ckan_worker_plugin::{Hash, Method, WireRequest};
use url::Url;

use super::link::parse;
use crate::services::http::{self, HeaderMap, HeaderName, HeaderValue, header};
use crate::services::{Failure, ckan};

/// How many headers a worker may send, and how long they may be together.
const HEADERS_MAX: usize = 32;
const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// What the host sets itself, and what would change how the connection is used.
const OURS: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "accept-encoding",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "proxy-connection",
];

/// What says nothing about who asks: it goes along when a redirect leads to another server. All else stays behind, for
/// a token may have any name.
const HARMLESS: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::USER_AGENT,
];

/// A request that may be sent.
pub(super) struct Ask<'a> {
    pub url: Url,
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub keep: Keep,
    pub hash: Hash,
    /// Shorter than the host's own limit, if that.
    pub timeout: Option<Duration>,
    /// The portal, if the file was uploaded to it and may be opened with its token.
    pub portal: Option<&'a ckan::Client>,
}

/// How much of the content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Nothing,
    /// All of it, or it is an error.
    All {
        bytes_max: u64,
    },
    /// Its beginning.
    First {
        bytes: u64,
    },
}

/// One way of sending it: [`Method::Check`] has three.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub method: http::Method,
    /// The part of the content that is asked for.
    pub range: Option<HeaderValue>,
    /// How long the head of an answer may take.
    pub first_byte: Duration,
    /// How often it is sent again on another connection, if one is closed before an answer comes.
    pub again: u32,
}

impl Ask<'_> {
    /// Checks what crossed the border.
    pub fn read(request: &WireRequest, body: Bytes) -> Result<Self, Failure> {
        let url = parse(&request.url)?;
        let headers = headers(&request.headers)?;
        let keep = match (request.method, request.first_bytes, request.bytes_max) {
            (Method::Head | Method::Check, ..) | (_, Some(0), _) | (_, None, 0) => Keep::Nothing,
            (_, Some(bytes), 0) => Keep::First { bytes },
            // The limit is an error only where more would be taken than it allows.
            (_, Some(bytes), bytes_max) if bytes <= bytes_max => Keep::First { bytes },
            (_, _, bytes_max) => Keep::All { bytes_max },
        };
        Ok(Self {
            url,
            method: request.method,
            headers,
            body,
            keep,
            hash: request.hash,
            timeout: request.timeout_ms.map(Duration::from_millis),
            portal: None,
        })
    }

    /// Whether "it is unchanged" answers the question.
    pub fn is_conditional(&self) -> bool {
        self.headers.contains_key(header::IF_NONE_MATCH) || self.headers.contains_key(header::IF_MODIFIED_SINCE)
    }

    /// The part of the content that is asked for: its beginning, unless the worker named a part itself.
    pub fn range(&self) -> Option<HeaderValue> {
        match self.keep {
            Keep::First { bytes } if !self.headers.contains_key(header::RANGE) => first(bytes),
            _ => None,
        }
    }

    /// The headers that go along; to another server than the first only those that tell nothing.
    pub fn headers_for(&self, is_elsewhere: bool) -> HeaderMap {
        let mut headers = self.headers.clone();
        if is_elsewhere {
            for name in self.headers.keys().filter(|name| !HARMLESS.contains(name)) {
                headers.remove(name);
            }
        }
        headers
    }
}

/// `bytes=0-…`, which asks for the first so many bytes.
pub(super) fn first(bytes: u64) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("bytes=0-{}", bytes.checked_sub(1)?)).ok()
}

fn headers(sent: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let bytes: usize = sent.iter().map(|(name, value)| name.len() + value.len()).sum();
    if sent.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
        return Err(invalid(format!(
            "a request has at most {HEADERS_MAX} headers with {HEADERS_BYTES_MAX} bytes in all, these are {} with \
             {bytes}",
            sent.len()
        )));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        let shown = http::plain(name, 100);
        let known =
            HeaderName::try_from(name).map_err(|_| invalid(format!("expected the name of a header, got {shown:?}")))?;
        if OURS.contains(&known.as_str()) {
            return Err(invalid(format!("the header `{known}` is set by the host; leave it out")));
        }
        // Its value may be a secret, so it is not shown.
        let value = HeaderValue::try_from(value)
            .map_err(|_| invalid(format!("the value of the header `{known}` has line breaks or control characters")))?;
        headers.append(known, value);
    }
    Ok(headers)
}

fn invalid(message: String) -> Failure {
    Failure::permanent("fetch.invalid-header", message)
}
