//! The binary on the embedded queue, as an operator runs it without a broker.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ckan_worker::Config;
use ckan_worker::demo::Sample;
use ckan_worker::source::sqlite::StoredLetter;
use ckan_worker::source::{self, Address, Message, sqlite};
use worker_tests::places::workspace;
use worker_tests::{Consumed, WorkerProcess, built, consumed, eventually, sha256};

/// Nothing here takes longer.
const SOON: Duration = Duration::from_secs(30);

/// A folder with a queue in it, which workers share.
struct Portal {
    dir: tempfile::TempDir,
}

impl Portal {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn queue(&self) -> PathBuf {
        self.dir.path().join("queue.db")
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    /// A worker on this queue, not yet started.
    fn worker(&self, more: &str) -> WorkerProcess {
        WorkerProcess::with_config(&format!(
            "[worker]\nckan.site_id = portal\namqp.url = sqlite:{}\nplugin_dir = {}\n{more}\n\
             [worker:actor]\njournal = {}\n[worker:actor2]\njournal = {}\n",
            self.queue().display(),
            built().plugin_dir.display(),
            self.journal().display(),
            self.journal().display(),
        ))
    }

    /// Sends notifications with `worker send`.
    fn send(&self, lines: &[String]) {
        let mut sender = self.worker("");
        fs::write(sender.path("lines"), lines.join("\n")).unwrap();
        sender.start(["send", "lines"]);
        assert!(sender.wait(SOON).success(), "{}", sender.report());
        assert!(sender.stderr().contains(&format!("{} notifications", lines.len())), "{}", sender.report());
    }

    fn settings(&self) -> source::Settings {
        let url = format!("sqlite:{}", self.queue().display());
        Config::from_map([("ckan.site_id", "portal"), ("amqp.url", url.as_str())]).unwrap().queue
    }

    /// Puts bytes on the queue that `worker send` would refuse.
    fn smuggle(&self, body: &[u8]) {
        runtime().block_on(async {
            let publisher = source::open_publisher(&self.settings()).unwrap();
            let message =
                Message { routing_key: "Package".to_owned(), body: body.to_vec().into(), id: None, only: None };
            publisher.publish(message).await.unwrap();
        });
    }

    fn letters(&self) -> Vec<StoredLetter> {
        sqlite::letters(&self.queue(), &self.settings()).unwrap()
    }

    fn left(&self) -> u64 {
        runtime().block_on(source::look(&self.settings())).unwrap().unwrap()
    }

    fn consumed(&self) -> Vec<Consumed> {
        consumed(&self.journal())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn notification(id: &str, act: &str) -> String {
    format!(r#"{{"routing_key":"Package","operation":"changed","payload":{{"id":"{id}","act":"{act}"}}}}"#)
}

#[test]
fn what_was_sent_is_archived_and_echoed() {
    let portal = Portal::new();
    let runtime = runtime();
    let sample = runtime.block_on(Sample::start()).unwrap();
    let notices: Vec<String> =
        sample.portal.backfill().into_iter().map(|notice| String::from_utf8(notice.body).unwrap()).collect();
    portal.send(&notices);
    assert_eq!(portal.left(), notices.len() as u64);
    let token = ckan_worker::demo::data::TOKEN;
    let mut worker = portal.worker(&format!(
        "ckan.site_url = {}\nckan.api_key = {token}\nfetch.allow = 127.0.0.0/8\n\
         fetch.host_concurrency = 100\nfetch.host_rate = 0\nfetch.timeout = 2s\n\
         [worker:archive]\ndir = %(here)s/archive",
        sample.portal.url()
    ));
    worker.start(["archive", "echo", "--until-empty"]);
    assert!(worker.wait(SOON).success(), "{}", worker.report());
    assert_eq!(portal.left(), 0);
    assert!(!sample.portal.calls_of("package_revise").is_empty(), "{}", worker.report());
    let kept = files_below(&worker.path("archive"));
    let found: BTreeSet<String> = kept.iter().map(|file| sha256(&fs::read(file).unwrap())).collect();
    for expected in ckan_worker::demo::expected() {
        let Some((_, hash)) = expected.kept else { continue };
        assert!(found.contains(&hash), "{} is kept\n{}", expected.name, worker.report());
    }
    assert!(worker.stderr().contains("Package changed"), "{}", worker.report());
    runtime.block_on(sample.stop());
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn what_fails_for_good_is_kept_byte_for_byte() {
    let portal = Portal::new();
    let failing = format!(" {}\t", notification("p1", "fail"));
    let panicking = notification("p2", "panic");
    let both = r#"{"routing_key":"Package","operation":"new","payload":{"id":"p3","acts":{"actor":"permanent","actor2":"done"}}}"#;
    for body in [failing.as_bytes(), panicking.as_bytes(), both.as_bytes(), b"\xff\0 no notification", b""] {
        portal.smuggle(body);
    }
    let mut worker = portal.worker("attempts = 2\nretry.delays = 100ms");
    worker.start(["actor", "actor2"]);
    assert!(eventually(SOON, || portal.letters().len() == 7), "{}", worker.report());
    worker.terminate();
    assert!(worker.wait(SOON).success(), "{}", worker.report());
    let mut letters: Vec<_> = portal
        .letters()
        .into_iter()
        .map(|letter| (letter.body, letter.worker.unwrap_or_default(), letter.reason, letter.attempts))
        .collect();
    letters.sort();
    let expected = |body: &[u8], worker: &str, reason: &str, attempts| {
        (body.to_vec(), worker.to_owned(), reason.to_owned(), attempts)
    };
    let mut all = vec![
        expected(failing.as_bytes(), "actor", "attempts_exhausted", 2),
        expected(failing.as_bytes(), "actor2", "attempts_exhausted", 2),
        expected(panicking.as_bytes(), "actor", "panicked", 2),
        expected(panicking.as_bytes(), "actor2", "panicked", 2),
        expected(both.as_bytes(), "actor", "permanent", 1),
        expected(b"\xff\0 no notification", "", "malformed", 0),
        expected(b"", "", "malformed", 0),
    ];
    all.sort();
    assert_eq!(letters, all, "{}", worker.report());
    assert_eq!(portal.left(), 0);
}

#[test]
fn a_killed_worker_leaves_its_messages_to_one_that_is_already_running() {
    let portal = Portal::new();
    portal.send(&[notification("p1", "hang"), notification("p2", "hang")]);
    let mut first = portal.worker("concurrency = 2");
    first.start(["actor"]);
    assert!(eventually(SOON, || portal.consumed().len() == 2), "{}", first.report());
    let mut second = portal.worker("");
    second.start(["actor"]);
    second.wait_for_line("consuming queue", SOON);
    first.kill();
    first.wait(SOON);
    // Much sooner than a lease runs out.
    assert!(eventually(Duration::from_secs(10), || portal.consumed().len() == 4), "{}", second.report());
    let again = &portal.consumed()[2..];
    assert!(again.iter().all(|run| run.redelivered && run.pid == second.pid()), "{again:?}");
}

#[test]
fn two_workers_on_one_file_share_the_work() {
    let portal = Portal::new();
    let lines: Vec<String> = (0..200).map(|number| notification(&format!("p{number}"), "sleep_ms:5")).collect();
    portal.send(&lines);
    let mut workers = [portal.worker("concurrency = 2"), portal.worker("concurrency = 2")];
    for worker in &mut workers {
        worker.start(["actor", "--until-empty"]);
    }
    for worker in &mut workers {
        assert!(worker.wait(SOON).success(), "{}", worker.report());
    }
    let runs = portal.consumed();
    let names: BTreeSet<_> = runs.iter().map(|run| run.id.clone().unwrap()).collect();
    assert_eq!((runs.len(), names.len(), portal.left()), (200, 200, 0));
    let pids: BTreeSet<u32> = runs.iter().map(|run| run.pid).collect();
    assert_eq!(pids.len(), 2, "both had some");
}

#[test]
fn a_worker_that_is_told_to_stop_finishes_what_it_has_begun_and_leaves_the_rest() {
    let portal = Portal::new();
    portal.send(&(0..20).map(|number| notification(&format!("p{number}"), "sleep_ms:1500")).collect::<Vec<_>>());
    let mut worker = portal.worker("concurrency = 2");
    worker.start(["actor"]);
    assert!(eventually(SOON, || portal.consumed().len() == 2), "{}", worker.report());
    worker.terminate();
    assert_eq!(worker.wait(SOON).code(), Some(0), "{}", worker.report());
    let runs = portal.consumed();
    assert_eq!(runs.len(), 2, "nothing new is begun");
    assert!(runs.iter().all(|run| run.outcome.as_deref() == Some("done")), "{runs:?}");
    assert_eq!(portal.left(), 18);
}

#[test]
fn what_cannot_be_a_queue_ends_the_worker_with_the_status_for_a_wrong_configuration() {
    let portal = Portal::new();
    fs::write(portal.queue(), "this is a letter to my grandmother ".repeat(100)).unwrap();
    for arguments in [&["actor"][..], &["send", "/dev/null"]] {
        let mut worker = portal.worker("");
        worker.start(arguments);
        assert_eq!(worker.wait(SOON).code(), Some(78), "{}", worker.report());
        let said = worker.stderr();
        assert!(said.contains("queue.db") && said.contains("is no queue or is damaged"), "{}", worker.report());
    }
    assert!(fs::read_to_string(portal.queue()).unwrap().starts_with("this is a letter"));
    fs::remove_file(portal.queue()).unwrap();
    fs::create_dir(portal.queue()).unwrap();
    let mut worker = portal.worker("");
    worker.start(["actor"]);
    assert_eq!(worker.wait(SOON).code(), Some(78), "{}", worker.report());
}

#[test]
fn where_there_is_no_room_what_was_not_confirmed_is_said_and_nothing_else_is_missing() {
    let portal = Portal::new();
    portal.send(&[notification("first", "done"), notification("p0", "done")]);
    let lines: Vec<String> = (1..400).map(|number| notification(&format!("p{number}"), &"x".repeat(5000))).collect();
    let mut sender = portal.worker("");
    fs::write(sender.path("lines"), lines.join("\n")).unwrap();
    let own = sender.command();
    let mut command = Command::new("sh");
    // As on a full disk: a file that has grown so far cannot be written any further.
    command.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\""]).arg(own.get_program());
    command.args(["-c", "worker.cfg", "send", "lines"]).current_dir(sender.dir()).env("HOME", sender.dir());
    sender.spawn(command);
    assert_eq!(sender.wait(SOON).code(), Some(69), "{}", sender.report());
    let said = sender.stderr();
    let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(error.contains("queue.db") && error.contains("nothing is lost"), "{said}");
    let confirmed: u64 = error.rsplit_once("; ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(confirmed < 399, "{said}");
    assert_eq!(portal.left(), confirmed + 2);
}

#[test]
fn the_example_settings_run_without_a_broker() {
    let example = workspace().join("worker.cfg.example");
    let mut worker = WorkerProcess::with_config("");
    let home = worker.dir().to_owned();
    let line = notification("p1", "done");
    fs::write(worker.path("line"), &line).unwrap();
    for arguments in [&["send", "line"][..], &["echo", "--until-empty"]] {
        let mut command = worker.command();
        command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", home.join("state"));
        command.arg("-c").arg(&example).arg("--plugin-dir").arg(&built().plugin_dir).args(arguments);
        worker.spawn(command);
        assert!(worker.wait(SOON).success(), "{}", worker.report());
    }
    assert!(worker.stderr().contains("Package changed"), "{}", worker.report());
    let queue = home.join("state/ckan-worker/queue.db");
    let mut settings = Config::from_map([("ckan.site_id", "default")]).unwrap().queue;
    settings.address = Address::Sqlite(queue);
    assert_eq!(runtime().block_on(source::look(&settings)).unwrap(), Some(0), "{}", worker.report());
}

#[test]
fn a_log_that_cannot_be_written_stops_no_work() {
    let portal = Portal::new();
    portal.send(&[notification("p1", "fail"), notification("p2", "done")]);
    let mut worker = portal.worker("attempts = 1");
    let own = worker.command();
    let mut command = Command::new("sh");
    // As with a journal that has no room, or a pipe whose reader is gone.
    command.args(["-c", "exec \"$0\" \"$@\" 2>/dev/full"]).arg(own.get_program());
    command.args(["-c", "worker.cfg", "actor", "--until-empty"]).current_dir(worker.dir()).env("HOME", worker.dir());
    worker.spawn(command);
    assert_eq!(worker.wait(SOON).code(), Some(0));
    assert_eq!((portal.letters().len(), portal.left()), (1, 0));
}
