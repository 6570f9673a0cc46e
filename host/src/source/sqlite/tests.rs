//! What can only be seen from inside: clocks that are set, leases that run out, disks that are full.

use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use rusqlite::{Connection, params};

use super::clock::now_ms;
use super::file::QueueFile;
use super::graves::SqliteGraveyard;
use super::leases::Leases;
use super::statements;
use crate::delivery::{DeadReason, Delivery, Fate, Letter, Receipt};
use crate::retry::Ladder;
use crate::source::{Address, Graveyard as _, Message, Settings, SourceError, find_lane};

const HOUR_MS: i64 = 3_600_000;

fn settings(dir: &Path) -> Settings {
    Settings {
        address: Address::Sqlite(dir.join("queue.db")),
        name: "portal.workerchain".to_owned(),
        exchange: "portal".to_owned(),
        routing_key: "*".to_owned(),
        prefetch: None,
        prefetch_bytes: 1 << 26,
        ladder: Ladder::default(),
        create: true,
        feed: None,
    }
}

fn file(dir: &Path) -> QueueFile {
    QueueFile::open(&dir.join("queue.db"), &settings(dir)).unwrap()
}

fn message(body: &[u8], id: Option<&str>) -> Message {
    Message { routing_key: "Package".to_owned(), body: body.to_vec().into(), id: id.map(str::to_owned), only: None }
}

fn publish(file: &mut QueueFile, body: &[u8]) {
    file.publish(&[message(body, None)]).unwrap();
}

fn letter(delivery: &Delivery, fate: Fate) -> Letter {
    Letter {
        delivery: delivery.id.clone(),
        worker: Some("archive".into()),
        fate,
        error: "503".to_owned(),
        attempts: 1,
        hops: 1,
        first_seen: SystemTime::now(),
        held_since: None,
        body: delivery.body.clone(),
        origin: delivery.origin.clone(),
    }
}

/// Sends a message with this body to wait.
fn wait(file: &mut QueueFile, body: &[u8], delay: Duration) {
    publish(file, body);
    let claimed = file.claim(1).unwrap();
    file.keep(&letter(&claimed[0], Fate::Retry(delay))).unwrap();
    file.settle(&[Receipt { ..receipt(&claimed[0]) }]).unwrap();
}

fn receipt(delivery: &Delivery) -> Receipt {
    Receipt { session: delivery.receipt.session, tag: delivery.receipt.tag }
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| std::str::from_utf8(&delivery.body).unwrap()).collect()
}

fn number(file: &QueueFile, sql: &str) -> i64 {
    file.store.read(|file| file.query_row(sql, [], |row| row.get(0))).unwrap()
}

/// Makes all that waits look as if the clock had been set by so much after it was sent.
fn set_the_clock(file: &mut QueueFile, by_ms: i64) {
    let moved = "UPDATE waiting SET since_ms = since_ms - ?1, due_ms = due_ms - ?1";
    file.store.write(|change| change.execute(moved, [by_ms])).unwrap();
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_wait_longer_than_its_time_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut earlier = file(dir.path());
    wait(&mut earlier, b"short", Duration::from_millis(1));
    wait(&mut earlier, b"long", Duration::from_secs(600));
    set_the_clock(&mut earlier, -HOUR_MS);
    let mut later = file(dir.path());
    let before = now_ms();
    later.bring_what_is_due().unwrap();
    let due = number(&later, "SELECT max(due_ms) FROM waiting");
    assert!((before + 600_000..=now_ms() + 600_000).contains(&due), "the long one waits its time, and no hour more");
    assert!(number(&later, "SELECT count(*) FROM waiting WHERE due_ms < since_ms + 2") <= 1);
    // The short one was put off by no more than its own millisecond.
    let mut came = later.claim(5).unwrap();
    while came.is_empty() {
        std::thread::yield_now();
        later.bring_what_is_due().unwrap();
        came = later.claim(5).unwrap();
    }
    assert_eq!(bodies(&came), ["short"]);
}

#[test]
fn a_clock_that_is_set_forward_brings_what_waits_in_order_and_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = file(dir.path());
    for (body, delay) in [("3", 300), ("1", 100), ("2", 200), ("4", 7200)] {
        wait(&mut queue, body.as_bytes(), Duration::from_secs(delay));
    }
    set_the_clock(&mut queue, HOUR_MS);
    let mut queue = file(dir.path());
    queue.bring_what_is_due().unwrap();
    queue.bring_what_is_due().unwrap();
    assert_eq!(bodies(&queue.claim(9).unwrap()), ["1", "2", "3"]);
    assert_eq!((number(&queue, "SELECT count(*) FROM waiting"), queue.claim(9).unwrap().len()), (1, 0));
}

#[test]
fn what_another_process_sends_to_wait_is_found_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut consumer, mut other) = (file(dir.path()), file(dir.path()));
    consumer.bring_what_is_due().unwrap();
    wait(&mut other, b"1", Duration::from_millis(1));
    let mut came = Vec::new();
    while came.is_empty() {
        // Soon enough, but not at every look.
        std::thread::sleep(consumer.rest());
        consumer.bring_what_is_due().unwrap();
        came = consumer.claim(1).unwrap();
    }
    assert_eq!(bodies(&came), ["1"]);
}

#[test]
fn a_lease_that_is_renewed_holds_and_one_that_ran_out_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut holder, mut other) = (file(dir.path()), file(dir.path()));
    // A lease runs out as soon as it is seen twice.
    for file in [&mut holder, &mut other] {
        file.leases = Leases::new(Duration::from_nanos(1));
    }
    publish(&mut holder, b"1");
    let [claimed] = <[Delivery; 1]>::try_from(holder.claim(1).unwrap()).unwrap();
    holder.store.write(|change| change.execute("UPDATE message SET held_until_ms = 1", [])).unwrap();
    other.take_back().unwrap();
    holder.renew().unwrap();
    other.take_back().unwrap();
    assert_eq!(other.claim(1).unwrap().len(), 0, "it has been renewed");
    holder.take_back().unwrap();
    holder.take_back().unwrap();
    assert_eq!(holder.claim(1).unwrap().len(), 0, "what is late but still in hand is not begun again here");
    other.take_back().unwrap();
    let again = other.claim(1).unwrap();
    assert!(again[0].redelivered);
    // The late one no longer has a right to it.
    holder.settle(&[claimed.receipt]).unwrap();
    assert_eq!(other.depth().unwrap(), 1);
    other.settle(&[receipt(&again[0])]).unwrap();
    assert_eq!((other.depth().unwrap(), number(&other, "SELECT count(*) FROM body")), (0, 0));
}

#[test]
fn a_receipt_from_another_opening_of_the_file_settles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut earlier = file(dir.path());
    publish(&mut earlier, b"1");
    let claimed = earlier.claim(1).unwrap().remove(0);
    earlier.release_all().unwrap();
    let mut later = file(dir.path());
    assert_eq!(later.claim(1).unwrap().len(), 1);
    later.settle(&[claimed.receipt]).unwrap();
    assert_eq!(later.depth().unwrap(), 1);
}

#[test]
fn every_message_has_a_name_the_publishers_or_one_that_no_other_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = file(dir.path());
    queue
        .publish(&[message(b"1", Some("m-1")), message(b"2", None), message(b"3", Some("")), message(b"4", None)])
        .unwrap();
    let names: Vec<_> = queue.claim(9).unwrap().iter().map(|delivery| delivery.id.to_string()).collect();
    assert_eq!(names[0], "m-1");
    assert!(names[1..].iter().all(|name| name.len() == 32), "{names:?}");
    let different: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(different.len(), 4);
    // The next file does not begin with the same names.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut another = file(elsewhere.path());
    publish(&mut another, b"1");
    assert!(!names.contains(&another.claim(1).unwrap()[0].id.to_string()));
}

#[test]
fn no_more_bytes_are_in_hand_than_may_be_but_always_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.prefetch_bytes = 1000;
    let mut queue = QueueFile::open(&dir.path().join("queue.db"), &settings).unwrap();
    for size in [5000, 400, 400, 400, 100] {
        publish(&mut queue, &vec![b'x'; size]);
    }
    let sizes = |batch: &[Delivery]| batch.iter().map(|delivery| delivery.body.len()).collect::<Vec<_>>();
    let first = queue.claim(9).unwrap();
    assert_eq!((sizes(&first), queue.claim(9).unwrap().len()), (vec![5000], 0));
    queue.settle(&[receipt(&first[0])]).unwrap();
    let second = queue.claim(9).unwrap();
    assert_eq!((sizes(&second), queue.claim(9).unwrap().len()), (vec![400, 400], 0));
    queue.release(&[receipt(&second[1])]).unwrap();
    assert_eq!(sizes(&queue.claim(9).unwrap()), [400]);
    queue.settle(&[receipt(&second[0])]).unwrap();
    assert_eq!(sizes(&queue.claim(9).unwrap()), [400, 100]);
}

#[test]
fn what_is_claimed_again_after_its_lease_ran_out_takes_its_room_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.prefetch_bytes = 1000;
    let mut queue = QueueFile::open(&dir.path().join("queue.db"), &settings).unwrap();
    publish(&mut queue, &[b'x'; 400]);
    assert_eq!(queue.claim(9).unwrap().len(), 1);
    queue.store.write(|change| change.execute("UPDATE message SET held_by = NULL", [])).unwrap();
    assert_eq!(queue.claim(9).unwrap().len(), 1);
    publish(&mut queue, &[b'x'; 400]);
    assert_eq!(queue.claim(9).unwrap().len(), 1, "there is room for it");
}

#[test]
fn a_file_of_a_later_version_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = QueueFile::open(&path, &settings(dir.path())).err().unwrap();
    assert!(matches!(error, SourceError::Unusable(_)));
    assert!(
        error.to_string().contains("a later version of this worker") && error.to_string().contains("99"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn on_a_full_disk_nothing_is_lost_and_the_error_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = file(dir.path());
    let room = |queue: &QueueFile, pages: i64| {
        queue.store.read(|file| file.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))).unwrap();
    };
    let used = number(&queue, "PRAGMA page_count");
    room(&queue, used + 30);
    let mut confirmed = 0_i64;
    let error = loop {
        match queue.publish(&[message(&[b'x'; 3000], None)]) {
            Ok(()) => confirmed += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SourceError::Unavailable { .. }), "it may pass");
    assert!(error.to_string().contains("nothing is lost, make room"), "{error}");
    assert!(confirmed > 10);
    assert_eq!(number(&queue, "SELECT count(*) FROM message"), confirmed);
    // What is in hand stays there until it can be kept.
    let claimed = queue.claim(2).unwrap();
    for fate in [Fate::Retry(Duration::from_secs(1)), Fate::Dead(DeadReason::Permanent)] {
        queue.keep(&letter(&claimed[0], fate)).unwrap_err();
    }
    assert_eq!(number(&queue, "SELECT (SELECT count(*) FROM waiting) + (SELECT count(*) FROM dead)"), 0);
    assert_eq!(number(&queue, "SELECT count(*) FROM body"), confirmed, "nothing is left of what failed");
    room(&queue, used + 300);
    queue.keep(&letter(&claimed[0], Fate::Dead(DeadReason::Permanent))).unwrap();
    queue.settle(&[receipt(&claimed[0])]).unwrap();
    assert_eq!(queue.depth().unwrap(), confirmed.unsigned_abs() - 1);
    assert_eq!(number(&queue, "SELECT count(*) FROM dead"), 1);
}

#[test]
fn a_replay_is_a_fresh_start_under_the_same_name_and_of_two_that_do_it_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let (mut queue, settings) = (file(dir.path()), settings(dir.path()));
    queue.publish(&[message(b"1", Some("m-1"))]).unwrap();
    let claimed = queue.claim(1).unwrap();
    let held_since = Some(SystemTime::now());
    let dead =
        Letter { attempts: 9, hops: 10, held_since, ..letter(&claimed[0], Fate::Dead(DeadReason::AttemptsExhausted)) };
    queue.keep(&dead).unwrap();
    queue.settle(&[receipt(&claimed[0])]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut done = [0, 0];
    runtime.block_on(async {
        let open = || SqliteGraveyard::open(&dir.path().join("queue.db"), &settings).unwrap();
        let (mut one, mut other) = (open(), open());
        let letters = [one.next().await.unwrap().unwrap(), other.next().await.unwrap().unwrap()];
        assert_eq!((letters[0].id.as_str(), letters[0].attempts, letters[0].hops), ("m-1", 9, 10));
        assert_eq!(letters[0].routing_key.as_deref(), Some("Package"));
        assert!(letters[0].died >= letters[0].first_seen);
        assert!(one.next().await.unwrap().is_none());
        let [first, second] = letters;
        one.replay(vec![first], &mut done[0]).await.unwrap();
        other.replay(vec![second.clone()], &mut done[1]).await.unwrap();
        other.remove(vec![second], &mut done[1]).await.unwrap();
    });
    assert_eq!(done, [1, 0]);
    let again = queue.claim(9).unwrap();
    let past = again[0].past.as_ref().unwrap();
    assert_eq!((again.len(), again[0].id.to_string().as_str(), bodies(&again)), (1, "m-1", vec!["1"]));
    assert_eq!((&*past.worker, past.attempts, past.hops, past.held_since), ("archive", 0, 10, None));
    // When it dies again, it is known that it was replayed.
    queue.keep(&letter(&again[0], Fate::Dead(DeadReason::Permanent))).unwrap();
    queue.settle(&[receipt(&again[0])]).unwrap();
    assert_eq!(number(&queue, "SELECT replayed FROM dead"), 1);
    assert_eq!(number(&queue, "SELECT count(*) FROM body"), 1);
}

#[test]
fn clearing_deletes_what_waits_in_the_queue_with_its_bodies_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = file(dir.path());
    wait(&mut queue, b"waits", Duration::from_secs(60));
    for body in [b"1", b"2", b"3"] {
        publish(&mut queue, body);
    }
    let held = queue.claim(1).unwrap();
    assert_eq!(queue.purge().unwrap(), 2);
    assert_eq!(number(&queue, "SELECT count(*) FROM body"), 2);
    queue.settle(&[receipt(&held[0])]).unwrap();
    let held_by_all = queue.store.read(|file| {
        file.query_row(statements::HELD_BY_ALL, params!["portal.workerchain"], |row| row.get::<_, i64>(0))
    });
    assert_eq!((held_by_all.unwrap(), number(&queue, "SELECT count(*) FROM waiting")), (0, 1));
}

#[test]
#[cfg(unix)]
fn nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let mut file = file(dir.path());
    publish(&mut file, b"{}");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(dir.path()).unwrap().flatten() {
        seen.push((entry.file_name(), entry.metadata().unwrap().permissions().mode() & 0o777));
    }
    assert!(seen.len() > 1 && seen.iter().all(|(_, mode)| *mode == 0o600), "{seen:?}");
}

#[tokio::test]
async fn who_holds_the_file_does_not_hold_up_who_looks_for_a_lane_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let mut lane = QueueFile::open(&dir.path().join("queue.db"), &settings.lane()).unwrap();
    publish(&mut lane, b"{}");
    drop(lane);
    let holder = Connection::open(dir.path().join("queue.db")).unwrap();
    holder.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE").unwrap();
    let mut look = find_lane(&settings, 2)();
    assert!((&mut look).now_or_never().is_none(), "it waits elsewhere");
    drop(holder);
    let mut lane = look.await.unwrap().expect("a message waits in the lane");
    assert_eq!(lane.next(1).await.unwrap().len(), 1);
    lane.close().await;
}
