//! Reads where notifications come from: `amqp://user:password@host:port/virtual_host`, `sqlite:PATH`,
//! `poll:https://PORTAL` or `outbox:https://PORTAL`.
//!
//! No error here repeats any part of what was written: it may hold the password.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::source::settings::{Address, AmqpAddress};

/// How many hosts one address may name.
const HOSTS_MAX: usize = 32;

/// Where notifications come from.
#[derive(Debug, Clone)]
pub enum Named {
    /// From a queue that somebody publishes to.
    Queue(Address),
    /// From a portal whose search is asked what has changed.
    Poll(Url),
    /// From the outbox of a portal's extension.
    Outbox(Url),
}

/// Reads an address.
///
/// # Errors
/// What is wrong with it, without any part of it.
pub fn parse(text: &str) -> Result<Named, String> {
    if let Some(portal) = text.strip_prefix("poll:") {
        return self::portal(portal, "poll").map(Named::Poll);
    }
    if let Some(portal) = text.strip_prefix("outbox:") {
        return self::portal(portal, "outbox").map(Named::Outbox);
    }
    queue(text).map(Named::Queue)
}

fn portal(text: &str, scheme: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| {
        format!("expected a portal's address behind `{scheme}:`, as in {scheme}:https://data.example")
    })?;
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    is_plain.then_some(url).ok_or_else(|| {
        format!("expected no user, password, `?` or `#` in the address behind `{scheme}:`; the token stands in `ckan.api_key_file`")
    })
}

fn queue(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err("`sqlite:` needs the path of a file behind it".to_owned());
        }
        return Ok(Address::Sqlite(PathBuf::from(path)));
    }
    let mut hosts = Vec::new();
    for one in several(text) {
        hosts.extend(host_list(&one)?);
        if hosts.len() > HOSTS_MAX {
            return Err(format!("more than {HOSTS_MAX} hosts"));
        }
    }
    Ok(Address::Amqp(hosts))
}

/// Splits `amqp://a,amqp://b` at the commas before a scheme.
fn several(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split([',', '\n']) {
        match parts.last_mut() {
            Some(last) if !part.contains("://") => {
                last.push(',');
                last.push_str(part.trim());
            }
            _ => parts.push(part.trim().to_owned()),
        }
    }
    parts
}

/// Reads one address that may name several hosts, as in `amqp://user:password@a:5672,b:5673/virtual_host`.
fn host_list(text: &str) -> Result<Vec<AmqpAddress>, String> {
    let (scheme, rest) = text
        .split_once("://")
        .filter(|(scheme, _)| matches!(scheme.to_lowercase().as_str(), "amqp" | "amqps"))
        .ok_or("expected `amqp://…`, `amqps://…`, `sqlite:PATH`, `poll:https://…` or `outbox:https://…`")?;
    let (credentials, places) = match rest.rfind('@') {
        Some(at) => rest.split_at(at + 1),
        None => ("", rest),
    };
    let (hosts, path) = places.split_at(places.find(['/', '?', '#']).unwrap_or(places.len()));
    let scheme = scheme.to_lowercase();
    hosts.split(',').map(|host| one(&format!("{scheme}://{credentials}{}{path}", host.trim()))).collect()
}

fn one(text: &str) -> Result<AmqpAddress, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("not a valid address: {error}; in user, password and virtual host write / as %2F, @ as %40, : as %3A")
    })?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("options behind `?` or `#` are not known here; in a password write ? as %3F, # as %23".to_owned());
    }
    let tls = url.scheme() == "amqps";
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it names no host")?;
    let path = url.path().strip_prefix('/').unwrap_or_default();
    if path.contains('/') {
        return Err("a `/` in the virtual host is written %2F".to_owned());
    }
    Ok(AmqpAddress {
        tls,
        host: decode(host.trim_start_matches('[').trim_end_matches(']'))?,
        port: url.port().unwrap_or(if tls { 5671 } else { 5672 }),
        user: if url.username().is_empty() { "guest".to_owned() } else { decode(url.username())? },
        password: url.password().map_or_else(|| Ok("guest".to_owned()), decode)?.into(),
        virtual_host: if path.is_empty() { "/".to_owned() } else { decode(path)? },
    })
}

fn decode(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| "what `%` stands for in it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match parse(text) {
            Ok(Named::Queue(Address::Amqp(hosts))) => hosts
                .iter()
                .map(|host| format!("{host} {} {}", host.password.expose_secret(), host.virtual_host))
                .collect::<Vec<_>>()
                .join(" | "),
            Ok(Named::Queue(sqlite @ Address::Sqlite(_))) => sqlite.to_string(),
            Ok(Named::Poll(portal)) => format!("poll {portal}"),
            Ok(Named::Outbox(portal)) => format!("outbox {portal}"),
            Err(error) => error,
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_address_names_user_password_host_port_and_virtual_host() {
        check("amqp://me:secret@rabbit:5673/ckan", "amqp://me@rabbit:5673/ckan secret ckan");
        check("amqp://localhost", "amqp://guest@localhost:5672/ guest /");
        check("amqp://localhost/", "amqp://guest@localhost:5672/ guest /");
        check("amqp://localhost/%2F", "amqp://guest@localhost:5672/ guest /");
        check("amqps://me:p%40ss%2Fword@rabbit/a%2Fb", "amqps://me@rabbit:5671/a/b p@ss/word a/b");
        check("AMQP://me:p@[::1]:1/v", "amqp://me@[::1]:1/v p v");
    }

    #[test]
    fn an_address_may_name_several_hosts() {
        let expected = "amqp://u@a:5672/v p v | amqp://u@b:1/v p v";
        check("amqp://u:p@a,b:1/v", expected);
        check("amqp://u:p@a/v, amqp://u:p@b:1/v", expected);
    }

    #[test]
    fn an_address_without_a_broker_is_a_file() {
        check("sqlite:/var/queue.db", "sqlite:/var/queue.db");
        check("sqlite:queue.db", "sqlite:queue.db");
        check("sqlite:///var/queue.db", "sqlite:/var/queue.db");
        check("sqlite:", "`sqlite:` needs the path of a file behind it");
    }

    #[test]
    fn an_address_may_be_a_portal_that_is_asked() {
        check("poll:https://data.example", "poll https://data.example/");
        check("outbox:http://127.0.0.1:5000/ckan", "outbox http://127.0.0.1:5000/ckan");
        let expected = "expected a portal's address behind `poll:`, as in poll:https://data.example";
        for text in ["poll:", "poll:data.example", "poll:ftp://data.example"] {
            check(text, expected);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_the_password() {
        for text in [
            "http://me:hunter2@host",
            "me:hunter2@host",
            "amqp://me:hunter2@host:99999/",
            "amqp://me:hunter2@/",
            "amqp://me:hunter2@host/a/b",
            "amqp://me:hunter2@host/?heartbeat=1",
            "amqp://me:hunter2%FF@host/",
            "amqp://me:hunter2#x@host/",
            "amqp://me:hunter2@ho st/",
            "amqp://me:hunter2",
            "poll:https://me:hunter2@data.example",
            "outbox:https://data.example/?key=hunter2",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
