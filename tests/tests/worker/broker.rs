//! A broker that closes connections, goes and comes back.

use std::collections::BTreeSet;

use worker_tests::{Broker, eventually};

use crate::stage::{LATER, SOON, Stage, package};

/// The datasets that are announced, by number.
fn ids(numbers: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("p{number:03}"))
}

/// Whether every dataset up to `count` was done at least once, and nothing waits.
fn all_done(stage: &Stage<'_>, count: u32) -> bool {
    let done: BTreeSet<String> = stage.done_by("actor").into_iter().collect();
    done.into_iter().eq(ids(0..count)) && stage.vhost.ready(&stage.queue) == Some(0)
}

#[test]
fn a_worker_whose_connections_are_closed_connects_again_and_nothing_is_lost() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "closed", "concurrency = 4");
    stage.publish_packages(ids(0..200).map(|id| package(&id, "sleep_ms:10")));
    stage.worker.start(["actor"]);
    for round in 1..=4 {
        let sessions = || stage.worker.stderr().matches("consuming queue").count();
        assert!(eventually(LATER, || sessions() == round), "{}", stage.worker.report());
        assert!(stage.vhost.close_all_connections("the test says so") > 0, "round {round}");
    }
    stage.publish_packages(ids(200..210).map(|id| package(&id, "done")));
    assert!(eventually(LATER, || all_done(&stage, 210)), "{}", stage.worker.report());
    assert!(stage.worker.stderr().contains("session with the broker is lost"), "{}", stage.worker.report());
    stage.assert_settled();
    stage.worker.terminate();
    assert!(stage.worker.wait(SOON).success(), "{}", stage.worker.report());
    assert!(stage.dead().is_empty());
}

#[test]
fn a_worker_waits_for_a_broker_that_is_down_and_goes_on_when_it_is_back() {
    let Some(broker) = Broker::private() else { return };
    let mut stage = Stage::old(&broker, "down", "concurrency = 4");
    stage.publish_packages(ids(0..100).map(|id| package(&id, "sleep_ms:20")));

    broker.stop_app();
    stage.worker.start(["actor"]);
    stage.worker.wait_for_line("no session with the broker", SOON);
    broker.start_app();
    assert!(eventually(LATER, || stage.runs().len() > 20), "{}", stage.worker.report());

    broker.stop_app();
    stage.worker.wait_for_line("session with the broker is lost", SOON);
    broker.start_app();
    stage.publish_packages(ids(100..120).map(|id| package(&id, "done")));
    assert!(eventually(LATER, || all_done(&stage, 120)), "{}", stage.worker.report());
    stage.assert_settled();

    broker.stop_app();
    stage.worker.terminate();
    assert!(stage.worker.wait(SOON).success(), "it also stops without a broker\n{}", stage.worker.report());
    broker.start_app();
}

#[test]
fn a_queue_that_is_deleted_is_made_again() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::bare(broker, "deleted", "");
    stage.worker.start(["actor"]);
    stage.worker.wait_for_line("consuming queue", SOON);
    stage.vhost.delete_queue(&stage.queue);
    stage.worker.wait_for_line("was the queue deleted?", SOON);
    stage.worker.wait_for_line("was deleted at the broker: what waited in it is lost", SOON);
    // The queue is there a moment before its binding is; the worker consumes when both are.
    let sessions = || stage.worker.stderr().matches("consuming queue").count();
    assert!(eventually(LATER, || sessions() == 2), "{}", stage.worker.report());
    stage.publish([package("p1", "done")]);
    assert!(eventually(LATER, || stage.done_by("actor") == ["p1"]), "{}", stage.worker.report());
}

#[test]
fn a_queue_that_is_deleted_and_not_to_be_made_is_waited_for() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "deleted-off", "queue.create = no");
    stage.worker.start(["actor"]);
    stage.worker.wait_for_line("consuming queue", SOON);
    stage.vhost.delete_queue(&stage.queue);
    let line = stage.worker.wait_for_line("what waited in it is lost", SOON);
    assert!(line.contains("queue.create") && line.contains("ERROR"), "{line}");
    assert_eq!(stage.vhost.ready(&stage.queue), None);
    stage.vhost.declare_old_topology(&stage.site, &stage.queue);
    stage.publish([package("p1", "done")]);
    assert!(eventually(LATER, || stage.done_by("actor") == ["p1"]), "{}", stage.worker.report());
}
