//! The outbox of a portal's extension, which is asked for what it has until it has nothing more.

use std::time::Duration;

/// How the outbox is emptied.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often it is asked while it has nothing.
    pub interval: Duration,
}
