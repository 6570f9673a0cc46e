//! Every change that a real CKAN has committed reaches the worker, on each way that notifications take: asked for by
//! poll, pulled from the extension's outbox, published by its relay. Four clients write meanwhile, and the host, CKAN
//! and the broker are each killed and started again.
//!
//! In its short form 100 datasets are written, in the long one (`CKAN_WORKER_TEST_LONG=1`) 500.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "routes/clients.rs"]
mod clients;
#[path = "routes/listener.rs"]
mod listener;

use std::time::Duration;

use worker_tests::ckan::{self, Ckan, Site};
use worker_tests::{Broker, eventually, say};

use clients::Clients;
use listener::Listener;

/// How long it may take until all has been heard, after the last write.
const HEARD_MAX: Duration = Duration::from_secs(90);

#[test]
fn every_committed_change_is_found_by_asking() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let site = ckan.site("poll").start();
        let listener = Listener::poll(&site);
        written_and_heard("poll", &site, listener, |_| {});
    }
}

#[test]
fn every_committed_change_is_pulled_from_the_outbox() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let site = ckan.site("outbox").plugin("worker").start();
        let listener = Listener::outbox(&site);
        written_and_heard("outbox", &site, listener, |_| {});
        let waiting = site.call("worker_outbox_poll", &serde_json::json!({"limit": 1}));
        assert_eq!(waiting["messages"], serde_json::json!([]), "all that was pulled is acknowledged");
    }
}

#[test]
fn every_committed_change_is_published_by_the_relay() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let Some(broker) = Broker::private() else { return };
        let vhost = broker.vhost("relay");
        let site = ckan.site("relay").plugin("worker").setting("ckanext.worker.amqp_url", vhost.url()).start();
        vhost.declare_old_topology("default", "changes");
        let listener = Listener::amqp(&site, vhost.url(), "changes");
        let relay = site.spawn_ckan(&["worker", "relay"]);
        written_and_heard("relay", &site, listener, |round| {
            if round == Round::Broker {
                broker.kill_and_restart();
                broker.wait_until_up();
            }
        });
        drop(relay);
    }
}

/// What is broken while clients write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Host,
    Ckan,
    Broker,
    Index,
}

/// Has clients write, breaks one thing after another, and waits until the listener has heard how each dataset ended.
fn written_and_heard(route: &str, site: &Site, mut listener: Listener, break_more: impl Fn(Round)) {
    let clients = Clients::new(if is_long() { 500 } else { 100 });
    listener.start();
    std::thread::scope(|scope| {
        clients.write(scope, site);
        for (position, round) in [Round::Host, Round::Index, Round::Ckan, Round::Broker].into_iter().enumerate() {
            clients.wait_until_done((position + 1) * clients.count() / 5);
            match round {
                Round::Host => listener.kill_and_start(),
                Round::Ckan => {
                    site.kill();
                    site.start();
                }
                Round::Index => clients.try_in_vain(site),
                Round::Broker => {}
            }
            break_more(round);
        }
    });
    clients.learn(site);
    let is_asked = route == "poll";
    if is_asked {
        // No sweep helps with what has a date.
        let are_heard = eventually(HEARD_MAX, || clients.missing_titles(&listener.heard()).is_empty());
        let missing = clients.missing_titles(&listener.heard());
        assert!(are_heard, "{route}: no look found: {missing:#?}\n{}", listener.report());
        listener.stop_and_sweep();
    }
    let is_all_heard = eventually(HEARD_MAX, || clients.missing(&listener.heard(), is_asked).is_empty());
    listener.stop();
    let heard = listener.heard();
    let missing = clients.missing(&heard, is_asked);
    say(&format!(
        "{route}, CKAN {}: {} datasets, {} notifications heard, {} missing",
        site.version(),
        clients.count(),
        heard.len(),
        missing.len()
    ));
    assert!(is_all_heard, "{route}: never heard of: {missing:#?}\n{}", listener.report());
    let ghosts = clients.never_saved(&heard);
    assert!(ghosts.is_empty(), "{route}: heard of what was never saved: {ghosts:?}");
}

fn is_long() -> bool {
    std::env::var("CKAN_WORKER_TEST_LONG").is_ok_and(|value| !matches!(value.as_str(), "" | "0"))
}
