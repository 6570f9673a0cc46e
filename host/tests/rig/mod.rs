//! A fetcher with a directory to fetch into, a name server that says what it is told to, and words for failures.
//!
//! No port is open in these settings: only what is allowed by name can be connected to. A guard that is broken is told
//! by another refusal, and nothing outside this machine is ever asked.

#![allow(dead_code, reason = "each test file uses its own part of the rig")]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ckan_worker::services::Failure;
use ckan_worker::services::fetch::{
    Addrs, Deadlines, Fetcher, Name, PaceSettings, Resolve, Resolving, Settings, Snapshot,
};
use ckan_worker_abi::Status;
use ckan_worker_plugin::{Error, Fetched, Method, Response, Trace, WireRequest};
use tempfile::TempDir;

pub fn settings(allow: &[&str]) -> Settings {
    Settings {
        allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
        ports: Vec::new(),
        proxy: None,
        deadlines: Deadlines {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(20),
            idle: Duration::from_secs(20),
            total: Duration::from_secs(60),
            rate_min: 0,
            rate_grace: Duration::from_secs(20),
        },
        redirects_max: 3,
        pace: PaceSettings { concurrency: 100, rate: 0, patience: Duration::from_secs(600) },
        user_agent: "ckan-worker-test".to_owned(),
    }
}

/// The settings of most tests: they may fetch from `127.0.0.1`, and from nowhere else.
pub fn home() -> Settings {
    settings(&["127.0.0.1/32"])
}

/// A fetcher, and the directory that it fetches into.
pub struct Rig {
    pub fetcher: Fetcher,
    pub dir: TempDir,
}

impl Rig {
    pub fn new() -> Self {
        Self::of(home())
    }

    pub fn of(settings: Settings) -> Self {
        Self::with(Fetcher::new(settings).unwrap())
    }

    pub fn named(settings: Settings, names: Names) -> Self {
        Self::with(Fetcher::with_names(settings, Arc::new(names)).unwrap())
    }

    fn with(fetcher: Fetcher) -> Self {
        Self { fetcher, dir: TempDir::new().unwrap() }
    }

    pub async fn fetch(&self, url: &str) -> Result<Fetched, Failure> {
        self.fetcher.fetch(url, 1_000_000, self.dir.path()).await
    }

    pub async fn send(&self, request: &WireRequest) -> Result<Response, Failure> {
        self.fetcher.request(request, Bytes::new(), self.dir.path()).await
    }

    /// Says how a fetch fails, and that it leaves no file behind.
    pub async fn failure(&self, url: &str) -> Failure {
        let failure = self.fetch(url).await.unwrap_err();
        assert_eq!(files(self.dir.path()), 0, "{url}");
        failure
    }

    pub fn counted(&self) -> Snapshot {
        self.fetcher.counts().snapshot()
    }
}

/// A request by GET that takes up to a megabyte.
pub fn get(url: &str) -> WireRequest {
    WireRequest { url: url.to_owned(), bytes_max: 1_000_000, ..WireRequest::default() }
}

pub fn by(method: Method, url: &str) -> WireRequest {
    WireRequest { method, ..get(url) }
}

pub fn with_header(request: WireRequest, name: &str, value: &str) -> WireRequest {
    let mut request = request;
    request.headers.push((name.to_owned(), value.to_owned()));
    request
}

pub fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

/// Lets others go on until something is so.
pub async fn until(met: impl Fn() -> bool) {
    while !met() {
        tokio::task::yield_now().await;
    }
}

/// Checks how a request fails: `code retry: message` or `code permanent: message`.
#[track_caller]
pub fn check(failure: &Failure, expected: &str) {
    let passing = match failure.status {
        Status::RETRY => "retry",
        Status::PERMANENT => "permanent",
        other => panic!("{other:?}"),
    };
    let said = format!("{} {passing}: {}", failure.code, failure.message);
    assert!(said.starts_with(expected), "expected {expected}\n     got {said}");
}

/// The way of a request that failed, as the worker gets to see it.
pub fn trace(failure: &Failure) -> Trace {
    let error = Error::permanent(&failure.message).with_code(failure.code).with_detail(failure.detail.clone());
    Trace::of(&error).unwrap_or_else(|| panic!("{failure:?} tells its way"))
}

type Answer = dyn Fn(&str, usize) -> Vec<IpAddr> + Send + Sync;

/// A name server that answers by the name and by how often it has been asked.
#[derive(Clone)]
pub struct Names {
    answer: Arc<Answer>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    pub fn new(answer: impl Fn(&str, usize) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), asked: Arc::default() }
    }

    /// Says that every name leads there.
    pub fn all(addresses: &'static str) -> Self {
        Self::new(|_, _| ips(addresses))
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub fn ips(addresses: &str) -> Vec<IpAddr> {
    addresses.split_whitespace().map(|address| address.parse().unwrap()).collect()
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let found = (self.answer)(name.as_str(), self.asked.fetch_add(1, Ordering::SeqCst));
        let found: Vec<_> = found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
        Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}
