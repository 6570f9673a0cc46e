//! What is asked of a queue.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::retry::Ladder;
use crate::services::ckan;
use crate::source::{outbox, poll};

/// Which queue is consumed, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub address: Address,
    /// Its name.
    pub name: String,
    /// The exchange that CKAN publishes to: the portal's site id.
    pub exchange: String,
    /// Which notifications it receives.
    pub routing_key: String,
    /// How many deliveries are held unsettled at once; `None` for twice the concurrency.
    pub prefetch: Option<u16>,
    /// How many bytes of bodies are held unsettled at about the same time.
    pub prefetch_bytes: usize,
    /// The waits that what failed can be sent to.
    pub ladder: Ladder,
    /// Whether exchange, queue and binding are created when they are missing.
    pub create: bool,
    /// Where notifications are fetched from and put on the queue, if nobody publishes them there.
    pub feed: Option<Feed>,
}

/// The name of the lane beside a queue: what waits in it is worked on when nothing waits in the queue itself.
pub fn backfill_queue(name: &str) -> String {
    format!("{name}.backfill")
}

impl Settings {
    /// The lane beside this queue. It takes whatever was put into it, has half the room for bodies, and nobody who
    /// consumes makes it.
    #[must_use]
    pub fn lane(&self) -> Self {
        Self {
            name: backfill_queue(&self.name),
            routing_key: "#".to_owned(),
            prefetch_bytes: self.prefetch_bytes / 2,
            create: false,
            feed: None,
            ..self.clone()
        }
    }
}

/// Where notifications are fetched from, to be put on the queue.
#[derive(Debug, Clone)]
pub struct Feed {
    /// How.
    pub way: Way,
    /// How to reach the portal.
    pub portal: ckan::Settings,
}

/// How notifications are fetched from a portal.
#[derive(Debug, Clone)]
pub enum Way {
    /// Its search is asked what has changed.
    Poll(poll::Settings),
    /// The extension's outbox is emptied.
    Outbox(outbox::Settings),
}

/// Where a queue is.
#[derive(Debug, Clone)]
pub enum Address {
    /// In a RabbitMQ, at any of these hosts; at least one.
    Amqp(Vec<AmqpAddress>),
    /// In this file.
    Sqlite(PathBuf),
}

/// One host of a RabbitMQ.
#[derive(Debug, Clone)]
pub struct AmqpAddress {
    /// Whether TLS is spoken, as in `amqps://`.
    pub tls: bool,
    /// The host's name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretString,
    /// The virtual host, decoded.
    pub virtual_host: String,
}

/// Shows the address without the password.
impl fmt::Display for AmqpAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let virtual_host = if self.virtual_host == "/" { "" } else { self.virtual_host.as_str() };
        write!(formatter, "{scheme}://{}@{host}:{}/{virtual_host}", self.user, self.port)
    }
}

/// Shows the address without the password.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Amqp(hosts) => {
                for (index, host) in hosts.iter().enumerate() {
                    write!(formatter, "{}{host}", if index > 0 { "," } else { "" })?;
                }
                Ok(())
            }
        }
    }
}
