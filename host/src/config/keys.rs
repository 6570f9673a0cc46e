//! Every setting the host knows: one table, from which come the checks, the suggestions and `worker.cfg.example`.

pub(super) mod feed;
pub(super) mod fetch;

use super::value::Kind;

/// A setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Other spellings it is known by, mostly from the time before this program.
    pub aliases: &'static [&'static str],
    /// What its value looks like.
    pub kind: Kind,
    /// What holds when it is not set.
    pub preset: Preset,
    /// What it does, in whole sentences.
    pub help: &'static str,
}

/// What holds when a setting is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// This value.
    Fixed(&'static str),
    /// A value that depends on other things; with one that it might be.
    Computed(&'static str),
    /// Nothing; with an example.
    Absent(&'static str),
    /// It is read but no longer written: its new name, or why it is ignored.
    Old(&'static str),
}

const fn key(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind,
    preset: Preset,
    help: &'static str,
) -> Key {
    Key { name, aliases, kind, preset, help }
}

use Kind::{Address, Count, Duration, Durations, Flag, Path, Paths, Rewrites, Secret, Size, Text, Url};
use Preset::{Absent, Computed, Fixed, Old};

const HOUR: u64 = 3600;

/// Another name of `amqp.url`, just as good: not every queue is at a broker.
pub const QUEUE_URL: &str = "queue.url";

/// The settings of the section `[worker]`, in the order in which they are explained.
pub const HOST: &[Key] = &[
    key(
        "ckan.site_id",
        &["site_id"],
        Text { bytes_max: 127 },
        Fixed("default"),
        "The portal's site id. It names the exchange that CKAN publishes to. A broker needs it, the embedded queue does not.",
    ),
    key(
        "ckan.site_url",
        &["site_url"],
        Url,
        Absent("https://data.example"),
        "Where the portal is. Workers that read from or write to CKAN need it.",
    ),
    key(
        "ckan.api_key",
        &["api_key", "apikey", "ckan.apikey", "ckan.api_token"],
        Secret,
        Absent("the-token"),
        "The token that the workers act with in CKAN. Better kept in a file of its own, see below.",
    ),
    key(
        "ckan.api_key_file",
        &["api_key_file"],
        Path,
        Absent("/etc/ckan-worker/api-key"),
        "A file that holds the token and nothing else; nobody else should be able to read it.",
    ),
    key(
        "ckan.apitoken_header_name",
        &["apitoken_header_name"],
        Text { bytes_max: 127 },
        Fixed("Authorization"),
        "The header that carries the token, as in CKAN's own setting apitoken_header_name.",
    ),
    key("ckan.timeout", &[], Duration { min: 1, max: HOUR }, Fixed("30s"), "How long one call to CKAN may take."),
    key(
        "ckan.concurrency",
        &[],
        Count { min: 1, max: 64 },
        Fixed("4"),
        "How many writes to CKAN go on at once; more of them overwhelm many portals.",
    ),
    key(
        "ckan.root_path",
        &["root_path"],
        Text { bytes_max: 255 },
        Absent("/data/{{LANG}}"),
        "The portal's path below its address, as in CKAN's own setting of that name; used if ckan.site_url has none.",
    ),
    key(
        "ckan.url_rewrite",
        &[],
        Rewrites,
        Absent("https://data.example=http://ckan:5000"),
        "Where public addresses of the portal are reached from here, as PUBLIC=INTERNAL, separated by commas.",
    ),
    key(
        "amqp.url",
        &["amqp_url", QUEUE_URL],
        Address,
        Computed("sqlite:/var/lib/ckan-worker/queue.db"),
        "Where notifications come from: amqp://user:password@host:port/virtual_host, amqps:// for TLS, several hosts \
         separated by commas; poll:https://PORTAL asks a portal what has changed; outbox:https://PORTAL empties the outbox \
         of its extension; sqlite:PATH is a file that `worker send` fills. It may be called queue.url, too. A % in it is written %%. Without it the queue \
         is the file queue.db in $STATE_DIRECTORY, else in $XDG_STATE_HOME/ckan-worker, else in \
         ~/.local/state/ckan-worker.",
    ),
    key(
        "queue.host",
        &["queue.hostname", "amqp_hostname", "amqp_host", "amqp.host", "amqp.hostname"],
        HOSTNAME,
        OLD_PART,
        "",
    ),
    key("queue.port", &["amqp_port", "amqp.port"], Count { min: 1, max: 65535 }, OLD_PART, ""),
    key(
        "queue.user_id",
        &["queue.user", "amqp_user_id", "amqp_user", "amqp.user_id", "amqp.user"],
        HOSTNAME,
        OLD_PART,
        "",
    ),
    key("queue.password", &["amqp_password", "amqp.password"], Secret, OLD_PART, ""),
    key(
        "queue.virtual_host",
        &["queue.vhost", "amqp_virtual_host", "amqp_vhost", "amqp.virtual_host"],
        HOSTNAME,
        OLD_PART,
        "",
    ),
    key("queue.library", &["amqp_library"], HOSTNAME, Old("there is only one library"), ""),
    key(
        "queue.name",
        &["queue"],
        Text { bytes_max: 200 },
        Computed("default.workerchain"),
        "The queue that is consumed; when not set, the site id and `.workerchain`.",
    ),
    key(
        "queue.routing_key",
        &["routing_key"],
        Text { bytes_max: 255 },
        Fixed("*"),
        "Which notifications the queue receives: the class of what changed, as in Package or Resource, or * for all.",
    ),
    feed::FILE,
    key(
        "queue.prefetch",
        &["prefetch"],
        Count { min: 1, max: 65535 },
        Computed("64"),
        "How many notifications are held unfinished at once; when not set, twice the concurrency.",
    ),
    key(
        "queue.prefetch_bytes",
        &[],
        Size { min: 1 << 20, max: 1 << 36 },
        Fixed("64MiB"),
        "How many bytes of notifications are held unfinished at about the same time, whatever their number.",
    ),
    key(
        "queue.create",
        &[],
        Flag,
        Fixed("yes"),
        "Whether exchange, queue and binding are created when they are missing.",
    ),
    feed::POLL_INTERVAL,
    feed::POLL_OVERLAP,
    feed::POLL_SWEEP,
    feed::POLL_RATE,
    feed::POLL_START,
    feed::OUTBOX_INTERVAL,
    key(
        "concurrency",
        &[],
        Count { min: 1, max: 1024 },
        Computed("8"),
        "How many notifications are worked on at once; when not set, four for each processor core.",
    ),
    key(
        "attempts",
        &[],
        Count { min: 1, max: 100 },
        Computed("9"),
        "How often a worker tries a notification before it becomes a dead letter; when not set, once more than there are \
         delays.",
    ),
    key(
        "retry.delays",
        &[],
        Durations { min_ms: 50, max: 24 * HOUR },
        Fixed("10s, 30s, 2m, 10m, 30m, 2h, 6h, 12h"),
        "How long a notification that failed waits until a worker tries it again: after the first try, the second, and \
         so on; the last delay is used again. At most 20, and each has a queue of its own.",
    ),
    key(
        "journal.path",
        &[],
        Path,
        Computed("/var/lib/ckan-worker/default.workerchain.journal"),
        "The directory of the journal: what was begun and what has ended, so that nothing is done twice after a crash \
         or a lost connection. When not set, it lies beside the queue's file, or with a broker where that file would be.",
    ),
    key(
        "journal.keep",
        &[],
        Count { min: 1000, max: 10_000_000 },
        Fixed("20000"),
        "How many ended runs the journal remembers. Only what a broker may still deliver again matters: a few times the \
         prefetch.",
    ),
    key(
        "store.path",
        &[],
        Path,
        Computed("/var/lib/ckan-worker/default.workerchain.store"),
        "The file of the store: what workers remember, and what keeps them from reacting to what they write themselves. \
         When not set, it lies beside the journal.",
    ),
    key(
        "guard.runs_max",
        &[],
        Count { min: 1, max: 1000 },
        Fixed("6"),
        "How often a worker that writes to CKAN is called for one dataset within guard.window; after that it is in \
         quarantine for that dataset, for 10 minutes first, and longer each time.",
    ),
    key("guard.window", &[], Duration { min: 1, max: 24 * HOUR }, Fixed("10m"), "The time that guard.runs_max is for."),
    key("guard.runs_a_day_max", &[], Count { min: 1, max: 100_000 }, Fixed("50"), "The same for a whole day."),
    key(
        "deadline",
        &[],
        Duration { min: 1, max: 24 * HOUR },
        Fixed("15m"),
        "How long a worker may take for one notification.",
    ),
    key(
        "grace",
        &[],
        Duration { min: 0, max: HOUR },
        Fixed("5s"),
        "How long a worker that was told to give up may still take to do so.",
    ),
    key(
        "drain",
        &[],
        Duration { min: 0, max: HOUR },
        Fixed("25s"),
        "How long the work in hand may take when the worker is stopped; what is left then goes back to the queue.",
    ),
    key(
        "body_bytes_max",
        &[],
        Size { min: 1024, max: 1 << 30 },
        Fixed("16MiB"),
        "The longest notification that is taken; longer ones become dead letters.",
    ),
    key(
        "plugin_dir",
        &[],
        Paths,
        Computed("/usr/lib/ckan-worker/plugins"),
        "Directories with plugin files, separated by commas, searched before the usual ones.",
    ),
    key(
        "plugins.allow_insecure_dir",
        &[],
        Flag,
        Fixed("no"),
        "Whether plugins are loaded although others may write to their directory.",
    ),
    fetch::ALLOW,
    fetch::PORTS,
    fetch::PROXY,
    fetch::TIMEOUT,
    fetch::CONNECT_TIMEOUT,
    fetch::FIRST_BYTE_TIMEOUT,
    fetch::IDLE_TIMEOUT,
    fetch::RATE_MIN,
    fetch::REDIRECTS_MAX,
    fetch::HOST_CONCURRENCY,
    fetch::HOST_RATE,
    fetch::AGENT,
];

const HOSTNAME: Kind = Text { bytes_max: 255 };
const OLD_PART: Preset = Old("amqp.url");

/// The host's own settings in a section `[worker:NAME]`; all others there are the plugin's.
pub const WORKER: &[Key] = &[
    key(
        "path",
        &[],
        Path,
        Absent("/opt/plugins/libckan_worker_archive.so"),
        "The plugin's file, if it is in none of the plugin directories.",
    ),
    key("required", &[], Flag, Fixed("no"), "Whether nothing may start when this worker cannot."),
    key("deadline", &[], Duration { min: 1, max: 24 * HOUR }, Computed("15m"), "As above, for this worker alone."),
    key("attempts", &[], Count { min: 1, max: 100 }, Computed("9"), "As above, for this worker alone."),
    key(
        "coalesce",
        &[],
        Duration { min: 0, max: 600 },
        Computed("2s"),
        "How long notifications about one dataset are gathered, so that a burst of them becomes one run on the newest; \
         when not set, what the plugin says, and 0 switches it off.",
    ),
];

/// The host setting of this name or of this other spelling.
pub fn host(name: &str) -> Option<&'static Key> {
    HOST.iter().find(|key| key.name == name || key.aliases.contains(&name))
}

/// The host's setting of this name in a worker's section.
pub fn worker(name: &str) -> Option<&'static Key> {
    WORKER.iter().find(|key| key.name == name)
}

/// The host setting that somebody who wrote `name` most likely meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    let spellings = HOST.iter().flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied()));
    let key = host(ckan_worker_plugin::nearest(name, spellings)?)?;
    match key.preset {
        Old(instead) => host(instead).map(|key| key.name),
        _ => Some(key.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_settings_share_a_spelling() {
        let mut spellings: Vec<_> =
            HOST.iter().flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied())).collect();
        let count = spellings.len();
        spellings.sort_unstable();
        spellings.dedup();
        assert_eq!(spellings.len(), count);
    }

    #[test]
    fn a_slip_of_the_pen_finds_the_setting_that_was_meant() {
        for (written, meant) in [
            ("ckan.site_rul", Some("ckan.site_url")),
            ("queue.nmae", Some("queue.name")),
            ("amqp_hostnam", Some("amqp.url")),
            ("deadlines", Some("deadline")),
            ("sqlalchemy.url", None),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
    }
}
