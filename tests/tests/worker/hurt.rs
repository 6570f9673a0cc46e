//! Runs that fail, and what becomes of them and of those beside them.

use serde_json::json;
use worker_tests::{Broker, Consumed, Message, eventually};

use crate::stage::{LATER, SOON, Stage, package, package_for};

/// The attempts that `worker` made on `id`.
fn attempts(runs: &[Consumed], worker: &str, id: &str) -> Vec<u32> {
    let those = runs.iter().filter(|run| run.worker == worker && run.id.as_deref() == Some(id));
    those.map(|run| run.attempt).collect()
}

/// A dead letter in words: which worker gave up on which dataset, why, and after how many attempts.
fn words(letter: &Message) -> String {
    let body: serde_json::Value = serde_json::from_slice(&letter.body).unwrap();
    let header = |name: &str| letter.header(&format!("x-ckan-worker-{name}")).unwrap_or_default();
    let id = body["payload"]["id"].as_str().unwrap();
    format!("{} {id} {} {}: {}", header("only"), header("reason"), header("attempt"), header("error"))
}

fn sorted_words(letters: &[Message]) -> Vec<String> {
    let mut words: Vec<String> = letters.iter().map(words).collect();
    words.sort();
    words
}

#[test]
fn a_failing_run_is_tried_as_often_as_is_allowed_and_leaves_its_siblings_alone() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "failing", "attempts = 3\nretry.delays = 100ms, 200ms");
    let acts = ["fail", "permanent", "panic", "fail_times:2", "skip", "done"];
    let bodies: Vec<_> = acts.iter().map(|act| package_for(act, &json!({"actor": act}))).collect();
    stage.publish(bodies.clone());

    stage.worker.start(["actor", "actor2"]);
    let is_through = || {
        stage.vhost.ready(&stage.dead_queue()) == Some(3)
            && stage.done_by("actor").iter().any(|id| id == "fail_times:2")
    };
    assert!(eventually(LATER, is_through), "{}", stage.worker.report());
    stage.worker.terminate();
    assert!(stage.worker.wait(SOON).success());
    stage.assert_settled();

    let runs = stage.runs();
    let tried: Vec<_> = acts.iter().map(|act| attempts(&runs, "actor", act).len()).collect();
    assert_eq!(tried, [3, 1, 3, 3, 1, 1]);
    assert_eq!(attempts(&runs, "actor", "fail"), [1, 2, 3]);
    for act in acts {
        assert_eq!(attempts(&runs, "actor2", act), [1], "the sibling works once on {act}");
    }
    let letters = stage.dead();
    let expected = [
        "actor fail attempts_exhausted 3: told to fail",
        "actor panic panicked 3: ",
        "actor permanent permanent 1: told to fail for good",
    ];
    for (words, expected) in sorted_words(&letters).iter().zip(expected) {
        assert!(words.starts_with(expected), "{words}");
    }
    assert_eq!(letters.len(), expected.len());
    for letter in &letters {
        assert!(bodies.iter().any(|body| body.to_string().as_bytes() == letter.body), "the body as it was published");
        let header = |name: &str| letter.header(&format!("x-ckan-worker-{name}")).unwrap_or_default();
        assert_eq!(header("origin-exchange"), stage.site);
        assert_eq!(header("origin-routing-key"), "Package");
        assert_eq!(header("origin-queue"), stage.queue);
        assert!(!header("id").is_empty() && !header("first-seen").is_empty());
        assert_eq!(letter.properties.delivery_mode(), &Some(2));
    }
}

#[test]
fn a_hanging_run_is_given_up_and_everything_else_goes_on() {
    let Some(broker) = Broker::shared() else { return };
    let settings = "concurrency = 3\ndeadline = 1s\ngrace = 1s\nattempts = 1";
    let mut stage = Stage::old(broker, "hanging", settings);
    stage.publish([
        package_for("hangs", &json!({"actor": "hang"})),
        package_for("gives-up", &json!({"actor": "hang_until_cancelled"})),
        package("hangs", "done"),
        package("gives-up", "done"),
        package_for("hangs-last", &json!({"actor2": "hang"})),
        package("other", "done"),
        package("hangs-last", "done"),
    ]);

    stage.run_until_empty(&["actor", "actor2"]);

    let mut done = [stage.done_by("actor"), stage.done_by("actor2")];
    for ids in &mut done {
        ids.sort();
    }
    assert_eq!(done[0], ["gives-up", "hangs", "hangs-last", "hangs-last", "other"]);
    assert_eq!(done[1], ["gives-up", "gives-up", "hangs", "hangs", "hangs-last", "other"]);
    let words = sorted_words(&stage.dead());
    assert_eq!(words.len(), 3, "{words:?}");
    let expected = ["actor gives-up timed_out 1", "actor hangs timed_out 1", "actor2 hangs-last timed_out 1"];
    for (words, expected) in words.iter().zip(expected) {
        assert!(words.starts_with(expected), "{words}");
    }
}

#[test]
fn a_host_whose_threads_all_hang_ends_and_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let settings = "concurrency = 1\nqueue.prefetch = 4\ndeadline = 1s\ngrace = 1s\nattempts = 1\ndrain = 1s";
    let mut stage = Stage::old(broker, "stuck", settings);
    stage.publish([package("hangs", "hang"), package("waits", "sleep_ms:50")]);
    stage.worker.start(["actor"]);
    let status = stage.worker.wait(SOON);
    assert_eq!(status.code(), Some(69), "{}", stage.worker.report());
    assert!(stage.worker.stderr().contains("cannot be stopped"), "{}", stage.worker.report());
    assert_eq!(sorted_words(&stage.dead()).len(), 1);
    // The one that waited was either done or has come back.
    stage.run_until_empty(&["actor"]);
    assert!(stage.done_by("actor").contains(&"waits".to_owned()));
}

#[test]
fn a_panic_is_one_dead_letter_and_the_same_process_goes_on() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "panic", "attempts = 1");
    stage.worker.start(["actor", "actor2"]);
    stage.publish([package_for("bad", &json!({"actor": "panic"})), package("bad", "done"), package("good", "done")]);
    assert!(worker_tests::eventually(LATER, || stage.done_by("actor2").len() == 3), "{}", stage.worker.report());
    assert!(stage.worker.is_running());
    stage.worker.terminate();
    assert!(stage.worker.wait(SOON).success(), "{}", stage.worker.report());
    let words = sorted_words(&stage.dead());
    assert_eq!(words.len(), 1, "{words:?}");
    assert!(words[0].starts_with("actor bad panicked 1: ") && words[0].contains("told to panic"), "{words:?}");
    stage.assert_settled();
}
