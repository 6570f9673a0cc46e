//! Counts how requests end.

use std::sync::atomic::{AtomicU64, Ordering};

use ckan_worker_plugin::Response;

use crate::services::Failure;

/// How a request can end: well, or as the codes of its failures say; a worker that gives up takes it back.
const OUTCOMES: [&str; 16] = [
    "ok",
    "not-modified",
    "cancelled",
    "invalid-url",
    "invalid-header",
    "forbidden-address",
    "forbidden-port",
    "host-busy",
    "redirects",
    "status",
    "too-large",
    "timeout",
    "connect",
    "tls",
    "read",
    "disk",
];

/// What has become of requests so far.
#[derive(Debug, Default)]
pub struct Counts {
    outcomes: [AtomicU64; OUTCOMES.len()],
    bytes: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// How many requests ended in each way, all of which are named.
    pub outcomes: Vec<(&'static str, u64)>,
    /// How many bytes of content have been written to files that were handed over.
    pub bytes: u64,
}

impl Snapshot {
    /// How many requests ended so.
    pub fn outcome(&self, name: &str) -> u64 {
        self.outcomes.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}

impl Counts {
    /// The counts as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let counts = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
        Snapshot { outcomes: OUTCOMES.into_iter().zip(counts).collect(), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// Begins a request; one that is never told how it ended was taken back.
    pub(super) fn begin(&self) -> Open<'_> {
        Open { counts: self, outcome: "cancelled" }
    }

    fn add(&self, outcome: &str) {
        if let Some(place) = OUTCOMES.iter().position(|known| *known == outcome) {
            self.outcomes[place].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A request that has not ended yet.
pub(super) struct Open<'a> {
    counts: &'a Counts,
    outcome: &'static str,
}

impl Open<'_> {
    /// Notes how it ended.
    pub fn end(mut self, answer: &Result<Response, Failure>) {
        self.outcome = match answer {
            Ok(response) if response.is_not_modified() => "not-modified",
            Ok(response) => {
                let bytes = response.body.as_ref().map_or(0, |body| body.bytes);
                self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
                "ok"
            }
            Err(failure) => failure.code.strip_prefix("fetch.").unwrap_or(failure.code),
        };
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.counts.add(self.outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_counted_once_by_how_it_ended() {
        let counts = Counts::default();
        counts.begin().end(&Ok(Response::default()));
        counts.begin().end(&Err(Failure::retryable("fetch.timeout", "")));
        drop(counts.begin());
        let snapshot = counts.snapshot();
        let ended = |name| snapshot.outcome(name);
        assert_eq!((ended("ok"), ended("timeout"), ended("cancelled")), (1, 1, 1));
        assert_eq!(snapshot.outcomes.iter().map(|(_, count)| count).sum::<u64>(), 3);
    }
}
