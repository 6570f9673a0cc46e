//! Finds out where a host is; what strangers' names lead to is vetted before a connection is opened.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::services::address::{Guard, is_localhost};

/// Resolves names as the system does.
#[derive(Debug, Default)]
pub struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Resolves names, and lets only the addresses through that the guard passes.
pub(super) struct Vetted {
    pub names: Arc<dyn Resolve>,
    pub guard: Arc<Guard>,
}

impl Resolve for Vetted {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, guard) = (Arc::clone(&self.names), Arc::clone(&self.guard));
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> =
                if is_localhost(&host) { loopback() } else { names.resolve(name).await?.collect() };
            let (mut passed, mut refused) = (Vec::new(), None);
            for address in found {
                match guard.vet(&host, address.ip()) {
                    Ok(()) => passed.push(address),
                    Err(forbidden) => refused = Some(forbidden),
                }
            }
            match refused {
                Some(forbidden) if passed.is_empty() => Err(forbidden.into()),
                _ => Ok(Box::new(passed.into_iter()) as Addrs),
            }
        })
    }
}

fn loopback() -> Vec<SocketAddr> {
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(|ip| SocketAddr::new(ip, 0)).into()
}
