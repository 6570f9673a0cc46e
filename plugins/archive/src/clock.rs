//! How long this run may still take.

use std::time::Duration;

use ckan_worker_plugin::Host;

/// How long a run has in all, as far as it has a deadline.
pub struct Clock {
    whole: Option<Duration>,
}

impl Clock {
    /// From the beginning of a run.
    pub fn at_the_start(host: Host<'_>) -> Self {
        Self { whole: host.remaining() }
    }

    /// Whether less than a fifth is left: nothing more is begun then, so that what was done is kept.
    pub fn is_short(&self, host: Host<'_>) -> bool {
        self.whole.zip(host.remaining()).is_some_and(|(whole, left)| left < whole / 5)
    }

    /// How long one request may take, so that a tenth is left to end well.
    pub fn for_a_request(&self, host: Host<'_>) -> Option<Duration> {
        let (whole, left) = self.whole.zip(host.remaining())?;
        Some(left.saturating_sub(whole / 10).max(Duration::from_millis(1)))
    }
}
