//! Finds which queue is meant: by one address, by the separate keys of old files, or the default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;

use super::address::{self, Named};
use super::read::{Reader, parsed};
use crate::diagnostic::Finding;
use crate::journal;
use crate::retry::Ladder;
use crate::services::ckan;
use crate::source::settings::{Address, AmqpAddress, Feed, Settings, Way};
use crate::source::{outbox, poll};

/// The keys that name a broker piece by piece.
const PARTS: [&str; 5] = ["queue.host", "queue.port", "queue.user_id", "queue.password", "queue.virtual_host"];

/// How many rungs a retry ladder may have.
const RUNGS_MAX: usize = 20;

/// Where notifications come from, as it was named.
pub struct Origin {
    /// The queue that is consumed; where a portal is asked, the file that its answers go to.
    address: Address,
    /// Whether nothing was named.
    pub is_default: bool,
    /// The portal that is asked, and how.
    asked: Option<(Url, Way)>,
}

/// Finds where notifications come from.
pub fn origin(reader: &mut Reader<'_>, environment: &BTreeMap<String, String>) -> Origin {
    let named = named(reader);
    let is_default = named.is_none();
    let named = named.unwrap_or_else(|| Named::Queue(default_address(reader, environment)));
    let (address, asked) = match named {
        Named::Queue(address) => (address, None),
        Named::Poll(portal) => {
            let way = Way::Poll(poll_settings(reader));
            (file_of(reader, &portal, environment), Some((portal, way)))
        }
        Named::Outbox(portal) => {
            let way =
                Way::Outbox(outbox::Settings { interval: reader.duration("outbox.interval").unwrap_or_default() });
            (file_of(reader, &portal, environment), Some((portal, way)))
        }
    };
    if matches!(address, Address::Amqp(_)) {
        check_site_id(reader);
    }
    Origin { address, is_default, asked }
}

impl Origin {
    /// The portal that workers use: the one that is named, else the one that is asked. They must be the same.
    pub fn portal(&self, reader: &mut Reader<'_>) -> Option<Url> {
        let named = reader.url("ckan.site_url");
        let (Some(named), Some((asked, _))) = (&named, &self.asked) else {
            return named.or_else(|| self.asked.as_ref().map(|(asked, _)| asked.clone()));
        };
        let plain = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        if plain(named) != plain(asked) {
            let other = format!(
                "expected the portal that `amqp.url` names, {asked}: leave this setting out, or write the same"
            );
            reader.parsed("ckan.site_url", |_| Err::<(), _>(other));
        }
        Some(named.clone())
    }
}

/// Which queue is consumed. `portal` is how the portal is reached.
pub fn settings(reader: &mut Reader<'_>, origin: Origin, site_id: &str, portal: &ckan::Settings) -> Settings {
    Settings {
        address: origin.address,
        name: queue_name(reader).unwrap_or_else(|| format!("{site_id}.workerchain")),
        exchange: site_id.to_owned(),
        routing_key: reader.text("queue.routing_key").unwrap_or_default(),
        prefetch: reader.count("queue.prefetch"),
        prefetch_bytes: reader.size("queue.prefetch_bytes").unwrap_or_default(),
        ladder: ladder(reader).unwrap_or_default(),
        create: reader.flag("queue.create").unwrap_or_default(),
        feed: origin.asked.map(|(_, way)| Feed { way, portal: portal.clone() }),
    }
}

fn poll_settings(reader: &mut Reader<'_>) -> poll::Settings {
    poll::Settings {
        interval: reader.duration("poll.interval").unwrap_or_default(),
        overlap: reader.duration("poll.overlap").unwrap_or_default(),
        sweep: reader.duration("poll.sweep").unwrap_or_default(),
        rate: reader.count("poll.rate").unwrap_or_default(),
        start: reader.parsed("poll.start", poll::Start::parse).unwrap_or_default(),
    }
}

/// The file for what a portal answers: one for each portal, so that two of them do not get mixed up.
fn file_of(reader: &mut Reader<'_>, portal: &Url, environment: &BTreeMap<String, String>) -> Address {
    if let Some(path) = reader.text_of_path("queue.file") {
        return Address::Sqlite(path);
    }
    let directory = state_directory(environment).unwrap_or_else(|| no_place(reader, "queue.file"));
    let place = [
        portal.host_str().unwrap_or_default(),
        &portal.port().map_or_else(String::new, |port| format!(":{port}")),
        portal.path(),
    ]
    .concat();
    Address::Sqlite(directory.join(format!("{}.db", file_name(place.trim_end_matches('/')))))
}

/// A file beside another: of `queue.db` it is `queue.journal`, and of `data.example` it is `data.example.journal`.
pub fn beside(path: &Path, extension: &str) -> PathBuf {
    let is_plain =
        path.extension().is_none_or(|known| ["db", "sqlite", "sqlite3", "journal"].iter().any(|it| known == *it));
    if is_plain { path.with_extension(extension) } else { path.with_added_extension(extension) }
}

/// A name that a file may have.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// The waits between tries. Each is a queue at the broker, so there is an end to them.
fn ladder(reader: &mut Reader<'_>) -> Option<Ladder> {
    let ladder = Ladder::new(reader.durations("retry.delays")?);
    let in_order = ladder.filter(|ladder| ladder.rungs().len() <= RUNGS_MAX);
    if in_order.is_none() {
        let none = |_: &str| Err::<(), _>(format!("expected from 1 to {RUNGS_MAX} different times"));
        reader.parsed("retry.delays", none);
    }
    in_order
}

/// Where the journal lies, and how much it remembers.
pub fn journal(reader: &mut Reader<'_>, queue: &Settings, environment: &BTreeMap<String, String>) -> journal::Settings {
    let keep = reader.count("journal.keep").unwrap_or_default();
    let named = reader.text_of_path("journal.path");
    let path = named.unwrap_or_else(|| match &queue.address {
        Address::Sqlite(path) => beside(path, "journal"),
        Address::Amqp(_) => {
            let directory = state_directory(environment).unwrap_or_else(|| no_place(reader, "journal.path"));
            // A queue's name may hold anything, a file's may not.
            directory.join(format!("{}.journal", file_name(&queue.name)))
        }
    });
    journal::Settings { path, keep }
}

/// The address that was named, if any was: the stronger of the two ways to name it.
fn named(reader: &mut Reader<'_>) -> Option<Named> {
    let url = reader.won("amqp.url");
    let parts = PARTS.into_iter().filter_map(|part| reader.won(part).map(|won| won.origin.rank)).max();
    match (url, parts) {
        (None, None) => None,
        (Some(url), parts) if parts.is_none_or(|parts| parts <= url.origin.rank) => {
            for part in PARTS {
                let Some(won) = reader.won(part) else { continue };
                let message = format!("`{}` is ignored, because `amqp.url` is set", won.origin.written);
                let finding = Finding::note("config::ignored-key", message).about(&won.origin.written);
                reader.findings.push(won.origin.at_key(finding, format!("see {}", url.origin.words)));
            }
            // A wrong address is still one that was named: the default must not take its place.
            let is_broker = url.text.trim_start().to_lowercase().starts_with("amqp");
            let wrong = if is_broker { Address::Amqp(Vec::new()) } else { Address::Sqlite(PathBuf::from("queue.db")) };
            let wrong = Named::Queue(wrong);
            Some(parsed("amqp.url", url, address::parse, reader.findings).unwrap_or(wrong))
        }
        (_, _) => Some(Named::Queue(composed(reader))),
    }
}

fn composed(reader: &mut Reader<'_>) -> Address {
    let user = reader.text("queue.user_id");
    let password = reader.won("queue.password").map(|won| won.text.trim().into());
    Address::Amqp(vec![AmqpAddress {
        tls: false,
        host: reader.parsed("queue.host", host_name).unwrap_or_else(|| "localhost".to_owned()),
        port: reader.count("queue.port").unwrap_or(5672),
        user: user.unwrap_or_else(|| "guest".to_owned()),
        password: password.unwrap_or_else(|| "guest".into()),
        virtual_host: reader.text("queue.virtual_host").unwrap_or_else(|| "/".to_owned()),
    }])
}

fn host_name(text: &str) -> Result<String, String> {
    let is_name = text.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
    (is_name || text.parse::<std::net::IpAddr>().is_ok())
        .then(|| text.to_owned())
        .ok_or_else(|| "expected the name or address of a host alone; the port stands in `queue.port`".to_owned())
}

fn default_address(reader: &mut Reader<'_>, environment: &BTreeMap<String, String>) -> Address {
    let directory = state_directory(environment).unwrap_or_else(|| no_place(reader, "amqp.url"));
    Address::Sqlite(directory.join("queue.db"))
}

/// Reports that there is no place for what `key` would name.
fn no_place(reader: &mut Reader<'_>, key: &str) -> PathBuf {
    let (what, help) = match key {
        "amqp.url" => ("queue", "name one with -a sqlite:PATH or -a amqp://…"),
        "queue.file" => ("queue", "name its file with `queue.file`"),
        _ => ("journal", "name a directory with `journal.path`"),
    };
    let message = format!("no {what} is named, and there is no place for one: neither STATE_DIRECTORY nor HOME is set");
    reader.findings.push(Finding::error("config::missing", message).about(key).help(help));
    PathBuf::new()
}

fn state_directory(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    // systemd sets a list, separated by colons, if the unit has several.
    let of_the_unit = || get("STATE_DIRECTORY").and_then(|list| list.split(':').next()).map(PathBuf::from);
    let of_the_user = || {
        let state = get("XDG_STATE_HOME").map(PathBuf::from);
        let state = state.or_else(|| get("HOME").map(|home| Path::new(home).join(".local/state")))?;
        Some(state.join("ckan-worker"))
    };
    of_the_unit().or_else(of_the_user)
}

fn queue_name(reader: &mut Reader<'_>) -> Option<String> {
    let name = reader.text("queue.name")?;
    let of_the_broker =
        |_: &str| Err::<(), _>("expected a name of your own; those that begin with `amq.` are RabbitMQ's".to_owned());
    if name.starts_with("amq.") {
        reader.parsed("queue.name", of_the_broker);
    }
    Some(name)
}

fn check_site_id(reader: &mut Reader<'_>) {
    if reader.won("ckan.site_id").is_none_or(|won| won.origin.rank == 0) {
        reader.findings.push(
            Finding::error(
                "config::missing",
                "`ckan.site_id` is not set, and a broker needs it: it names the exchange",
            )
            .about("ckan.site_id")
            .help("set it as in the portal's ckan.ini, in section [worker] or with -i ID"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_have_nothing_beside_them_in_common() {
        let check = |path: &str, expected: &str| assert_eq!(beside(Path::new(path), "journal"), Path::new(expected));
        check("/var/queue.db", "/var/queue.journal");
        check("/var/queue", "/var/queue.journal");
        check("/var/data.example", "/var/data.example.journal");
        check("/var/data.other", "/var/data.other.journal");
    }
}
