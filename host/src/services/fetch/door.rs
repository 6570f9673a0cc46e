//! Decides whether a link may be asked at all, and by which client.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use url::Url;

use super::{Resolve, Settings};
use crate::services::address::{Forbidden, Guard, is_localhost, literal};
use crate::services::http::{self, Client};

/// Where a proxy is; its password is shown to nobody.
#[derive(Clone)]
pub struct Proxy(pub Url);

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(formatter, "{}://{host}:{}", self.0.scheme(), self.0.port_or_known_default().unwrap_or_default())
    }
}

/// What every request to a stranger goes through.
#[derive(Debug)]
pub(super) struct Door {
    guard: Guard,
    ports: Vec<u16>,
    clients: Clients,
}

#[derive(Debug)]
enum Clients {
    /// We find out where a name leads, and what it leads to is vetted.
    Direct {
        /// For the ports that are open: leads to what is public and to what is allowed.
        open: Client,
        /// For all other ports: leads only to what is allowed; there is none if nothing is.
        closed: Option<Client>,
    },
    /// A proxy finds out where a name leads, and whether it may.
    Proxied(Client),
}

impl Door {
    pub fn new(settings: &Settings, names: Arc<dyn Resolve>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let guard = Guard::new(settings.allow.clone());
        let manners = http::Manners::new(&settings.user_agent, settings.deadlines.connect)?;
        let clients = if let Some(proxy) = &settings.proxy {
            Clients::Proxied(http::proxied_client(&manners, &proxy.0)?)
        } else {
            let closed = guard.of_closed_ports();
            let closed = closed.map(|guard| http::open_client(&manners, guard, Arc::clone(&names)));
            Clients::Direct { closed: closed.transpose()?, open: http::open_client(&manners, guard.clone(), names)? }
        };
        Ok(Self { guard, ports: settings.ports.clone(), clients })
    }

    /// The client that may ask this link, if one may. What a name leads to is vetted by the client, when it connects.
    pub fn client_for(&self, url: &Url) -> Result<&Client, Forbidden> {
        let is_open = url.port_or_known_default().is_some_and(|port| self.ports.contains(&port));
        let host = url.host_str().unwrap_or_default();
        let closed = || Forbidden::Port { host: host.to_owned() };
        if let Some(address) = literal(url) {
            self.guard.vet(&address.to_string(), address)?;
            return if is_open || self.guard.allows(address) { Ok(self.clients.first()) } else { Err(closed()) };
        }
        if is_localhost(host) && !LOOPBACK.iter().any(|address| self.guard.allows(*address)) {
            self.guard.vet(host, LOOPBACK[0])?;
        }
        match &self.clients {
            Clients::Direct { closed: Some(client), .. } if !is_open => Ok(client),
            _ if is_open => Ok(self.clients.first()),
            _ => Err(closed()),
        }
    }
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

impl Clients {
    fn first(&self) -> &Client {
        match self {
            Self::Direct { open, .. } => open,
            Self::Proxied(client) => client,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Deadlines, PaceSettings};
    use super::*;
    use crate::services::http::SystemNames;

    fn door(allow: &[&str], proxy: Option<&str>) -> Door {
        let second = Duration::from_secs(1);
        let settings = Settings {
            allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
            ports: vec![80, 443],
            proxy: proxy.map(|url| Proxy(url.parse().unwrap())),
            deadlines: Deadlines {
                connect: second,
                first_byte: second,
                idle: second,
                total: second,
                rate_min: 0,
                rate_grace: second,
            },
            redirects_max: 0,
            pace: PaceSettings { concurrency: 1, rate: 0, patience: second },
            user_agent: "test".to_owned(),
        };
        Door::new(&settings, Arc::new(SystemNames)).unwrap()
    }

    /// What the door says to links, separated by spaces: nothing is connected to here.
    fn check(door: &Door, expected: &str, urls: &str) {
        for url in urls.split_whitespace() {
            let said = match (door.client_for(&Url::parse(url).unwrap()), &door.clients) {
                (Err(Forbidden::Address { .. }), _) => "no: address",
                (Err(Forbidden::Port { .. }), _) => "no: port",
                (Ok(client), Clients::Direct { closed: Some(closed), .. }) if std::ptr::eq(client, closed) => "allowed",
                (Ok(_), _) => "yes",
            };
            assert_eq!(said, expected, "{url}");
        }
    }

    #[test]
    fn public_servers_are_asked_at_open_ports_only() {
        let door = door(&[], None);
        check(&door, "yes", "http://a.example/ https://a.example/ http://8.8.8.8/ https://a.example:80/");
        check(&door, "no: port", "http://a.example:22/ http://8.8.8.8:6379/ https://[2606:4700::1111]:25/");
        check(&door, "no: address", "http://10.0.0.1/ http://10.0.0.1:22/ http://localhost/ http://a.localhost.:22/");
    }

    #[test]
    fn what_is_allowed_is_asked_at_every_port_and_names_there_only_where_they_lead_to_it() {
        let door = door(&["127.0.0.0/8", "8.8.8.8/32"], None);
        check(&door, "yes", "http://127.0.0.1:6379/ http://8.8.8.8:6379/ http://a.example/ http://localhost/");
        check(&door, "allowed", "http://a.example:6379/ http://localhost:6379/");
        check(&door, "no: port", "http://8.8.4.4:6379/");
        check(&door, "no: address", "http://10.0.0.1:6379/");
    }

    #[test]
    fn through_a_proxy_numbers_and_ports_are_vetted_and_names_are_its_affair() {
        let door = door(&["10.1.0.0/16"], Some("http://proxy.example:3128"));
        check(&door, "yes", "http://a.example/ https://intranet/ http://10.1.2.3:6379/ http://8.8.8.8/");
        check(&door, "no: port", "http://a.example:6379/ http://8.8.8.8:22/");
        check(&door, "no: address", "http://10.2.0.1/ http://localhost/ http://[::1]/");
    }
}
