//! The queue in an SQLite file loses nothing, whenever a process that uses it dies: a ledger of what was confirmed is
//! held against what is there in the end.
//!
//! The processes that die are this test itself, started again to publish, claim, send on and settle.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use ckan_worker::Config;
use ckan_worker::delivery::{DeadReason, Delivery, Fate, Letter};
use ckan_worker::source::{self, Message, Settings, Source, sqlite};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use worker_tests::eventually;

/// Nothing here takes longer.
const SOON: Duration = Duration::from_secs(30);

/// Tells a process of this test that it is one of those that die, and where to work.
const PLACE: &str = "SQLITE_LEDGER_PLACE";

/// How many deliveries a process has in hand.
const IN_HAND: usize = 5;

/// Where the queue lies and the ledger beside it.
struct Place(PathBuf);

impl Place {
    fn settings(&self) -> Settings {
        let url = format!("sqlite:{}", self.0.join("queue.db").display());
        Config::from_map([("ckan.site_id", "portal"), ("amqp.url", url.as_str())]).unwrap().queue
    }

    /// Writes a line into the ledger: one write, which outlasts the process.
    fn note(&self, line: &str) {
        let mut ledger = File::options().create(true).append(true).open(self.0.join("ledger")).unwrap();
        ledger.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// What stands in the ledger behind a word, and how often.
    fn noted(&self, word: &str) -> BTreeMap<String, u32> {
        let ledger = fs::read_to_string(self.0.join("ledger")).unwrap_or_default();
        let mut noted = BTreeMap::new();
        for line in ledger.lines() {
            if let Some((first, id)) = line.split_once(' ')
                && first == word
            {
                *noted.entry(id.to_owned()).or_default() += 1;
            }
        }
        noted
    }

    /// Starts a process that works here; `die_at` is where it dies, if it does so by itself.
    fn start(&self, die_at: Option<&str>) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_process_that_works_until_it_dies", "--ignored"]).env(PLACE, &self.0);
        if let Some(point) = die_at {
            command.env("CKAN_WORKER_DIE_AT", point);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Works through what is left, and answers where each message ended: `done`, or `dead`.
    fn drain(&self) -> BTreeMap<String, Vec<&'static str>> {
        let settings = self.settings();
        runtime().block_on(async {
            let mut source = source::open(&settings, 100).unwrap();
            loop {
                while source.depth().await.unwrap() > 0 {
                    let batch = timeout(SOON, source.next(100)).await.unwrap().unwrap();
                    self.work(&mut *source, batch).await;
                }
                // What waits is due in a moment.
                let status = source::status(&settings).await.unwrap();
                if status.ready == Some(0) && status.rungs.iter().all(|(_, count)| *count == Some(0)) {
                    break;
                }
            }
            source.close().await;
        });
        let mut ends: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for id in self.noted("done").into_keys() {
            ends.entry(id).or_default().push("done");
        }
        for letter in sqlite::letters(&self.0.join("queue.db"), &settings).unwrap() {
            assert_eq!(letter.body, body(&letter.delivery), "a body is never mixed up");
            ends.entry(letter.delivery).or_default().push("dead");
        }
        ends
    }

    /// Deals with deliveries, each by its id: every third is tried again once, every fifth is dead.
    async fn work(&self, source: &mut dyn Source, batch: Vec<Delivery>) {
        let letters = source.letters();
        for delivery in batch {
            let id = delivery.id.to_string();
            assert!(delivery.body == body(&id), "a body is never mixed up");
            let number: usize = id.rsplit('-').next().unwrap().parse().unwrap();
            let fate = match (number % 15, &delivery.past) {
                (0 | 3 | 6 | 9 | 12, None) => Some(Fate::Retry(Duration::from_millis(1))),
                (0 | 5 | 10, _) => Some(Fate::Dead(DeadReason::Permanent)),
                _ => None,
            };
            match fate {
                Some(fate) => letters.keep(&letter(&delivery, fate)).await.unwrap(),
                None => self.note(&format!("done {id}")),
            }
            source.settle(vec![delivery.receipt]);
        }
    }
}

fn letter(delivery: &Delivery, fate: Fate) -> Letter {
    Letter {
        delivery: delivery.id.clone(),
        worker: Some("archive".into()),
        fate,
        error: "503".to_owned(),
        attempts: 1,
        hops: delivery.past.as_ref().map_or(0, |past| past.hops) + 1,
        first_seen: SystemTime::now(),
        held_since: None,
        body: delivery.body.clone(),
        origin: delivery.origin.clone(),
    }
}

/// A body of its own for each message, some longer than a page of the file.
fn body(id: &str) -> Vec<u8> {
    let number: usize = id.rsplit('-').next().unwrap().parse().unwrap();
    id.as_bytes().repeat(1 + number % 7 * 200)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// One of the processes that die; not a test by itself.
#[test]
#[ignore = "started by the tests of this file"]
fn a_process_that_works_until_it_dies() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let place = Place(PathBuf::from(place));
    let settings = place.settings();
    let me = std::process::id();
    runtime().block_on(async {
        let publisher = source::open_publisher(&settings).unwrap();
        let mut source = source::open(&settings, IN_HAND).unwrap();
        let mut taken = 0;
        for number in 0.. {
            let id = format!("{me}-{number}");
            let message =
                Message { routing_key: "Package".to_owned(), body: body(&id).into(), id: Some(id.clone()), only: None };
            publisher.publish(message).await.unwrap();
            place.note(&format!("confirmed {id}"));
            // About as much is taken as is published.
            if taken <= number
                && let Ok(batch) = timeout(Duration::from_millis(5), source.next(IN_HAND)).await
            {
                let batch = batch.unwrap();
                taken += batch.len();
                place.work(&mut *source, batch).await;
            }
        }
    });
}

/// Expects each message that was confirmed in one end or, where a process died between two steps, in one more.
#[track_caller]
fn check(place: &Place, deaths: usize) {
    let (confirmed, ends) = (place.noted("confirmed"), place.drain());
    let lost: Vec<_> = confirmed.keys().filter(|id| !ends.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), confirmed.len());
    // A process that dies between the commit and the ledger leaves one that nobody confirmed.
    let unconfirmed = ends.keys().filter(|id| !confirmed.contains_key(*id)).count();
    assert!(unconfirmed <= deaths, "{unconfirmed} were never confirmed, with {deaths} deaths");
    let done: u32 = place.noted("done").values().map(|times| times - 1).sum();
    let more: usize = ends.values().map(|ends| ends.len() - 1).sum();
    let twice = more + usize::try_from(done).unwrap();
    assert!(twice <= deaths * IN_HAND * 2, "{twice} ended twice, with {deaths} deaths");
    let file = letters_left(place);
    assert_eq!(file, ends.values().map(|ends| ends.iter().filter(|end| **end == "dead").count()).sum::<usize>());
    eprintln!("{deaths} deaths: {} confirmed, 0 lost, {twice} twice, {unconfirmed} recovered", confirmed.len());
}

/// How many letters are left in the file, as the command for it says.
fn letters_left(place: &Place) -> usize {
    let status = runtime().block_on(source::status(&place.settings())).unwrap();
    assert_eq!((status.ready, status.in_hand), (Some(0), Some(0)));
    usize::try_from(status.dead.unwrap()).unwrap()
}

fn in_a_new_place() -> (tempfile::TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place(dir.path().to_owned());
    (dir, place)
}

fn ledger_len(place: &Path) -> u64 {
    fs::metadata(place.join("ledger")).map_or(0, |ledger| ledger.len())
}

#[test]
fn a_process_that_dies_at_any_change_of_the_file_loses_nothing() {
    let (_dir, place) = in_a_new_place();
    let mut deaths = 0;
    for change in 1..=25 {
        for point in ["sqlite-before-commit", "sqlite-after-commit"] {
            let status = place.start(Some(&format!("{point}:{change}"))).wait().unwrap();
            assert!(!status.success(), "it dies at {point} number {change}");
            deaths += 1;
        }
    }
    check(&place, deaths);
}

#[test]
fn two_processes_on_one_file_that_are_killed_again_and_again_lose_nothing() {
    const ROUNDS: usize = 40;
    let (_dir, place) = in_a_new_place();
    let mut both = [place.start(None), place.start(None)];
    for round in 0..ROUNDS {
        // At another moment of their work each time.
        let grown = ledger_len(&place.0) + 200 + 37 * (round as u64 % 11);
        assert!(eventually(SOON, || ledger_len(&place.0) > grown), "round {round}: nothing is done any more");
        let child = &mut both[round % 2];
        child.kill().unwrap();
        child.wait().unwrap();
        *child = place.start(None);
    }
    for child in &mut both {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    check(&place, ROUNDS + 2);
}
