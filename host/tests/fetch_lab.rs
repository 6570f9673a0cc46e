//! Attacks on whoever fetches what strangers typed, in a lab on loopback with its own name server.
//!
//! The tests bear the rows of the list of attacks that the design keeps: `s01_` to `s24_`. What is no row says what a
//! request can do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod lab;
mod rig;

#[path = "fetch_lab/addresses.rs"]
mod addresses;
#[path = "fetch_lab/checks.rs"]
mod checks;
#[path = "fetch_lab/child.rs"]
mod child;
#[path = "fetch_lab/leftovers.rs"]
mod leftovers;
#[path = "fetch_lab/lengths.rs"]
mod lengths;
#[path = "fetch_lab/links.rs"]
mod links;
#[path = "fetch_lab/pace.rs"]
mod pace;
#[path = "fetch_lab/packed.rs"]
mod packed;
#[path = "fetch_lab/proxy.rs"]
mod proxy;
#[path = "fetch_lab/redirects.rs"]
mod redirects;
#[path = "fetch_lab/requests.rs"]
mod requests;
#[path = "fetch_lab/reused.rs"]
mod reused;
#[path = "fetch_lab/secrets.rs"]
mod secrets;
#[path = "fetch_lab/slow.rs"]
mod slow;
#[path = "fetch_lab/tls.rs"]
mod tls;
