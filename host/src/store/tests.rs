use std::collections::BTreeMap;

use super::*;
use crate::guard::{Budget, Fingerprint, Quarantine};

const BUDGET: Budget = Budget { runs_max: 2, window: Duration::from_secs(600), runs_a_day_max: 50 };
const LEASE: Duration = Duration::from_secs(60);

struct Place {
    store: Store,
    dir: tempfile::TempDir,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&Settings { path: dir.path().join("store") }).unwrap();
    Place { store, dir }
}

fn end(worker: &str) -> RunEnd {
    RunEnd { worker: worker.to_owned(), subject: "p".to_owned(), call: 1, ..RunEnd::default() }
}

fn state<const N: usize>(entries: [(&str, Option<&str>); N]) -> BTreeMap<String, Option<String>> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.map(str::to_owned))).collect()
}

#[test]
fn what_a_worker_remembers_is_its_own_and_survives_a_restart() {
    let Place { store, dir } = place();
    store
        .end(&RunEnd { state: state([("a", Some("1")), ("b/1", Some("2")), ("b/2", Some("3"))]), ..end("w") })
        .unwrap();
    drop(store);
    let store = Store::open(&Settings { path: dir.path().join("store") }).unwrap();
    assert_eq!(store.get("w", "a").unwrap().as_deref(), Some("1"));
    assert_eq!(store.get("v", "a").unwrap(), None);
    let scan = |prefix, after, limit| -> Vec<String> {
        store.scan("w", prefix, after, limit).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(scan("b/", "", 10), ["b/1", "b/2"]);
    assert_eq!(scan("b/", "b/1", 10), ["b/2"]);
    assert_eq!(scan("", "", 2), ["a", "b/1"]);
    store.end(&RunEnd { state: state([("a", None)]), ..end("w") }).unwrap();
    assert_eq!(store.get("w", "a").unwrap(), None);
}

#[test]
fn a_run_that_was_overtaken_stores_nothing() {
    let Place { store, .. } = place();
    let first = RunEnd { state: state([("n", Some("1"))]), expected: state([("n", None)]), ..end("w") };
    assert_eq!(store.end(&first).unwrap(), Stored::All);
    let late =
        RunEnd { state: state([("n", Some("9")), ("m", Some("9"))]), expected: state([("n", None)]), ..end("w") };
    assert_eq!(store.end(&late).unwrap(), Stored::Overtaken("n".to_owned()));
    assert_eq!((store.get("w", "n").unwrap().as_deref(), store.get("w", "m").unwrap()), (Some("1"), None));
}

#[test]
fn an_end_is_stored_together_with_what_the_run_leaves_behind() {
    let Place { store, .. } = place();
    let seen = Fingerprint([7; 16]);
    store.end(&RunEnd { run: Some((u64::MAX, 3)), ..end("w") }.having_seen(Some(seen))).unwrap();
    let ended = store.ended(10).unwrap();
    assert_eq!((ended.len(), ended[0].0, ended[0].1), (1, u64::MAX, 3));
    assert_eq!(store.known("w", "p").unwrap().fingerprint, Some(seen));
    assert_eq!(store.known("w", "q").unwrap().fingerprint, None);
}

#[test]
fn an_own_write_is_known_again_and_what_its_run_could_not_store_is_made_good() {
    let Place { store, .. } = place();
    let image = Fingerprint([1; 16]);
    let meant = RunEnd { state: state([("a", Some("1"))]), ..end("w") };
    let own = Image { worker: "w", subject: "p", call: 1, image };
    store.note_write(&own, Some(&meant)).unwrap();
    let found = store.own_write("w", "p", image).unwrap().unwrap();
    assert_eq!(found.run_end.as_ref(), Some(&meant));
    assert_eq!(store.end(&meant).unwrap(), Stored::All);
    assert_eq!(store.get("w", "a").unwrap().as_deref(), Some("1"));
    assert_eq!(store.own_write("w", "p", image).unwrap().unwrap().run_end, None, "once is enough");
    assert_eq!(store.own_write("v", "p", image).unwrap(), None);
    store.forget_write(&own).unwrap();
    assert_eq!(store.own_write("w", "p", image).unwrap(), None);
}

#[test]
fn who_is_called_too_often_is_quarantined_and_its_notification_waits() {
    let Place { store, .. } = place();
    assert_eq!(store.begin("w", "p", &BUDGET).unwrap(), Ok(()));
    assert_eq!(store.begin("w", "p", &BUDGET).unwrap(), Ok(()));
    let quarantine = store.begin("w", "p", &BUDGET).unwrap().unwrap_err();
    assert_eq!(store.begin("w", "q", &BUDGET).unwrap(), Ok(()), "another dataset");
    store.quarantine("w", "p", &quarantine, b"older").unwrap();
    store.wait_for_release("w", "p", quarantine.until, b"newer").unwrap();
    assert_eq!(store.known("w", "p").unwrap().quarantine.as_ref(), Some(&quarantine));
    assert_eq!(store.take_due(&["w"], 10, LEASE).unwrap(), []);

    let list = store.quarantined().unwrap();
    assert_eq!((list.len(), list[0].subject.as_str(), list[0].strikes), (1, "p", 1));
    assert!(store.release("w", "p").unwrap() && !store.release("w", "p").unwrap());
    assert_eq!(store.known("w", "p").unwrap(), Known::default());
    let due = store.take_due(&["w"], 10, LEASE).unwrap();
    assert_eq!((due.len(), due[0].body.as_deref()), (1, Some(b"newer".as_slice())));
}

#[test]
fn a_wish_is_answered_once_and_a_later_one_replaces_it() {
    let Place { store, .. } = place();
    let wish = |due| RunEnd { wakes: BTreeMap::from([("p".to_owned(), due)]), ..end("w") };
    store.end(&wish(Some(now() + 1000))).unwrap();
    assert_eq!(store.take_due(&["w"], 10, LEASE).unwrap(), []);
    store.end(&wish(Some(5))).unwrap();
    let due = store.take_due(&["v", "w"], 10, LEASE).unwrap();
    assert_eq!((due.len(), due[0].key.due, due[0].body.as_ref()), (1, 5, None));
    assert_eq!(store.take_due(&["w"], 10, LEASE).unwrap(), [], "it is leased");
    store.give_back_wakes(&due).unwrap();
    assert_eq!(store.take_due(&["w"], 10, LEASE).unwrap(), due);
    // While it was being answered, the worker wished for another look.
    store.end(&RunEnd { woken: Some(due[0].key.clone()), ..wish(Some(6)) }).unwrap();
    store.end_wakes(&due).unwrap();
    let due = store.take_due(&["w"], 10, LEASE).unwrap();
    assert_eq!(due[0].key.due, 6);
    store.end(&RunEnd { woken: Some(due[0].key.clone()), ..end("w") }).unwrap();
    store.give_back_wakes(&due).unwrap();
    assert_eq!(store.take_due(&["w"], 10, LEASE).unwrap(), []);
}

#[test]
fn a_wish_to_look_again_and_a_notification_that_waits_stand_beside_each_other() {
    let Place { store, .. } = place();
    let quarantine = Quarantine { until: 5, strikes: 1, reason: String::new() };
    store.end(&RunEnd { wakes: BTreeMap::from([("p".to_owned(), Some(1))]), ..end("w") }).unwrap();
    store.quarantine("w", "p", &quarantine, b"body").unwrap();
    let due = store.take_due(&["w"], 10, LEASE).unwrap();
    let bodies: Vec<_> = due.iter().map(|wake| (wake.key.waits, wake.body.as_deref())).collect();
    assert_eq!(bodies, [(false, None), (true, Some(b"body".as_slice()))]);
}

#[test]
fn what_an_earlier_run_wrote_is_no_echo_after_a_later_one_has_ended() {
    let Place { store, .. } = place();
    let image = |number| Fingerprint([number; 16]);
    let own = |call, number| Image { worker: "w", subject: "p", call, image: image(number) };
    store.note_write(&own(1, 1), None).unwrap();
    store.end(&end("w")).unwrap();
    assert!(store.own_write("w", "p", image(1)).unwrap().is_some());
    store.note_write(&own(2, 2), None).unwrap();
    store.end(&RunEnd { call: 2, ..end("w") }).unwrap();
    assert_eq!(store.own_write("w", "p", image(1)).unwrap(), None);
    assert!(store.own_write("w", "p", image(2)).unwrap().is_some());
}

#[test]
fn of_what_is_gone_nothing_is_known_any_more_and_a_run_that_begins_has_seen_nothing_yet() {
    let Place { store, .. } = place();
    let seen = Some(Fingerprint([7; 16]));
    let fingerprint = || store.known("w", "p").unwrap().fingerprint;
    store.end(&end("w").having_seen(seen)).unwrap();
    store.note_write(&Image { worker: "w", subject: "p", call: 1, image: Fingerprint([1; 16]) }, None).unwrap();
    store.end(&RunEnd { forget: true, ..end("w") }).unwrap();
    assert_eq!((fingerprint(), store.own_write("w", "p", Fingerprint([1; 16])).unwrap()), (None, None));
    store.end(&end("w").having_seen(seen)).unwrap();
    assert_eq!(fingerprint(), seen);
    assert_eq!(store.begin("w", "p", &BUDGET).unwrap(), Ok(()));
    assert_eq!(fingerprint(), None, "if it fails it is to be done again, whatever it looks like then");
}

#[test]
fn a_damaged_store_is_set_aside_and_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    std::fs::write(&path, "this is no database, whatever else it may be").unwrap();
    let store = Store::open(&Settings { path }).unwrap();
    assert_eq!(store.get("w", "a").unwrap(), None);
    let aside = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("store.damaged-"));
    assert_eq!(aside.count(), 1);
}

#[test]
fn a_store_that_turns_out_to_be_damaged_is_set_aside_when_that_is_found_out() {
    let Place { store, dir } = place();
    store.end(&RunEnd { state: state([("a", Some("1"))]), ..end("w") }).unwrap();
    drop(store);
    let path = dir.path().join("store");
    let mut bytes = std::fs::read(&path).unwrap();
    let first_page = 4096;
    bytes[first_page..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let store = Store::open(&Settings { path }).unwrap();
    assert_eq!(store.get("w", "a").unwrap(), None);
    store.end(&RunEnd { state: state([("a", Some("2"))]), ..end("w") }).unwrap();
    assert_eq!(store.get("w", "a").unwrap().as_deref(), Some("2"));
}

#[test]
fn what_a_later_version_wrote_is_left_alone() {
    let Place { store, dir } = place();
    store.lock().pragma_update(None, "user_version", 9).unwrap();
    drop(store);
    let error = Store::open(&Settings { path: dir.path().join("store") }).unwrap_err();
    assert!(matches!(error, StoreError::Later(_)), "{error}");
}
