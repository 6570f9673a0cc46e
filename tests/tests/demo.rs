//! `worker demo`, as somebody types it who has just built the worker.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use worker_tests::{WorkerProcess, built};

/// How long the demo may take; it needs two or three seconds on an idle machine.
const DEMO_MAX: Duration = Duration::from_secs(90);

/// A worker with a directory for temporary files of its own, to see what is left there.
fn demo(arguments: &[&str]) -> WorkerProcess {
    let mut worker = WorkerProcess::with_config("");
    fs::create_dir(worker.path("tmp")).expect("the directory is ours");
    let mut command = worker.command();
    command.env("TMPDIR", worker.path("tmp")).arg("demo").args(arguments);
    worker.spawn(command);
    worker
}

fn left_behind(worker: &WorkerProcess) -> usize {
    fs::read_dir(worker.path("tmp")).expect("the directory is ours").count()
}

/// How many lines begin with this word.
fn count(stdout: &str, word: &str) -> usize {
    stdout.lines().filter(|line| line.starts_with(&format!("  {word:<7}  "))).count()
}

#[test]
fn the_demo_archives_the_sample_portal_and_says_what_became_of_each_resource() {
    let mut worker = demo(&["--once"]);
    let status = worker.wait(DEMO_MAX);
    let stdout = worker.stdout();
    assert_eq!(status.code(), Some(0));
    assert!(stdout.starts_with("Sample portal   http://127.0.0.1:"), "{stdout}");
    let library = built().library("ckan-worker-archive").canonicalize().expect("it was built");
    assert!(stdout.contains(&format!("\narchive 0.1.0   loaded from {}\n", library.display())), "{stdout}");
    let counts = ["ok", "moved", "wrong", "broken", "too big"].map(|word| count(&stdout, word));
    assert_eq!(counts, [20, 2, 1, 6, 2]);
    for line in [
        "  broken   old-budget.csv        Server reported status error: 404 Not Found",
        "  wrong    report.csv            declared CSV, is an HTML page",
        "31 resources: 22 kept, 9 problems found",
        "46 notifications: 14 sent, 32 announced by the portal in return",
        "46 runs: 12 done, 34 skipped or superseded, for there was nothing left to do",
        "9 calls of package_revise, one for each dataset with something new",
        "plugins list",
    ] {
        assert_eq!(stdout.matches(line).count(), 1, "{line}");
    }
    assert_eq!(worker.stderr(), "");
    assert_eq!(left_behind(&worker), 0);
}

#[test]
fn the_demo_takes_up_what_is_changed_on_its_portal_until_it_is_stopped() {
    let mut worker = demo(&[]);
    worker.wait_for_line("Ctrl-C ends the demo", DEMO_MAX);
    worker.wait_for_line("Still running", DEMO_MAX);
    assert_eq!(count(&worker.stdout(), "broken"), 6);
    repair_as_suggested(&mut worker);
    let line = worker.wait_for_line("  ok       old-budget.csv", DEMO_MAX);
    assert!(line.contains("302 B") && line.contains("text/csv"), "{line}");
    // The new address was announced for the resource and its dataset, and so was what the archive wrote back.
    let news = worker.wait_for_line("The portal announced", DEMO_MAX);
    assert_eq!(
        news,
        "The portal announced 4 notifications: 1 done, 3 skipped or superseded, for there was nothing left to do"
    );
    worker.signal(Signal::INT);
    assert_eq!(worker.wait(DEMO_MAX).code(), Some(0));
    assert_eq!(left_behind(&worker), 0);
}

/// Sends what the suggested command sends.
fn repair_as_suggested(worker: &mut WorkerProcess) {
    let first = worker.wait_for_line("curl -s -H", DEMO_MAX);
    let second = worker.wait_for_line("-d '", DEMO_MAX);
    let token = first.split('\'').nth(1).expect("the header is quoted").to_owned();
    let url = first.split("http://").nth(1).expect("the address is there").trim_end_matches(" \\");
    let (address, path) = url.split_once('/').expect("the address has a path");
    let body = second.split('\'').nth(1).expect("the body is quoted");
    let mut stream = TcpStream::connect(address).expect("the portal listens");
    let length = body.len();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {address}\r\n{token}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("the portal reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the portal answers");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_missing_plugin_file_is_said_with_the_command_that_makes_it() {
    let mut worker = WorkerProcess::with_config("");
    let alone = worker.path("worker");
    fs::copy(&built().worker, &alone).expect("the worker can be copied");
    let mut command = Command::new(&alone);
    command.current_dir(worker.dir()).env("HOME", worker.dir()).args(["demo", "--once", "--plugin-dir", "nowhere"]);
    worker.spawn(command);
    assert_eq!(worker.wait(DEMO_MAX).code(), Some(78));
    let stderr = worker.stderr();
    assert!(stderr.contains("warning: nowhere: the plugin directory cannot be read"), "{stderr}");
    assert!(stderr.contains("error: the demo runs the real plugin 'archive', but its file is in none of"), "{stderr}");
    assert!(stderr.contains("build it with `cargo build`"), "{stderr}");
    assert_eq!(worker.stdout(), "");
}

#[test]
fn settings_that_the_demo_has_of_its_own_are_refused() {
    let mut worker = demo(&["--once", "--amqp-url", "amqp://broker.example"]);
    assert_eq!(worker.wait(DEMO_MAX).code(), Some(2));
    assert!(worker.stderr().contains("it takes no --amqp-url"), "{}", worker.stderr());
    assert_eq!(left_behind(&worker), 0);
}
