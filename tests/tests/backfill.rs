//! `worker backfill` from outside, with the real binary, on the embedded queue and on a RabbitMQ.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "backfill/portal.rs"]
mod portal;
#[path = "backfill/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::fs;

use portal::{Portal, id};
use stage::{SOON, Stage};
use worker_tests::{WorkerProcess, eventually};

/// Runs a test on either kind of queue.
macro_rules! on_both {
    ($($name:ident($count:expr, $act:expr)),* $(,)?) => {
        mod on_a_file {
            $(#[test]
            fn $name() {
                super::$name(&super::Stage::file(super::Portal::start($count, $act)).unwrap());
            })*
        }
        mod at_a_broker {
            $(#[test]
            fn $name() {
                let Some(stage) = super::Stage::broker(super::Portal::start($count, $act)) else { return };
                super::$name(&stage);
            })*
        }
    };
}

on_both! {
    a_backfill_that_was_interrupted_twice_calls_the_worker_once_for_each_dataset(10_000, "done"),
    a_live_change_is_worked_on_before_what_waits_in_the_lane(3000, "sleep_ms:10"),
    what_fails_comes_again_for_its_worker_alone(12, "fail_times:1"),
    the_lane_is_shown_and_cleared_with_its_queue(30, "done"),
    without_a_backfill_there_is_no_lane(3, "done"),
    a_new_backfill_runs_again(25, "done"),
}

fn backfill(stage: &Stage, more: &[&str]) -> WorkerProcess {
    let mut process = stage.worker();
    process.start(["backfill", "actor"].iter().chain(more));
    process
}

fn a_backfill_that_was_interrupted_twice_calls_the_worker_once_for_each_dataset(stage: &Stage) {
    let mut worker = stage.worker();
    worker.start(["actor"]);
    let mut first = backfill(stage, &["--rate", "2000/s"]);
    stage.wait_until_through(1500);
    first.kill();
    assert!(!first.wait(SOON).success());
    let (status, said) = stage.run(&["backfill", "actor"]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("pass --resume to go on with it, or --yes to begin anew"), "{said}");
    let mut second = backfill(stage, &["--rate", "2000/s", "--resume"]);
    stage.wait_until_through(4500);
    second.terminate();
    assert_eq!(second.wait(SOON).code(), Some(130), "{}", second.report());
    assert!(second.stderr().contains("to go on: worker backfill actor --resume"), "{}", second.report());
    let said = stage.done(&["backfill", "actor", "--resume"]);
    assert!(said.contains("10000 datasets: "), "{said}");
    let (status, said) = stage.run(&["backfill", "actor", "--resume"]);
    assert!(status == 2 && said.contains("there is nothing to resume"), "{said}");
    assert!(eventually(SOON, || stage.runs() >= 10_000), "{} runs\n{}", stage.runs(), worker.report());
    assert!(eventually(SOON, || stage.waiting() == (Some(0), Some(0))), "{:?}", stage.waiting());
    worker.terminate();
    assert!(worker.wait(SOON).success(), "{}", worker.report());
    let runs = stage.consumed();
    let ids: BTreeSet<_> = runs.iter().map(|run| run.id.clone().unwrap()).collect();
    assert_eq!((ids.len(), runs.len()), (10_000, 10_000));
    assert_eq!((ids.first(), ids.last()), (Some(&id(0)), Some(&id(9999))));
    assert!(runs.iter().all(|run| run.worker == "actor" && run.operation == "changed" && run.attempt == 1));
}

fn a_live_change_is_worked_on_before_what_waits_in_the_lane(stage: &Stage) {
    stage.done(&["backfill", "actor"]);
    let mut worker = stage.worker();
    worker.start(["actor", "actor2"]);
    assert!(eventually(SOON, || stage.runs() >= 20), "{}", worker.report());
    let line = r#"{"routing_key":"Package","operation":"changed","payload":{"id":"live"}}"#;
    fs::write(worker.path("lines"), line).unwrap();
    stage.done(&["send", worker.path("lines").to_str().unwrap()]);
    let has_run = || stage.consumed().iter().filter(|run| run.id.as_deref() == Some("live")).count() == 2;
    assert!(eventually(SOON, has_run), "{}", worker.report());
    let left = stage.waiting().1.unwrap();
    worker.terminate();
    worker.wait(SOON);
    let runs = stage.consumed();
    let before = runs.iter().position(|run| run.id.as_deref() == Some("live")).unwrap();
    assert!(before < 1500 && left > 1000, "{before} runs of 3000 came before, {left} waited behind it");
    assert!(runs.iter().all(|run| run.worker == "actor" || run.id.as_deref() == Some("live")));
}

fn what_fails_comes_again_for_its_worker_alone(stage: &Stage) {
    stage.done(&["backfill", "actor", "--rate", "100/s"]);
    assert_eq!(stage.waiting().1, Some(12));
    let mut worker = stage.worker();
    worker.start(["actor", "actor2"]);
    assert!(eventually(SOON, || stage.runs() >= 24), "{}", worker.report());
    worker.terminate();
    assert!(worker.wait(SOON).success(), "{}", worker.report());
    let runs = stage.consumed();
    assert!(runs.iter().all(|run| run.worker == "actor"), "{runs:?}");
    for number in 0..12 {
        let of_one = runs.iter().filter(|run| run.id.as_deref() == Some(&id(number)));
        let attempts: Vec<_> = of_one.map(|run| (run.attempt, run.outcome.clone().unwrap())).collect();
        assert_eq!(attempts, [(1, "retryable".to_owned()), (2, "done".to_owned())]);
    }
    assert_eq!(stage.waiting(), (Some(0), Some(0)));
}

fn the_lane_is_shown_and_cleared_with_its_queue(stage: &Stage) {
    let said = stage.done(&["backfill", "actor", "actor2"]);
    assert!(said.contains("30 datasets: 60 notifications for actor and actor2 are on queue q.backfill"), "{said}");
    let said = stage.done(&["queue", "status"]);
    assert!(said.contains("backfill   60, when nothing else is ready"), "{said}");
    let status = stage.worker_json(&["queue", "status", "--format", "json"]);
    assert_eq!((&status["backfill"], &status["ready"]), (&60.into(), &0.into()));
    let said = stage.done(&["topology", "explain"]);
    assert!(said.contains("optional: what `worker backfill` puts into it"), "{said}");
    stage.done(&["topology", "check"]);
    let said = stage.done(&["actor", "--clear-queue", "--yes", "--until-empty"]);
    assert!(said.contains("deleted 0 messages from queue q at"), "{said}");
    assert!(said.contains("deleted 60 messages from queue q.backfill at"), "{said}");
    assert_eq!((stage.waiting(), stage.runs()), ((Some(0), Some(0)), 0));
}

fn without_a_backfill_there_is_no_lane(stage: &Stage) {
    let mut worker = stage.worker();
    fs::write(worker.path("lines"), r#"{"routing_key":"Package","operation":"new","payload":{"id":"one"}}"#).unwrap();
    stage.done(&["send", worker.path("lines").to_str().unwrap()]);
    worker.start(["actor", "--until-empty"]);
    assert!(worker.wait(SOON).success(), "{}", worker.report());
    assert_eq!(stage.runs(), 1);
    let said = stage.done(&["queue", "status"]);
    assert!(!said.contains("\nbackfill"), "{said}");
    assert_eq!(stage.waiting().1.unwrap_or_default(), 0);
    stage.done(&["topology", "check"]);
    assert_eq!(stage.portal.asked(), 0);
}

fn a_new_backfill_runs_again(stage: &Stage) {
    for expected in [25, 50] {
        stage.portal.fail_next(7);
        let result = stage.worker_json(&["backfill", "actor", "--format", "json"]);
        assert_eq!((&result["datasets"], &result["notifications"]), (&25.into(), &25.into()));
        stage.done(&["actor", "--until-empty"]);
        assert_eq!(stage.runs(), expected, "the lane is part of what is to become empty");
    }
}

#[test]
fn what_waits_in_a_file_is_not_put_there_twice() {
    let stage = Stage::file(Portal::start(250, "done")).unwrap();
    stage.done(&["backfill", "actor"]);
    let result = stage.worker_json(&["backfill", "actor", "actor2", "--format", "json"]);
    assert_eq!((&result["notifications"], &result["waiting_already"]), (&250.into(), &250.into()));
    assert_eq!(stage.waiting().1, Some(500));
}

#[test]
fn what_cannot_be_backfilled_is_said_before_anything_is_done() {
    let stage = Stage::file(Portal::start(3, "done")).unwrap();
    let (status, said) = stage.run(&["backfill", "nobody"]);
    assert!(status == 78 && said.contains("nobody"), "{status}: {said}");
    assert_eq!(stage.portal.asked(), 0);
    stage.portal.refuse();
    let (status, said) = stage.run(&["backfill", "actor"]);
    assert!(status == 77 && said.contains("CKAN does not allow it"), "{status}: {said}");
}

#[test]
fn a_portal_that_drops_the_filter_ends_a_backfill() {
    let stage = Stage::file(Portal::start(250, "done")).unwrap();
    stage.portal.drop_filters();
    let (status, said) = stage.run(&["backfill", "actor"]);
    assert!(status != 0 && said.contains("the filter `fq` does not arrive"), "{status}: {said}");
    assert_eq!(stage.waiting().1, Some(100), "the first page, once");
}

#[test]
fn a_dataset_that_the_portal_cannot_show_is_named_and_left_out() {
    let stage = Stage::file(Portal::start(9, "done")).unwrap();
    stage.portal.break_dataset(4);
    let said = stage.done(&["backfill", "actor"]);
    assert!(said.contains(&format!("dataset {} is not readable, and is left out", id(4))), "{said}");
    assert!(said.contains("9 datasets: 8 notifications") && said.contains("; 1 datasets are not readable"), "{said}");
    assert_eq!(stage.waiting().1, Some(8));
}

#[test]
fn the_portal_is_asked_for_what_the_command_line_names_on_each_page() {
    let stage = Stage::file(Portal::start(300, "done")).unwrap();
    let more = ["backfill", "actor", "--query", "title:roads", "--since", "2026-11-01", "--format", "json"];
    let result = stage.worker_json(&more);
    assert_eq!((&result["datasets"], &result["not_readable"]), (&150.into(), &0.into()));
    let (query, filter) = stage.portal.searched();
    assert_eq!(query, "title:roads");
    let last = id(299);
    let since = "((metadata_modified:[2026-11-01T00:00:00.000Z TO *]))";
    assert_eq!(filter, format!("{since} AND ((id:{{\"{last}\" TO *]))"));
}
