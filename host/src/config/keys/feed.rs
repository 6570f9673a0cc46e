//! What is set of portals that are asked for notifications.

use super::Preset::{Computed, Fixed};
use super::{HOUR, Key, key};
use crate::config::value::Kind::{Count, Duration, Path, Text};

pub const FILE: Key = key(
    "queue.file",
    &[],
    Path,
    Computed("/var/lib/ckan-worker/data.example.db"),
    "With poll: and outbox:, the file that notifications are kept in until they are worked on. When not set, it is named \
     like the portal and lies where queue.db would.",
);

pub const POLL_INTERVAL: Key = key(
    "poll.interval",
    &[],
    Duration { min: 1, max: 24 * HOUR },
    Fixed("30s"),
    "With poll:, how often the portal is asked what has changed.",
);

pub const POLL_OVERLAP: Key = key(
    "poll.overlap",
    &[],
    Duration { min: 1, max: 24 * HOUR },
    Fixed("5m"),
    "How far back it is asked each time: a change is dated when it begins, and may be seen that much later.",
);

pub const POLL_SWEEP: Key = key(
    "poll.sweep",
    &[],
    Duration { min: 0, max: 31 * 24 * HOUR },
    Fixed("24h"),
    "How often all datasets are compared with what is known of them, for what has no new date: deleted datasets and \
     resources, other owners and groups. 0 switches it off, after the first time.",
);

pub const POLL_RATE: Key = key(
    "poll.rate",
    &[],
    Count { min: 1, max: 1000 },
    Fixed("5"),
    "How many requests a second the portal gets at most.",
);

pub const POLL_START: Key = key(
    "poll.start",
    &[],
    Text { bytes_max: 20 },
    Fixed("everything"),
    "What is new the first time: everything, so that workers see every dataset once, or now, for later changes alone.",
);

pub const OUTBOX_INTERVAL: Key = key(
    "outbox.interval",
    &[],
    Duration { min: 1, max: HOUR },
    Fixed("5s"),
    "With outbox:, how often the extension is asked while it has nothing.",
);
