//! Bursts of notifications about one dataset become one run on the newest.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod workshop;

use ckan_worker::App;
use ckan_worker::catalog::Manifest;
use workshop::{Script, Workshop, doing, notification, until_empty};

fn gathering() -> Manifest {
    Manifest { name: "first".to_owned(), coalesce_ms: 300, ..Manifest::default() }
}

fn resource(id: &str, package: &str) -> String {
    let payload = format!(r#"{{"id":"{id}","package_id":"{package}","act":"done"}}"#);
    format!(r#"{{"routing_key":"Resource","operation":"changed","payload":{payload}}}"#)
}

#[test]
fn a_burst_about_one_dataset_becomes_one_run_and_all_of_it_is_settled() {
    let workshop = Workshop::new(&[("concurrency", "2")]);
    workshop.publish((0..50).map(|number| notification("p1", "done").replace("}}", &format!(r#","n":{number}}}}}"#))));
    workshop.publish([notification("p2", "done")]);
    let summary = until_empty(workshop.app().linked_in_as::<Script>(gathering())).unwrap();
    assert_eq!((summary.settled, summary.released), (51, 0));
    let runs = workshop.runs();
    let count = |outcome: &str| runs.iter().filter(|run| run.outcome == outcome).count();
    assert_eq!((count("done"), count("superseded")), (2, 49), "{:?}", workshop.ended());
    assert_eq!(workshop.left(), 0);
}

#[test]
fn each_worker_says_for_itself_whether_bursts_are_gathered() {
    let workshop = Workshop::new(&[("concurrency", "2")]);
    workshop.publish((0..5).map(|_| notification("p1", "done")));
    let app = workshop.app().linked_in_as::<Script>(gathering()).linked_in::<Script>("second");
    assert_eq!(until_empty(app).unwrap().settled, 5);
    let runs = workshop.runs();
    let done = |worker: &str| runs.iter().filter(|run| run.worker == worker && run.outcome == "done").count();
    assert_eq!((done("first"), done("second")), (1, 5));
}

#[test]
fn a_resource_does_not_stand_for_another_but_its_dataset_stands_for_all() {
    let workshop = Workshop::new(&[]);
    workshop.publish([resource("r1", "p1"), resource("r2", "p1"), resource("r1", "p1"), resource("r3", "p2")]);
    workshop.publish([notification("p2", "done")]);
    until_empty(workshop.app().linked_in_as::<Script>(gathering())).unwrap();
    let mut words: Vec<_> = workshop.runs().iter().map(|run| format!("{} {}", run.id, run.outcome)).collect();
    words.sort();
    assert_eq!(words, ["p2 done", "r1 done", "r1 superseded", "r2 done", "r3 superseded"]);
}

#[test]
fn a_workers_own_echo_does_not_stand_for_what_somebody_else_has_changed() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let written_by = |worker: &str| {
        let meta = format!(r#","meta":{{"origin":"{};{worker}"}}}}"#, host.trim());
        notification("p1", "done").strip_suffix('}').unwrap().to_owned() + &meta
    };
    for (writer, outcomes) in [("first", ["done", "done"]), ("second", ["superseded", "done"])] {
        let workshop = Workshop::new(&[]);
        workshop.publish([notification("p1", "done")]);
        workshop.publish([written_by(writer)]);
        until_empty(workshop.app().linked_in_as::<Script>(gathering())).unwrap();
        let runs: Vec<_> = workshop.runs().iter().map(|run| run.outcome).collect();
        assert_eq!(runs, outcomes, "{writer}");
    }
}

#[test]
fn what_is_superseded_comes_back_with_the_newest_if_that_does() {
    let workshop = Workshop::with_short_times(&[("concurrency", "1")]);
    workshop.publish((0..5).map(|_| notification("p1", "first_time_until_cancelled")));
    workshop.stop_when_first_begins();
    let summary = workshop.run_until_stopped(workshop.app().linked_in_as::<Script>(gathering())).unwrap();
    assert_eq!((summary.settled, summary.released), (0, 5), "{:?}", workshop.ended());
    assert_eq!(workshop.left(), 5);
}

#[test]
fn what_is_superseded_has_ended_when_the_newest_waits_to_be_retried() {
    let workshop = Workshop::new(&[]);
    workshop.publish((0..5).map(|_| notification("p1", "fail")));
    let summary = until_empty(workshop.app().linked_in_as::<Script>(gathering())).unwrap();
    assert_eq!((summary.settled, summary.retried), (5, 1), "{:?}", workshop.ended());
}

#[test]
fn gathering_can_be_switched_off_and_on_for_a_worker() {
    for (setting, done) in [("0", 5), ("1s", 1)] {
        let workshop = Workshop::new(&[("worker:first.coalesce", setting)]);
        workshop.publish((0..5).map(|_| doing("p1", &[("first", "done")])));
        let app = match setting {
            "0" => workshop.app().linked_in_as::<Script>(gathering()),
            _ => App::linked_in::<Script>(workshop.app(), "first"),
        };
        until_empty(app).unwrap();
        assert_eq!(workshop.runs().iter().filter(|run| run.outcome == "done").count(), done, "coalesce = {setting}");
    }
}
