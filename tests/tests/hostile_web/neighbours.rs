//! Plugins that do their worst beside archive.

use std::collections::BTreeSet;

use ckan_worker::demo::{Dataset, Datasets};
use serde_json::{Value, json};
use worker_tests::eventually;

use crate::lab::{Lab, SOON};
use crate::web::{Web, file};

/// What the neighbour does, and what the dead letter about it says.
const ACTS: [(&str, Option<&str>); 8] = [
    ("panic", Some("panicked")),
    ("hang", Some("timed_out")),
    ("abort", Some("crashed")),
    ("exhaust", Some("crashed")),
    ("segfault", Some("crashed")),
    ("permanent", Some("permanent")),
    ("sleep_ms:20", None),
    ("done", None),
];
/// So many deaths in one run are enough.
const DEATHS_MAX: usize = 3;

fn body_of(path: &str) -> Vec<u8> {
    format!("a,b\n1,{path}\n").into_bytes()
}

#[test]
fn s24_archive_does_its_work_beside_a_plugin_that_panics_blocks_aborts_and_allocates() {
    let web = Web::start("127.0.0.2", |path| file("text/csv", &body_of(path)));
    let mut datasets = Datasets::default();
    let mut notifications = Vec::new();
    for (number, (act, _)) in ACTS.into_iter().enumerate() {
        let dataset = Dataset::new(&format!("beside-{number}"));
        let payload = json!({"id": dataset.id(), "acts": {"actor": act}});
        let notification = json!({"routing_key": "Package", "operation": "changed", "payload": payload});
        notifications.push(notification.to_string().into_bytes());
        datasets = datasets.with(dataset.resource("file", &web.url(&format!("/{number}.csv")), "CSV"));
    }
    let mut lab = Lab::new(datasets);
    // Whoever had to wait for its turn with the server would be looked at half a minute later.
    let unhurried = "attempts = 1\ngrace = 1s\nconcurrency = 4\nfetch.host_rate = 0\nfetch.host_concurrency = 64";
    lab.configure(unhurried, "[worker:actor]\ndeadline = 10s");
    lab.publish(notifications);

    let mut starts = 0;
    let is_done = eventually(SOON, || {
        // As systemd would.
        if !lab.worker.is_running() {
            lab.start(&["archive", "actor"]);
            starts += 1;
        }
        lab.left() == 0
    });
    assert!(is_done, "{} left\n{}", lab.left(), lab.worker.report());
    let deadly = ACTS.iter().filter(|(_, reason)| *reason == Some("crashed")).count();
    assert!((2..=deadly * DEATHS_MAX + 1).contains(&starts), "{starts} starts");
    for number in 0..ACTS.len() {
        assert!(lab.keeps(&body_of(&format!("/{number}.csv"))), "{number}\n{}", lab.worker.report());
    }
    // What another has died beside before that was noted may be done again: a letter may come twice, but no other.
    let letters = lab.letters();
    let told = letters.iter().map(|letter| {
        let body: Value = serde_json::from_slice(&letter.body).unwrap();
        (letter.worker.clone().unwrap(), body["payload"]["acts"]["actor"].as_str().unwrap().to_owned(), &*letter.reason)
    });
    let expected = ACTS.iter().filter_map(|(act, reason)| Some(("actor".to_owned(), (*act).to_owned(), (*reason)?)));
    let (told, expected): (BTreeSet<_>, BTreeSet<_>) = (told.collect(), expected.collect());
    assert_eq!(told, expected, "{}", lab.worker.report());
    lab.stop();
}
