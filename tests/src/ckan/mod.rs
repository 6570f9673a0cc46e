//! A CKAN for tests: installed, started on loopback with all that it needs, and ended with the test run.
//!
//! One bed (PostgreSQL, Redis and a stand-in for Solr) serves a whole `cargo test`: the first test binary that needs
//! it makes it, and a guardian ends it, by pid, when cargo has ended, however that came. On it each test has a [`Site`]
//! of its own: a CKAN with its own database, index, settings and web server.

mod bed;
mod call;
mod environment;
mod extension;
mod ini;
mod needs;
mod prepared;
mod run;
mod server;
mod site;

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

pub use site::{Site, SiteBuilder};

use crate::{cargo_test, debian};
use bed::Bed;
use environment::Environment;
use prepared::Tokens;

/// Set to `1`, leaves out the tests that need a CKAN.
pub const LEAVE_OUT_VARIABLE: &str = "CKAN_WORKER_TEST_NO_CKAN";

/// Names the versions to test on: `all`, or a list as in `2.10.11,2.12.0`.
pub const VERSIONS_VARIABLE: &str = "CKAN_WORKER_TEST_CKAN";

/// A version of CKAN that tests can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 2.10.11
    V2_10,
    /// 2.11.6
    V2_11,
    /// 2.12.0
    V2_12,
}

impl Version {
    /// All of them, the oldest first.
    pub const ALL: [Self; 3] = [Self::V2_10, Self::V2_11, Self::V2_12];

    /// As a part of names: `2120`.
    fn tag(self) -> String {
        self.to_string().replace('.', "")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2_10 => "2.10.11",
            Self::V2_11 => "2.11.6",
            Self::V2_12 => "2.12.0",
        })
    }
}

/// The versions that this run tests on: 2.12.0, or what [`VERSIONS_VARIABLE`] names.
///
/// # Panics
/// It names what is not known.
pub fn versions() -> Vec<Version> {
    let names = std::env::var(VERSIONS_VARIABLE).unwrap_or_default();
    named(&names).unwrap_or_else(|problem| panic!("{VERSIONS_VARIABLE}: {problem}"))
}

fn named(names: &str) -> Result<Vec<Version>, String> {
    match names.trim() {
        "" => Ok(vec![Version::V2_12]),
        "all" => Ok(Version::ALL.to_vec()),
        list => list
            .split(',')
            .map(|name| {
                let known = Version::ALL.into_iter().find(|version| version.to_string() == name.trim());
                known.ok_or_else(|| format!("expected all, or some of 2.10.11,2.11.6,2.12.0, got {name:?}"))
            })
            .collect(),
    }
}

/// What a version of CKAN needs to run, shared by all tests; each has a [`Site`] of its own on it.
pub struct Ckan {
    version: Version,
    environment: Environment,
    bed: &'static Bed,
    tokens: Tokens,
}

impl Ckan {
    /// CKAN of this version; `None`, said in capitals, if the tests that need it are to be left out.
    ///
    /// # Panics
    /// There is none and none can be installed: the message is the one command to type.
    pub fn shared(version: Version) -> Option<&'static Self> {
        static SHARED: [OnceLock<Result<Ckan, String>>; 3] = [const { OnceLock::new() }; 3];
        if cargo_test::left_out(LEAVE_OUT_VARIABLE, "A CKAN") {
            return None;
        }
        match SHARED[version as usize].get_or_init(|| Self::find(version)) {
            Ok(ckan) => Some(ckan),
            Err(problem) => panic!("{problem}\nor leave CKAN out: {LEAVE_OUT_VARIABLE}=1 cargo test"),
        }
    }

    /// A CKAN of its own for one test, to be described; its name tells it from others in what is printed.
    pub fn site(&'static self, name: &str) -> SiteBuilder {
        SiteBuilder::new(self, name)
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A directory in which all of the bed's processes live; gone when they are.
    pub fn bed_dir(&self) -> PathBuf {
        self.bed.dir.clone()
    }

    fn find(version: Version) -> Result<Self, String> {
        debian::ensure_all(&needs::NEEDS, "CKAN")?;
        let environment = Environment::of(version)?;
        let bed = Bed::shared()?;
        let tokens = prepared::ensure(bed, &environment)?;
        Ok(Self { version, environment, bed, tokens })
    }
}

/// A port on loopback that is free now, and that the system gives to nobody by itself.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Below where ports for outgoing connections begin, and each process from another place on.
    let start = 20_000 + u16::try_from(std::process::id() * 97 % 12_000).expect("it is less than 12,000");
    for _ in 0..12_000 {
        let port = 20_000 + (start - 20_000 + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("loopback has no free ports from 20000 to 31999")
}

#[cfg(test)]
mod tests {
    use super::{Version, named};

    #[test]
    fn versions_are_read_from_a_list() {
        assert_eq!(named(""), Ok(vec![Version::V2_12]));
        assert_eq!(named("all"), Ok(Version::ALL.to_vec()));
        assert_eq!(named("2.10.11, 2.11.6"), Ok(vec![Version::V2_10, Version::V2_11]));
        assert!(named("2.9.1").is_err());
    }
}
