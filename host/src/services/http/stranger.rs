//! Builds the clients that ask strangers' addresses: they know no token.

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, Error, Proxy};
use rustls::ClientConfig;
use url::Url;

use super::names::Vetted;
use super::{builder, verify};
use crate::services::address::Guard;

/// The most headers of an answer that are read; one with more is no answer. All together, and each alone, they are at
/// most some 400 KiB, which is what the library reads ahead.
const HEADERS_MAX: usize = 100;

/// How strangers' addresses are asked, in what one client can say about it.
#[derive(Debug)]
pub struct Manners {
    /// What the other side is told about who asks.
    user_agent: String,
    /// How long opening a connection may take, with finding out where the host is and agreeing on TLS.
    connect_timeout: Duration,
    tls: ClientConfig,
}

impl Manners {
    /// Reads what the system trusts, once for all clients.
    ///
    /// # Errors
    /// If the system's TLS roots cannot be read.
    pub fn new(user_agent: &str, connect_timeout: Duration) -> Result<Self, rustls::Error> {
        let tls = verify::tls_config()?;
        Ok(Self { user_agent: user_agent.to_owned(), connect_timeout, tls })
    }
}

/// A client that connects only where `guard` lets it.
///
/// # Errors
/// If the user agent is no header.
pub fn open_client(manners: &Manners, guard: Guard, names: Arc<dyn Resolve>) -> Result<Client, Error> {
    client(manners).dns_resolver(Arc::new(Vetted { names, guard: Arc::new(guard) })).build()
}

/// A client that connects to the proxy and to nothing else. Where the proxy is says the operator, so it is not vetted.
///
/// # Errors
/// As [`open_client`], and if `proxy` is no address of a proxy.
pub fn proxied_client(manners: &Manners, proxy: &Url) -> Result<Client, Error> {
    client(manners).proxy(Proxy::all(proxy.as_str())?).build()
}

fn client(manners: &Manners) -> ClientBuilder {
    // Stored as it is sent: what was unpacked on the way would be neither the portal's file nor bounded by its length.
    let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    builder()
        .user_agent(&manners.user_agent)
        .default_headers(headers)
        .connect_timeout(manners.connect_timeout)
        .tls_backend_preconfigured(manners.tls.clone())
        .http1_only()
        .http1_max_headers(HEADERS_MAX)
        .pool_max_idle_per_host(2)
}
