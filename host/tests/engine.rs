//! The engine from a program's side: workers that are linked in, on an embedded queue, without the binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod workshop;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ckan_worker::App;
use ckan_worker::app::AppError;
use ckan_worker::catalog::Manifest;
use ckan_worker::dispatch::DispatchError;
use ckan_worker::observe::{LogLine, Observer, RunEnded};
use ckan_worker_plugin::prelude::*;
use workshop::{Script, Workshop, doing, notification, until_empty};

#[test]
fn workers_run_in_the_order_they_were_named() {
    let workshop = Workshop::new(&[("concurrency", "3")]);
    workshop.publish((0..20).map(|number| notification(&number.to_string(), "done")));
    let app = ["zeta", "alpha", "mid"].into_iter().fold(workshop.app(), App::linked_in::<Script>);
    let summary = until_empty(app).unwrap();
    assert_eq!((summary.settled, summary.released, summary.dead), (20, 0, 0));
    let mut by_notification: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for run in workshop.runs() {
        by_notification.entry(run.id).or_default().push(run.worker);
    }
    assert_eq!(by_notification.len(), 20);
    assert!(by_notification.values().all(|order| order == &["zeta", "alpha", "mid"]), "{by_notification:?}");
}

#[test]
fn a_worker_is_told_each_id_that_the_payload_has() {
    struct Ids;
    impl Worker for Ids {
        type Config = NoSettings;

        fn create(_: NoSettings, _: &Host<'_>) -> Result<Self> {
            Ok(Self)
        }

        fn consume(&self, notification: &Notification<'_>, _: &Host<'_>) -> Result<Outcome> {
            let ids = (notification.entity_id().ok(), notification.package_id().ok());
            Err(Error::permanent(format!("{ids:?}")))
        }
    }
    let workshop = Workshop::new(&[("concurrency", "1")]);
    let payloads = [r#"{"id":"r1","package_id":"p1"}"#, r#"{"package_id":"p1"}"#, r#"{"id":"r1"}"#, "{}"];
    workshop.publish(
        payloads.map(|payload| format!(r#"{{"routing_key":"Resource","operation":"new","payload":{payload}}}"#)),
    );
    until_empty(workshop.app().linked_in::<Ids>("ids")).unwrap();
    let mut seen: Vec<String> = workshop.letters().into_iter().map(|letter| letter.error).collect();
    seen.sort();
    assert_eq!(seen, ["(None, None)", r#"(None, Some("p1"))"#, r#"(Some("r1"), None)"#, r#"(Some("r1"), Some("p1"))"#]);
}

#[test]
fn a_panic_in_a_worker_is_kept_and_the_next_worker_goes_on() {
    let workshop = Workshop::new(&[("attempts", "1")]);
    let body = doing("p1", &[("first", "panic"), ("second", "done")]);
    workshop.publish([body.clone()]);
    let summary = until_empty(workshop.app().linked_in::<Script>("first").linked_in::<Script>("second")).unwrap();
    assert_eq!((summary.settled, summary.dead), (1, 1));
    assert_eq!(workshop.ended(), ["first dead p1: told to panic (1)", "second done p1:  (1)"]);
    let [letter] = &workshop.letters()[..] else { panic!("one letter is kept") };
    assert_eq!((letter.worker.as_deref(), letter.reason.as_str(), letter.attempts), (Some("first"), "panicked", 1));
    assert!(letter.error.contains("told to panic"), "{}", letter.error);
    assert_eq!(String::from_utf8_lossy(&letter.body), body);
}

#[test]
fn whoever_watches_sees_every_run() {
    let workshop = Workshop::with_short_times(&[("attempts", "3"), ("concurrency", "1")]);
    let acts = ["done", "skip", "fail", "permanent", "panic", "until_cancelled"];
    workshop.publish(acts.map(|act| notification(act, act)));
    let only_packages =
        Manifest { name: "resources".to_owned(), routing_keys: vec!["Resource".to_owned()], ..Manifest::default() };
    let app = workshop.app().linked_in::<Script>("first").linked_in_as::<Script>(only_packages);
    until_empty(app).unwrap();
    let declined = acts.map(|act| format!("resources skipped {act}: does not ask for Package (0)"));
    let mut expected = vec![
        "first done done:  (1)",
        "first skipped skip: told to skip (1)",
        "first retry fail: told to fail; again in about 10s (1)",
        "first dead permanent: told to fail for good (1)",
        "first retry panic: told to panic; again in about 10s (1)",
        "first retry until_cancelled: outlived its deadline and gave up when it was told so; again in about 10s (1)",
    ];
    expected.extend(declined.iter().map(String::as_str));
    assert_eq!(BTreeSet::from_iter(workshop.ended()), expected.into_iter().map(str::to_owned).collect());
}

#[test]
fn a_worker_that_takes_one_at_a_time_is_never_in_two_runs_and_waiting_costs_no_time() {
    let workshop = Workshop::with_short_times(&[("concurrency", "8")]);
    // Together they take many times the deadline.
    workshop.publish((0..40).map(|number| notification(&number.to_string(), "sleep_20ms")));
    let serial = Manifest { name: "first".to_owned(), serial: true, ..Manifest::default() };
    let summary = until_empty(workshop.app().linked_in_as::<Script>(serial)).unwrap();
    assert_eq!((summary.settled, summary.dead), (40, 0));
    let marks: Vec<bool> = workshop.marks().iter().map(|mark| mark.is_begin).collect();
    assert_eq!(marks, [true, false].repeat(40), "begin and end take turns");
}

#[test]
fn a_worker_that_takes_one_at_a_time_and_is_stuck_ends_the_work() {
    let workshop = Workshop::with_short_times(&[("concurrency", "3")]);
    workshop.publish([notification("1", "hang"), notification("2", "done"), notification("3", "done")]);
    let serial = || Manifest { name: "first".to_owned(), serial: true, ..Manifest::default() };
    let error = until_empty(workshop.app().linked_in_as::<Script>(serial())).unwrap_err();
    assert!(matches!(&error, AppError::Dispatch(DispatchError::SerialStuck(worker)) if worker == "first"), "{error}");
    assert_eq!(workshop.letters().len(), 1);
    let summary = until_empty(workshop.app().linked_in_as::<Script>(serial())).unwrap();
    assert_eq!(summary.settled, 2, "the others come again");
}

#[test]
fn under_load_each_dataset_goes_in_order_and_nothing_is_lost_or_done_twice() {
    const NOTIFICATIONS: usize = 10_000;
    const DATASETS: usize = 50;
    let workshop = Workshop::new(&[("concurrency", "8"), ("queue.prefetch", "500")]);
    let dataset = |number: usize| format!("d{}", number * 7 % DATASETS);
    workshop.publish((0..NOTIFICATIONS).map(|number| {
        // Some take long enough for other threads to be called in.
        let act = if number % 100 == 0 { "sleep_1ms" } else { "done" };
        format!(
            r#"{{"routing_key":"Resource","operation":"changed","payload":{{"id":"{number}","package_id":"{}","act":"{act}"}}}}"#,
            dataset(number)
        )
    }));
    let summary = until_empty(workshop.app().linked_in::<Script>("first")).unwrap();
    assert_eq!((summary.settled, summary.released, summary.dead), (NOTIFICATIONS as u64, 0, 0));
    let mut by_dataset: BTreeMap<String, Vec<(usize, bool)>> = BTreeMap::new();
    let marks = workshop.marks();
    let threads: BTreeSet<_> = marks.iter().map(|mark| mark.thread.clone()).collect();
    for mark in marks {
        let number = mark.id.parse().unwrap();
        by_dataset.entry(dataset(number)).or_default().push((number, mark.is_begin));
    }
    for (name, seen) in by_dataset {
        let numbers = (0..NOTIFICATIONS).filter(|number| dataset(*number) == name);
        let expected: Vec<_> = numbers.flat_map(|number| [(number, true), (number, false)]).collect();
        assert!(seen == expected, "dataset {name}: {seen:?}");
    }
    assert!(threads.len() > 1, "more than one thread worked");
    assert_eq!(workshop.left(), 0);
}

#[test]
fn a_stuck_run_is_given_up_and_the_chain_and_the_lane_go_on() {
    let workshop = Workshop::with_short_times(&[("concurrency", "2")]);
    let stuck = doing("p1", &[("first", "done"), ("second", "hang"), ("third", "done")]);
    workshop.publish([
        stuck.clone(),
        notification("p1", "done"),
        notification("p1", "done"),
        notification("p2", "done"),
    ]);
    let app = ["first", "second", "third"].into_iter().fold(workshop.app(), App::linked_in::<Script>);
    let summary = until_empty(app).unwrap();
    assert_eq!((summary.settled, summary.dead, summary.left_running), (4, 1, 0));
    let of_p1: Vec<_> = workshop.runs().into_iter().filter(|run| run.id == "p1").collect();
    let words: Vec<_> = of_p1.iter().map(|run| format!("{} {}", run.worker, run.outcome)).collect();
    let all_well = ["first done", "second done", "third done"];
    assert_eq!(words, [&["first done", "second dead", "third done"][..], &all_well, &all_well].concat());
    let [letter] = &workshop.letters()[..] else { panic!("one letter is kept") };
    assert_eq!((letter.worker.as_deref(), letter.reason.as_str(), letter.attempts), (Some("second"), "timed_out", 1));
    assert_eq!(String::from_utf8_lossy(&letter.body), stuck);
}

#[test]
fn once_all_threads_are_stuck_the_work_ends_and_the_rest_comes_again() {
    // Time enough for two letters to be kept, also on a busy machine.
    let workshop = Workshop::with_short_times(&[("concurrency", "2")]).with_long_drain();
    workshop.publish([notification("1", "hang"), notification("2", "hang")]);
    workshop.publish((3..20).map(|number| notification(&number.to_string(), "sleep_20ms")));
    let error = until_empty(workshop.app().linked_in::<Script>("first")).unwrap_err();
    assert!(matches!(error, AppError::Dispatch(DispatchError::AllStuck(2))), "{error}");
    assert_eq!(workshop.letters().len(), 2);
    let done_before = workshop.runs().iter().filter(|run| run.outcome == "done").count() as u64;
    let summary = until_empty(workshop.app().linked_in::<Script>("first")).unwrap();
    assert_eq!(summary.settled + done_before, 17);
}

#[test]
fn what_was_not_started_when_the_work_stops_comes_again() {
    let workshop = Workshop::with_short_times(&[("concurrency", "2"), ("queue.prefetch", "20")]);
    // In lanes of their own, in one lane, and behind what is being worked on.
    let ids = ["1", "2", "3", "3", "3", "1", "1", "4"];
    workshop.publish(ids.map(|id| notification(id, "first_time_until_cancelled")));
    workshop.stop_when_first_begins();
    let summary = workshop.run_until_stopped(workshop.app().linked_in::<Script>("first")).unwrap();
    assert_eq!((summary.settled, summary.dead, summary.left_running), (0, 0, 0));
    assert!(workshop.runs().iter().all(|run| run.outcome == "interrupted"), "{:?}", workshop.ended());
    assert_eq!(workshop.left(), 8);
    let begun = workshop.runs().len();
    let summary = until_empty(workshop.app().linked_in::<Script>("first")).unwrap();
    assert_eq!((summary.settled, summary.released, summary.dead), (8, 0, 0));
    assert!(workshop.runs()[begun..].iter().all(|run| run.outcome == "done"), "{:?}", workshop.ended());
}

#[test]
fn a_run_that_was_interrupted_keeps_the_next_worker_from_beginning() {
    let workshop = Workshop::with_short_times(&[]);
    workshop.publish([doing("p1", &[("first", "first_time_until_cancelled"), ("second", "done")])]);
    workshop.stop_when_first_begins();
    let app = || workshop.app().linked_in::<Script>("first").linked_in::<Script>("second");
    let summary = workshop.run_until_stopped(app()).unwrap();
    assert_eq!((summary.settled, summary.released, summary.left_running), (0, 1, 0));
    assert_eq!(workshop.ended(), ["first interrupted p1:  (1)"]);
    until_empty(app()).unwrap();
    assert_eq!(workshop.ended()[1..], ["first done p1:  (1)", "second done p1:  (1)"]);
}

#[test]
fn an_observer_that_panics_stops_no_work() {
    struct Clumsy;
    impl Observer for Clumsy {
        fn run_ended(&self, _: &RunEnded<'_>) {
            panic!("dropped the notebook");
        }

        fn logged(&self, _: &LogLine<'_>) {
            panic!("dropped the pencil");
        }
    }
    let workshop = Workshop::with_short_times(&[("concurrency", "1")]);
    workshop.publish([notification("1", "done"), notification("2", "hang")]);
    workshop.publish([notification("3", "done")]);
    let app = workshop.app().observer(Arc::new(Clumsy)).linked_in::<Script>("first");
    assert!(matches!(until_empty(app), Err(AppError::Dispatch(DispatchError::AllStuck(1)))));
    assert_eq!(workshop.letters().len(), 1);
    let app = workshop.app().observer(Arc::new(Clumsy)).linked_in::<Script>("first");
    until_empty(app).unwrap();
    assert_eq!(workshop.left(), 0);
}

#[test]
fn a_worker_that_does_not_end_is_left_behind() {
    struct Clinging;
    impl Worker for Clinging {
        type Config = NoSettings;

        fn create(_: NoSettings, _: &Host<'_>) -> Result<Self> {
            Ok(Self)
        }

        fn consume(&self, _: &Notification<'_>, _: &Host<'_>) -> Result<Outcome> {
            Ok(Outcome::done())
        }
    }
    impl Drop for Clinging {
        fn drop(&mut self) {
            loop {
                std::thread::park();
            }
        }
    }
    let workshop = Workshop::with_short_times(&[]);
    workshop.publish([notification("1", "done")]);
    assert_eq!(until_empty(workshop.app().linked_in::<Clinging>("clinging")).unwrap().settled, 1);
}

#[test]
fn a_copy_that_was_sent_to_wait_twice_is_worked_on_once_and_one_for_another_worker_is_another() {
    let workshop = Workshop::new(&[("concurrency", "4")]);
    workshop.send_to_wait(&notification("p1", "sleep_20ms"), &["first", "second", "first", "second", "first"]);
    // The delay itself has to pass; all five are then found at once.
    std::thread::sleep(std::time::Duration::from_millis(60));
    let summary = until_empty(workshop.app().linked_in::<Script>("first").linked_in::<Script>("second")).unwrap();
    assert_eq!((summary.settled, summary.released), (5, 0));
    let done = workshop.runs().into_iter().filter(|run| run.outcome == "done");
    let mut done: Vec<_> = done.map(|run| run.worker).collect();
    done.sort();
    assert_eq!(done, ["first", "second"], "{:?}", workshop.ended());
}
