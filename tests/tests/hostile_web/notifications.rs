//! Notifications and datasets that nobody meant well with.

use std::collections::BTreeSet;
use std::path::Path;

use ckan_worker::demo::{Dataset, Datasets};
use serde_json::{Value, json};
use worker_tests::sha256;

use crate::lab::{Lab, files_below};
use crate::web::{Web, file};

/// What nothing may be named that is written.
const OUTSIDE: &str = "hostile-web-outside";

/// What is no notification at all.
fn no_notifications() -> Vec<Vec<u8>> {
    let nested = |depth: usize| {
        let (open, close) = (r#"{"a":"#.repeat(depth), "}".repeat(depth));
        format!(r#"{{"routing_key":"Package","operation":"new","payload":{open}1{close}}}"#)
    };
    let long = "x".repeat(50 << 20);
    let mut bodies: Vec<Vec<u8>> = [
        &b""[..],
        b"\0",
        b"[]",
        b"{}",
        b"{\"routing_key\":[],\"operation\":{},\"payload\":7}",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":\"../../x\"}",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":{\"id\":\"\xc3\x28\"}}",
        b"\xff\xfe{\"routing_key\":\"Package\"}",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":{\"id\":\"p\"}}{}",
    ]
    .map(<[u8]>::to_vec)
    .into();
    bodies.push(nested(10_000).into_bytes());
    bodies.push(format!(r#"{{"routing_key":"Package","operation":"new","payload":{{"id":"{long}"}}}}"#).into_bytes());
    bodies
}

/// What is one, about something that there cannot be.
fn impossible() -> Vec<Vec<u8>> {
    let outside = |before: &str| format!("{before}{OUTSIDE}");
    let long = "x".repeat(300);
    let mut ids: Vec<Value> = ["../../", "..\\..\\", "/tmp/", "%2e%2e%2f", ".", "a/", "a\0", "ü", " ", "-"]
        .map(|before| json!(outside(before)))
        .into();
    ids.extend([json!(".."), json!("."), json!(""), json!(long), json!(7), json!([]), json!({}), json!(null)]);
    let about = |routing_key: &str, operation: &str, payload: Value| {
        json!({"routing_key": routing_key, "operation": operation, "payload": payload}).to_string().into_bytes()
    };
    let mut bodies = Vec::new();
    for id in ids {
        bodies.push(about("Package", "changed", json!({ "id": id })));
        bodies.push(about("Resource", "new", json!({ "id": id, "package_id": id })));
    }
    bodies.push(about("Package", "explode", json!({ "id": "good" })));
    bodies.push(about("../../Package", "changed", json!({ "id": "good" })));
    bodies.push(about("Package", "changed", json!({})));
    bodies
}

/// A dataset whose resources would be written elsewhere by who believes what they say.
fn evil(web: &Web) -> Dataset {
    let mut dataset = Dataset::new("evil");
    for (number, id) in ["../../../", "/tmp/", "..", "x/../../", "%2e%2e/"].into_iter().enumerate() {
        dataset = dataset.resource(&format!("id {number}"), &web.url(&format!("/evil-{number}.csv")), "CSV");
        dataset = dataset.resource_set("id", format!("{id}{OUTSIDE}"));
    }
    let names = ["/..%2f..%2f", "/%2e%2e/%2e%2e/", "/..%5c..%5c", "/.", "/a%00", "/%2ftmp%2f"];
    for (number, name) in names.into_iter().enumerate() {
        dataset = dataset.resource(&format!("name {number}"), &web.url(&format!("{name}{OUTSIDE}")), "CSV");
    }
    dataset
}

#[test]
fn s23_hostile_notifications_are_set_aside_and_nothing_is_written_where_it_must_not() {
    let web = Web::start("127.0.0.2", |path| file("text/csv", format!("a,b\n1,{path}\n").as_bytes()));
    let good = Dataset::new("good").resource("good", &web.url("/good.csv"), "CSV");
    let mut lab = Lab::new(Datasets::default().with(good).with(evil(&web)));
    lab.configure("attempts = 2\nretry.delays = 100ms", "");
    let (no_notifications, impossible) = (no_notifications(), impossible());
    lab.publish(no_notifications.iter().chain(&impossible).cloned());
    lab.announce(["evil", "good"]);
    lab.start(&["archive"]);
    lab.wait_until("an empty queue", |lab| lab.left() == 0);
    assert!(lab.keeps(b"a,b\n1,/good.csv\n"), "{}", lab.worker.report());
    lab.stop();

    let letters = lab.letters();
    let set_aside: BTreeSet<_> = letters.iter().filter(|letter| letter.reason == "malformed").collect_hashes();
    let expected: BTreeSet<_> = no_notifications.iter().map(|body| sha256(body)).collect();
    assert_eq!(set_aside, expected, "byte for byte");
    let known: BTreeSet<_> = impossible.iter().map(|body| sha256(body)).collect();
    let others: BTreeSet<_> = letters.iter().filter(|letter| letter.reason != "malformed").collect_hashes();
    assert!(others.is_subset(&known), "what was well meant is done: {letters:#?}");
    assert_all_is_where_it_belongs(&lab);
}

trait CollectHashes {
    fn collect_hashes(self) -> BTreeSet<String>;
}

impl<'a, I: Iterator<Item = &'a ckan_worker::source::sqlite::StoredLetter>> CollectHashes for I {
    fn collect_hashes(self) -> BTreeSet<String> {
        self.map(|letter| sha256(&letter.body)).collect()
    }
}

/// Checks that in the worker's directory only what is its own was written, and around it nothing.
fn assert_all_is_where_it_belongs(lab: &Lab) {
    let dir = lab.worker.dir();
    let is_its_own = |name: &str| {
        let files = ["worker.cfg", "stdout", "stderr"].contains(&name);
        files || ["queue.db", "queue.store", "queue.journal"].iter().any(|start| name.starts_with(start))
    };
    for path in files_below(dir) {
        let within = path.strip_prefix(dir).unwrap();
        let parts: Vec<_> = within.iter().map(|part| part.to_str().unwrap()).collect();
        match parts[..] {
            ["archive", _, _, name] => assert!(!name.starts_with('.') && !name.contains('\\'), "{}", within.display()),
            [name, ..] => assert!(is_its_own(name), "{}", within.display()),
            [] => {}
        }
    }
    for above in dir.ancestors().skip(1).chain([Path::new("/tmp"), Path::new("/etc")]) {
        for name in std::fs::read_dir(above).into_iter().flatten().flatten().map(|entry| entry.file_name()) {
            assert!(!name.to_string_lossy().contains(OUTSIDE), "{} in {}", name.display(), above.display());
        }
    }
}
