//! What was found when a resource was looked at.

use crate::status::{Status, clean};

/// What was found when a resource was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What became of it.
    pub status: Status,
    /// Why; may be empty.
    pub reason: String,
    /// The address that answered, if it is another.
    pub redirected_to: Option<String>,
    /// Whether that is for good.
    pub redirect_is_permanent: bool,
    /// The copy; there is one exactly if the link works.
    pub copy: Option<Copied>,
    /// The limit that it was longer than.
    pub over_limit: Option<u64>,
}

/// The copy of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Where.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its media type, as its content looks.
    pub mimetype: String,
    /// Its SHA-256.
    pub sha256: String,
    /// The `ETag` it came with.
    pub etag: Option<String>,
    /// The `Last-Modified` it came with.
    pub last_modified: Option<String>,
}

impl Finding {
    /// A finding without a copy.
    pub fn without_copy(status: Status, reason: &str) -> Self {
        Self {
            status,
            reason: clean(reason),
            redirected_to: None,
            redirect_is_permanent: false,
            copy: None,
            over_limit: None,
        }
    }
}
