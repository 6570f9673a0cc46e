//! How the worker stops.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use worker_tests::{Broker, eventually};

use crate::stage::{LATER, SOON, Stage, package};

/// A worker with runs in hand, as many as have been told to start.
fn running<'a>(broker: &'a Broker, name: &str, settings: &str, acts: &[&str], started: usize) -> Stage<'a> {
    let mut stage = Stage::old(broker, name, settings);
    stage.publish_packages(acts.iter().enumerate().map(|(index, act)| package(&format!("p{index}"), act)));
    stage.worker.start(["actor"]);
    assert!(eventually(LATER, || stage.runs().len() == started), "{}", stage.worker.report());
    stage
}

#[test]
fn what_has_started_is_finished_and_the_rest_goes_back_at_once() {
    let Some(broker) = Broker::shared() else { return };
    let settings = "concurrency = 2\nqueue.prefetch = 4";
    let mut stage = running(broker, "drain", settings, &["sleep_ms:3000"; 8], 2);
    assert!(eventually(SOON, || stage.vhost.unacked(&stage.queue) == 4));
    stage.worker.terminate();
    // Others can have it while the work in hand goes on.
    assert!(eventually(SOON, || stage.vhost.ready(&stage.queue) == Some(6) || !stage.worker.is_running()));
    assert!(stage.worker.is_running(), "{}", stage.worker.report());
    assert!(stage.worker.wait(SOON).success(), "{}", stage.worker.report());
    assert_eq!(stage.done_by("actor").len(), 2, "what had started was finished, and nothing else was");
    assert_eq!(stage.vhost.ready(&stage.queue), Some(6));
    assert_eq!(stage.vhost.unacked(&stage.queue), 0);
    assert!(stage.dead().is_empty());
}

#[test]
fn work_that_outlasts_the_drain_time_goes_back_and_is_no_failure() {
    let Some(broker) = Broker::shared() else { return };
    let acts = ["sleep_ms:60000", "hang_until_cancelled", "hang"];
    let mut stage = running(broker, "outlasts", "concurrency = 3\ndrain = 1s", &acts, 3);
    let asked = Instant::now();
    stage.worker.terminate();
    assert!(stage.worker.wait(SOON).success(), "{}", stage.worker.report());
    assert!(asked.elapsed() < Duration::from_secs(3), "`drain` is one second, it took {:?}", asked.elapsed());
    assert!(eventually(SOON, || stage.vhost.ready(&stage.queue) == Some(3)), "{}", stage.worker.report());
    assert!(stage.dead().is_empty());
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = running(broker, "ctrl-c", "", &["hang"], 1);
    stage.worker.signal(Signal::INT);
    stage.worker.wait_for_line("once more to stop at once", SOON);
    let asked = Instant::now();
    stage.worker.signal(Signal::INT);
    assert_eq!(stage.worker.wait(SOON).code(), Some(130), "{}", stage.worker.report());
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert!(eventually(SOON, || stage.vhost.ready(&stage.queue) == Some(1)));
}

#[test]
fn a_killed_worker_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = running(broker, "killed", "concurrency = 2", &["sleep_ms:300"; 4], 2);
    stage.worker.kill();
    stage.worker.wait(SOON);
    stage.run_until_empty(&["actor"]);
    let mut done = stage.done_by("actor");
    done.sort();
    done.dedup();
    assert_eq!(done, ["p0", "p1", "p2", "p3"]);
    assert!(stage.runs().iter().any(|run| run.redelivered));
}
