//! What the person at the terminal sees: results, sentences, exit statuses.

use std::fs;
use std::process::{Command, Output, Stdio};

use worker_tests::{Broker, WorkerProcess, built};

use crate::stage::{SOON, Stage, package};

/// Runs `worker -c worker.cfg ARGUMENTS…` to its end.
#[track_caller]
fn worker(worker: &mut WorkerProcess, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command: Command = worker.command();
    command.arg("-c").arg(worker.path("worker.cfg")).args(arguments).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Expects this exit status and each of these texts, on either stream.
#[track_caller]
fn check(process: &mut WorkerProcess, arguments: &[&str], status: i32, texts: &[&str]) {
    let (code, stdout, stderr) = worker(process, arguments);
    assert_eq!(code, Some(status), "{arguments:?}\n--- stdout\n{stdout}--- stderr\n{stderr}");
    for text in texts {
        assert!(
            stdout.contains(text) || stderr.contains(text),
            "{text:?} is not said by {arguments:?}\n--- stdout\n{stdout}--- stderr\n{stderr}"
        );
    }
    for secret in ["guest:guest", "guest:wrong"] {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "a password is shown\n{stdout}{stderr}");
    }
}

#[test]
fn send_puts_every_line_on_the_queue_and_names_a_bad_one() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::bare(broker, "send", "concurrency = 1");
    let good = format!("{}\n\n{}\n", package("p1", "done"), package("p2", "done"));
    fs::write(stage.worker.path("good"), &good).unwrap();
    fs::write(stage.worker.path("bad"), format!("{}\n{{}}\n{}\n", package("p3", "done"), package("p4", "done")))
        .unwrap();
    check(&mut stage.worker, &["send", "good"], 0, &["2 notifications are on queue"]);
    assert_eq!(stage.vhost.ready(&stage.queue), Some(2));
    check(&mut stage.worker, &["send", "bad"], 65, &["bad:2: not a notification", "1 notification is on queue"]);
    assert_eq!(stage.vhost.ready(&stage.queue), Some(3));
    check(&mut stage.worker, &["send", "missing"], 65, &["missing: cannot be read"]);
    stage.run_until_empty(&["actor"]);
    assert_eq!(stage.done_by("actor"), ["p1", "p2", "p3"]);
    stage.configure("amqp://guest:guest@127.0.0.1:1/", "");
    check(&mut stage.worker, &["send", "good"], 69, &["127.0.0.1:1", "0 notifications are on queue"]);
}

#[test]
fn clearing_the_queue_is_asked_for_or_said_yes_to() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "clear", "");
    stage.publish([package("p1", "done"), package("p2", "done")]);
    check(&mut stage.worker, &["--clear-queue", "--until-empty", "actor"], 2, &["nothing was deleted", "--yes"]);
    assert_eq!(stage.vhost.ready(&stage.queue), Some(2));
    check(&mut stage.worker, &["--clear-queue", "--yes", "--until-empty", "actor"], 0, &["deleted 2 messages"]);
    assert_eq!(stage.vhost.ready(&stage.queue), Some(0));
    assert!(stage.runs().is_empty(), "what was deleted is not worked on");
}

#[test]
fn check_says_what_is_well_and_what_is_not() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::bare(broker, "check", "");
    let well = ["ok: worker actor can be made", "not there yet, will be made"];
    check(&mut stage.worker, &["check", "actor"], 0, &well);
    assert_eq!(stage.vhost.ready(&stage.queue), None, "it changes nothing");
    stage.configure(stage.vhost.url(), "queue.create = no");
    check(&mut stage.worker, &["check", "actor"], 78, &["queue::missing", "does not exist"]);
    stage.vhost.declare_old_topology(&stage.site, &stage.queue);
    stage.publish([package("p1", "done")]);
    check(&mut stage.worker, &["check", "actor"], 0, &["waiting messages: 1"]);
    assert_eq!(stage.vhost.ready(&stage.queue), Some(1));

    stage.configure(&stage.vhost.url().replace("guest:guest", "guest:wrong"), "");
    check(&mut stage.worker, &["check", "actor"], 77, &["queue::refused", "user, password"]);
    check(&mut stage.worker, &["check", "--offline", "actor"], 0, &["ok: worker actor can be made"]);
    stage.configure("amqp://guest:guest@127.0.0.1:1/", "");
    check(&mut stage.worker, &["check", "actor"], 69, &["queue::unreachable", "127.0.0.1:1"]);
    check(&mut stage.worker, &["check", "--offline", "actr"], 78, &["did you mean", "actor"]);
}

#[test]
fn credentials_that_are_refused_end_the_worker_with_a_sentence() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "refused", "");
    stage.configure(&stage.vhost.url().replace("guest:guest", "guest:wrong"), "");
    check(&mut stage.worker, &["actor"], 77, &["RabbitMQ refuses", "look at user, password"]);
    let nowhere = format!("{}-not-there", stage.vhost.url());
    stage.configure(&nowhere, "");
    check(&mut stage.worker, &["actor"], 77, &["virtual host", "not-there"]);
    let url = stage.with_user("nobody", ["^$", "^$", "^$"]);
    stage.configure(&url, "");
    let (code, _, stderr) = worker(&mut stage.worker, &["actor"]);
    assert_eq!(code, Some(77), "{stderr}");
    assert!(stderr.contains("permissions") && !stderr.contains("secret"), "{stderr}");
}

#[test]
fn until_empty_ends_at_once_on_an_empty_queue() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "empty", "");
    stage.run_until_empty(&["actor"]);
    assert!(stage.runs().is_empty());
}

#[test]
fn an_unknown_worker_is_answered_with_the_nearest_name() {
    let config = format!("[worker]\namqp.url = sqlite:queue.db\nplugin_dir = {}\n", built().plugin_dir.display());
    let mut process = WorkerProcess::with_config(&config);
    check(&mut process, &["actr"], 78, &["'actr'", "did you mean 'actor'?", "installed: "]);
    check(&mut process, &["--until-empty", "actr", "echo"], 0, &["'actr'", "the other workers run without it"]);
}

#[test]
fn a_worker_is_not_mixed_with_a_command() {
    let mut process = WorkerProcess::with_config("");
    check(&mut process, &["echo", "send"], 2, &["is taken for a worker", "for a command"]);
    check(&mut process, &["check", "--until-empty"], 2, &["--until-empty"]);
    let mut process = WorkerProcess::with_config("[worker]\namqp.url = sqlite:queue.db\n");
    check(&mut process, &["--", "send"], 78, &["no worker plugin is called 'send'"]);
    process.start(["--until-empty"]);
    assert_eq!(process.wait(SOON).code(), Some(2), "{}", process.report());
}
