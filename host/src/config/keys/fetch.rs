//! The settings of downloads.

use super::Kind::{Count, Duration, Networks, Ports, Size, Text, Url};
use super::Preset::{Absent, Computed, Fixed};
use super::{HOUR, Key, key};

/// How the worker names itself.
pub const USER_AGENT: &str = concat!("ckan-worker/", env!("CARGO_PKG_VERSION"));

pub(super) const ALLOW: Key = key(
    "fetch.allow",
    &[],
    Networks,
    Absent("127.0.0.0/8, ::1"),
    "Private networks that workers may fetch from all the same, separated by commas; there at every port.",
);

pub(super) const PORTS: Key = key(
    "fetch.ports",
    &[],
    Ports,
    Fixed("80, 443, 8080, 8443"),
    "The ports that downloads may go to, separated by commas.",
);

pub(super) const PROXY: Key = key(
    "fetch.proxy",
    &["ckan.download_proxy"],
    Url,
    Absent("http://proxy.example:3128"),
    "A proxy that all downloads go through. Names are then looked up by the proxy, and where they may lead is its affair; \
     have it refuse private networks. The portal is never asked through it.",
);

pub(super) const TIMEOUT: Key = key(
    "fetch.timeout",
    &[],
    Duration { min: 1, max: 24 * HOUR },
    Fixed("5m"),
    "How long one download may take in all.",
);

pub(super) const CONNECT_TIMEOUT: Key = key(
    "fetch.connect_timeout",
    &[],
    Duration { min: 1, max: 120 },
    Fixed("10s"),
    "How long it may take to open a connection, with looking up the name and agreeing on TLS.",
);

pub(super) const FIRST_BYTE_TIMEOUT: Key = key(
    "fetch.first_byte_timeout",
    &[],
    Duration { min: 1, max: HOUR },
    Fixed("30s"),
    "How long a server may take until it answers, with the connection; for each redirect anew.",
);

pub(super) const IDLE_TIMEOUT: Key = key(
    "fetch.idle_timeout",
    &[],
    Duration { min: 1, max: HOUR },
    Fixed("20s"),
    "How long a download may stand still.",
);

pub(super) const RATE_MIN: Key = key(
    "fetch.rate_min",
    &[],
    Size { min: 0, max: 1 << 30 },
    Fixed("100"),
    "The fewest bytes a second at which a download may come, on average, after its first 30 s; 0 switches it off.",
);

pub(super) const REDIRECTS_MAX: Key =
    key("fetch.redirects_max", &[], Count { min: 0, max: 50 }, Fixed("10"), "How many redirects a download follows.");

pub(super) const HOST_CONCURRENCY: Key = key(
    "fetch.host_concurrency",
    &[],
    Count { min: 1, max: 1024 },
    Computed("4"),
    "How many downloads one server has to serve at once, from all workers together; when not set, 4, or half of \
     `concurrency` if that is less. Half as many again may wait for a turn, and the others are tried later.",
);

pub(super) const HOST_RATE: Key = key(
    "fetch.host_rate",
    &[],
    Count { min: 0, max: 10_000 },
    Fixed("5"),
    "How many requests one server gets in a second, from all workers together; 0 for no limit.",
);

pub(super) const AGENT: Key = key(
    "fetch.user_agent",
    &[],
    Text { bytes_max: 255 },
    Computed("ckan-worker/0.1.0 (+https://data.example/)"),
    "What servers are told about who downloads from them; when not set, the worker's version and `ckan.site_url`.",
);
