//! What a worker may ask of the host.

mod address;
pub mod call;
pub mod ckan;
pub mod fetch;
pub mod ffi;
mod http;
mod remembered;

pub use remembered::STORE;

use std::time::Duration;

use ckan_worker_abi::{Reply, Status};

/// Why a service could not do what a worker asked of it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Whether trying again is of use: `RETRY`, `PERMANENT`, `CANCELLED`, `HOST_ERROR`.
    pub status: Status,
    /// The word for machines, as in `ckan.not-found`.
    pub code: &'static str,
    /// The sentence for people.
    pub message: String,
    /// How long to wait at least before the next attempt.
    pub retry_after: Option<Duration>,
    /// JSON with more; may be empty.
    pub detail: String,
}

impl Failure {
    /// A failure that may pass.
    pub fn retryable(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::RETRY, code, message: message.into(), retry_after: None, detail: String::new() }
    }

    /// A failure that will not pass.
    pub fn permanent(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::PERMANENT, ..Self::retryable(code, message) }
    }

    /// The call was taken back.
    pub fn cancelled() -> Self {
        Self { status: Status::CANCELLED, ..Self::retryable("cancelled", "the host took the work back") }
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self {
            status: failure.status,
            flags: 0,
            retry_after_ms: failure
                .retry_after
                .map_or(0, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).max(1)),
            code: failure.code.into(),
            message: failure.message.into(),
            detail: failure.detail.into(),
        }
    }
}
