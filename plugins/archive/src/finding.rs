//! What was found when a resource was looked at.

use ckan_worker_plugin::Trace;

use crate::address::without_secrets;
use crate::record::Hop;
use crate::status::Status;

/// What was found when a resource was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What became of it.
    pub status: Status,
    /// Why; may be empty.
    pub reason: String,
    /// What there is of it.
    pub got: Got,
    /// How it was reached, or how far one came.
    pub way: Way,
    /// What was asked for, as in `GET` or `WMS 1.3`.
    pub request_type: Option<&'static str>,
    /// The limit that it was longer than.
    pub over_limit: Option<u64>,
}

/// What there is of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// Nothing.
    Nothing,
    /// A copy.
    Copy(Copied),
    /// The copy that was there, for its server says that it is still the same.
    SameCopy {
        /// Where.
        path: String,
        /// Where it is served, if that is known.
        url: Option<String>,
    },
    /// What its server says of it; nothing was kept.
    Head(Seen),
}

/// The copy of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Where.
    pub path: String,
    /// Where it is served, if that is known.
    pub url: Option<String>,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// Which hash that is.
    pub hash_algorithm: String,
    /// Its length, media type and validators.
    pub seen: Seen,
}

/// What is known of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its length in bytes.
    pub bytes: Option<u64>,
    /// Its media type.
    pub mimetype: Option<String>,
    /// The `ETag` it came with.
    pub etag: Option<String>,
    /// The `Last-Modified` it came with.
    pub last_modified: Option<String>,
}

/// How an address was reached, or how far one came. Its addresses are without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// The address that answered, if it is another.
    pub redirected_to: Option<String>,
    /// Whether that is for good.
    pub is_permanent: bool,
    /// The redirects.
    pub hops: Vec<Hop>,
    /// The HTTP status of the last answer.
    pub http_status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
}

impl Finding {
    /// A finding without a file.
    pub fn without_copy(status: Status, reason: &str) -> Self {
        let (got, way) = (Got::Nothing, Way::default());
        Self { status, reason: ckan_worker_plugin::one_line(reason), got, way, request_type: None, over_limit: None }
    }
}

impl From<&Trace> for Way {
    fn from(trace: &Trace) -> Self {
        let hop = |hop: &ckan_worker_plugin::Redirect| Hop {
            status: hop.status,
            url: ckan_worker_plugin::one_line(&without_secrets(&hop.url)),
        };
        Self {
            redirected_to: (!trace.redirects.is_empty())
                .then(|| ckan_worker_plugin::one_line(&without_secrets(&trace.url))),
            is_permanent: trace.is_moved_for_good(),
            hops: trace.redirects.iter().map(hop).collect(),
            http_status: trace.status,
            duration_ms: Some(trace.duration_ms),
        }
    }
}
