//! The one hash of the demo.

use axum::body::Bytes;
use sha2::{Digest as _, Sha256};

/// The sha256 of `content`, in hex.
pub(super) fn sha256(content: impl AsRef<[u8]>) -> String {
    format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(content)))
}
