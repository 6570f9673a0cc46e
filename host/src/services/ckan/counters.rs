//! Counts the calls, by what they are and how they ended.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Kind;
use super::{CONFIG, LOST_RACE, NOT_AUTHORIZED, NOT_FOUND, RATE_LIMITED, SEARCH, SERVER, UNAVAILABLE};

/// How a call ended, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// CKAN has done it.
    Done,
    /// There is no such thing.
    NotFound,
    /// The token does not suffice.
    NotAuthorized,
    /// The values or the request are wrong.
    Invalid,
    /// Another write came first.
    LostRace,
    /// The portal asks for fewer requests.
    RateLimited,
    /// CKAN, or its search, failed.
    Server,
    /// CKAN was not reached.
    Unavailable,
    /// The settings are wrong, or that is no CKAN.
    Config,
    /// It was a dry run.
    DryRun,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::NotFound,
        Self::NotAuthorized,
        Self::Invalid,
        Self::LostRace,
        Self::RateLimited,
        Self::Server,
        Self::Unavailable,
        Self::Config,
        Self::DryRun,
    ];

    pub(super) fn by(code: &str) -> Self {
        match code {
            NOT_FOUND => Self::NotFound,
            NOT_AUTHORIZED => Self::NotAuthorized,
            LOST_RACE => Self::LostRace,
            RATE_LIMITED => Self::RateLimited,
            SERVER | SEARCH => Self::Server,
            UNAVAILABLE => Self::Unavailable,
            CONFIG | "ckan.incompatible" => Self::Config,
            _ => Self::Invalid,
        }
    }
}

/// How many calls there were.
#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: [[AtomicU64; Ended::ALL.len()]; Kind::ALL.len()],
    repeated: AtomicU64,
}

/// How many calls there were, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The calls, by kind and end; only what there was.
    pub calls: Vec<(Kind, Ended, u64)>,
    /// How many requests were sent again within a call.
    pub repeated: u64,
}

impl Counters {
    pub(super) fn count(&self, kind: Kind, ended: Ended) {
        self.calls[kind as usize][ended as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn repeat(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Counted {
        let all = Kind::ALL.iter().flat_map(|kind| Ended::ALL.map(|ended| (*kind, ended)));
        let counted = all.map(|(kind, ended)| {
            let count = self.calls[kind as usize][ended as usize].load(Ordering::Relaxed);
            (kind, ended, count)
        });
        Counted {
            calls: counted.filter(|(_, _, count)| *count > 0).collect(),
            repeated: self.repeated.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_kind_and_end() {
        let counters = Counters::default();
        counters.count(Kind::Read, Ended::Done);
        counters.count(Kind::Read, Ended::Done);
        counters.count(Kind::Once, Ended::by(UNAVAILABLE));
        counters.repeat();
        let counted = counters.snapshot();
        assert_eq!(counted.calls, [(Kind::Read, Ended::Done, 2), (Kind::Once, Ended::Unavailable, 1)]);
        assert_eq!(counted.repeated, 1);
    }
}
