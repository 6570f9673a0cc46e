//! `worker topology`: shows what a queue needs and how it stands, and changes nothing.

use serde_json::Value;
use worker_tests::{Broker, WorkerProcess};

use crate::stage::{SOON, Stage};

/// Runs `worker topology …` and answers its status and what it printed.
fn topology(worker: &mut WorkerProcess, arguments: &[&str]) -> (i32, String) {
    let before = worker.stdout().len();
    worker.start(["topology"].iter().chain(arguments));
    let status = worker.wait(SOON).code().expect("it was not killed");
    (status, worker.stdout()[before..].to_owned())
}

/// The parts and how they stand, by name, as JSON.
fn standings(stage: &mut Stage<'_>) -> (i32, Vec<(String, String)>) {
    let (status, text) = topology(&mut stage.worker, &["check", "--format", "json"]);
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", stage.worker.report()));
    let word = |part: &Value, key: &str| part[key].as_str().unwrap().to_owned();
    let parts = answer["parts"].as_array().unwrap();
    (status, parts.iter().map(|part| (word(part, "name"), word(part, "standing"))).collect())
}

fn standing_of<'a>(parts: &'a [(String, String)], name: &str) -> &'a str {
    &parts.iter().find(|(part, _)| part == name).unwrap_or_else(|| panic!("{name} is not among {parts:?}")).1
}

#[test]
fn what_is_needed_is_explained_without_a_broker() {
    let text = "[worker]\nckan.site_id = portal\namqp.url = amqp://u:secret@127.0.0.1:9/v\nqueue.routing_key = Package\n\
                retry.delays = 50ms, 1h\n";
    let mut worker = WorkerProcess::with_config(text);
    let (status, explained) = topology(&mut worker, &["explain"]);
    assert_eq!(status, 0, "{}", worker.report());
    for line in [
        "exchange portal",
        "queue portal.workerchain",
        "    x-delivery-limit: 1000",
        "binding portal -> portal.workerchain",
        "    routing key: Package",
        "queue portal.workerchain.retry.50ms",
        "    x-message-ttl: 50",
        "queue portal.workerchain.retry.1h",
        "queue portal.workerchain.dead",
        "queue portal.workerchain.backfill",
        "  made: by `worker backfill`",
    ] {
        assert!(explained.lines().any(|explained| explained == line), "{line:?} in\n{explained}");
    }
    assert!(!explained.contains("secret"));
    let (status, explained) = topology(&mut worker, &["explain", "--format", "json"]);
    let explained: Value = serde_json::from_str(&explained).unwrap();
    assert_eq!((status, explained["parts"].as_array().unwrap().len()), (0, 7));
    assert_eq!(explained["parts"][3]["arguments"]["x-message-ttl"], "50");
    let (status, _) = topology(&mut worker, &["check"]);
    assert_eq!(status, 69, "nobody is there to be asked\n{}", worker.report());
}

#[test]
fn what_is_not_there_yet_is_not_made_by_looking() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::bare(broker, "topology", "retry.delays = 1h");
    let (status, parts) = standings(&mut stage);
    assert_eq!(status, 0, "{}", stage.worker.report());
    assert_eq!(parts.len(), 6);
    assert!(parts.iter().all(|(_, standing)| standing == "to_be_made"), "{parts:?}");
    for queue in ["", ".retry.1h", ".dead", ".unbound"] {
        assert_eq!(stage.vhost.ready(&format!("{}{queue}", stage.queue)), None);
    }

    stage.worker.start(["--until-empty", "actor"]);
    assert!(stage.worker.wait(SOON).success(), "{}", stage.worker.report());
    let (status, parts) = standings(&mut stage);
    assert_eq!(status, 0, "{}", stage.worker.report());
    let queue = stage.queue.clone();
    for (name, standing) in [
        (stage.site.clone(), "there"),
        (queue.clone(), "there"),
        (format!("{} -> {queue}", stage.site), "unseen"),
        (format!("{queue}.retry.1h"), "to_be_made"),
        (format!("{queue}.dead"), "there"),
    ] {
        assert_eq!(standing_of(&parts, &name), standing, "{name}");
    }
}

#[test]
fn what_differs_is_said_in_the_words_of_the_broker_and_left_as_it_is() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "topology-old", "");
    let (status, text) = topology(&mut stage.worker, &["check"]);
    assert_eq!(status, 1, "{}", stage.worker.report());
    let line = text.lines().find(|line| line.starts_with("differs")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(&stage.queue) && line.contains("inequivalent arg"), "{line}");
    assert!(text.lines().any(|line| line == format!("there    exchange {}", stage.site)), "{text}");
    assert_eq!(stage.queue_type(&stage.queue), "classic");
}

#[test]
fn what_is_missing_and_not_to_be_made_is_trouble() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::bare(broker, "topology-off", "queue.create = no");
    let (status, parts) = standings(&mut stage);
    assert_eq!(status, 1, "{}", stage.worker.report());
    assert_eq!(standing_of(&parts, &stage.queue), "missing");
    assert_eq!(standing_of(&parts, &format!("{}.dead", stage.queue)), "to_be_made");
}

#[test]
fn what_may_not_be_asked_is_not_visible() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "topology-blind", "");
    let url = stage.with_user("blind", ["^$", "^$", ".*"]);
    stage.configure(&url, "");
    let (status, parts) = standings(&mut stage);
    assert_eq!(status, 0, "{}", stage.worker.report());
    assert_eq!((standing_of(&parts, &stage.queue), standing_of(&parts, &stage.site)), ("unseen", "unseen"));
}

#[test]
fn a_queue_in_a_file_is_explained_and_looked_at_too() {
    let mut worker = WorkerProcess::with_config("[worker]\namqp.url = sqlite:queue.db\n");
    let (status, text) = topology(&mut worker, &["check"]);
    assert_eq!(status, 0, "{}", worker.report());
    assert!(text.starts_with("not yet  file ") && !worker.path("queue.db").exists(), "{text}");
    std::fs::write(worker.path("queue.db"), "something else").unwrap();
    let (status, text) = topology(&mut worker, &["check"]);
    assert_eq!(status, 1, "{text}");
    let (status, text) = topology(&mut worker, &["explain"]);
    assert!(status == 0 && text.contains("\nrows waiting"), "{text}");
}
