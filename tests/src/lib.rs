#![doc = include_str!("../README.md")]

pub mod broker;
pub mod built;
mod cargo_test;
pub mod ckan;
pub mod debian;
pub mod journal;
pub mod kombu;
pub mod ledger;
pub mod places;
pub mod process;
pub mod proxy;
pub mod python;
pub mod usage;
pub mod wait;
mod watch;
pub mod witness;

pub use broker::{Broker, Message, Vhost};
pub use built::{Built, built};
pub use ckan::{Ckan, Site};
pub use journal::{Consumed, consumed, sha256};
pub use ledger::{Counts, Dead, End, Ledger, Verdict};
pub use process::WorkerProcess;
pub use proxy::{Line, Proxy, Way};
pub use wait::{eventually, eventually_some};
pub use witness::{Mood, Seen, Witness};

/// Says something to whoever runs the tests, past libtest, which swallows what a passing test prints.
pub fn say(message: &str) {
    use std::io::Write as _;
    // Nobody reads standard error: then there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "worker-tests: {message}");
}

/// The examples in the README of the repository, which has no crate of its own.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
