//! Dead letters that cannot be kept at first: nothing is acknowledged before they are.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use worker_tests::{Broker, eventually};

use crate::stage::{LATER, SOON, Stage, package};

const FAILING: &str = "attempts = 1";

#[test]
fn a_queue_for_dead_letters_that_is_deleted_is_made_again() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "dead-deleted", FAILING);
    stage.worker.start(["actor"]);
    stage.publish([package("first", "fail")]);
    assert!(eventually(LATER, || stage.vhost.ready(&stage.dead_queue()) == Some(1)), "{}", stage.worker.report());
    stage.assert_settled();
    stage.vhost.delete_queue(&stage.dead_queue());
    stage.publish([package("second", "fail"), package("third", "done")]);
    assert!(eventually(LATER, || stage.vhost.ready(&stage.dead_queue()) == Some(1)), "{}", stage.worker.report());
    stage.assert_settled();
    assert!(String::from_utf8_lossy(&stage.dead()[0].body).contains("second"));
    assert_eq!(stage.done_by("actor"), ["third"]);
}

#[test]
fn what_failed_stays_on_its_queue_until_its_dead_letter_is_confirmed() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "not-permitted", FAILING);
    let url = stage.with_user("reader", ["^$", "^$", ".*"]);
    stage.configure(&url, FAILING);
    stage.publish([package("bad", "fail"), package("good", "done")]);
    stage.worker.start(["actor"]);
    stage.worker.wait_for_line("what failed could not be sent on", SOON);
    assert!(eventually(LATER, || stage.done_by("actor") == ["good"]), "{}", stage.worker.report());
    assert!(eventually(SOON, || stage.vhost.unacked(&stage.queue) == 1), "the good one is acknowledged, the bad not");

    // Stopped now, it comes back.
    stage.worker.terminate();
    assert!(stage.worker.wait(LATER).success(), "{}", stage.worker.report());
    assert!(eventually(SOON, || stage.vhost.ready(&stage.queue) == Some(1)));

    stage.worker.start(["actor"]);
    assert!(eventually(SOON, || stage.vhost.unacked(&stage.queue) == 1));
    stage.permit("reader", [".*", ".*", ".*"]);
    assert!(eventually(LATER, || stage.vhost.ready(&stage.dead_queue()) == Some(1)), "{}", stage.worker.report());
    stage.assert_settled();
}

#[test]
fn a_dead_letter_keeps_what_was_published_with_it_but_not_what_would_lose_or_refuse_it() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "properties", FAILING);
    let url = stage.with_user("other", [".*", ".*", ".*"]);
    stage.configure(&url, FAILING);
    let mut headers = FieldTable::default();
    for (key, value) in [("traceparent", "00-1"), ("x-death", "of another"), ("x-first-death-queue", "q"), ("own", "1")]
    {
        headers.insert(key.into(), AMQPValue::LongString(value.into()));
    }
    let properties = BasicProperties::default()
        .with_message_id("m-1".into())
        .with_content_type("application/json".into())
        .with_priority(3)
        .with_expiration("60000".into())
        .with_user_id("guest".into())
        .with_headers(headers);
    stage.vhost.publish_as(&stage.site, "Package", &properties, [package("bad", "fail").to_string()]);

    stage.run_until_empty(&["actor"]);

    let [letter] = &stage.dead()[..] else { panic!("one dead letter\n{}", stage.worker.report()) };
    let properties = &letter.properties;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "m-1");
    assert_eq!(letter.header("x-ckan-worker-id").as_deref(), Some("m-1"));
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!((properties.priority(), properties.delivery_mode()), (&Some(3), &Some(2)));
    assert_eq!(letter.header("traceparent").as_deref(), Some("00-1"));
    assert_eq!(letter.header("own").as_deref(), Some("1"));
    assert_eq!(letter.header("x-first-death-queue"), None);
    assert!(properties.expiration().is_none(), "a dead letter does not expire");
    assert!(properties.user_id().is_none(), "the broker refuses what says to come from another user");
}

#[test]
fn a_dead_letter_fits_into_a_frame_however_much_was_published_with_it() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "frame", FAILING);
    let mut headers = FieldTable::default();
    for number in 0..1038 {
        headers.insert(format!("header-{number}").into(), AMQPValue::LongString("x".repeat(110).into()));
    }
    let properties = BasicProperties::default().with_headers(headers);
    stage.vhost.publish_as(&stage.site, "Package", &properties, [package("bad", "fail").to_string()]);
    stage.run_until_empty(&["actor"]);
    assert_eq!(stage.dead().len(), 1);
}

#[test]
fn what_is_addressed_to_a_worker_that_does_not_run_here_waits_until_one_runs_that_has_it() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "not-loaded", "attempts = 1\nretry.delays = 500ms");
    for (id, only) in [("theirs", "actor2"), ("ours", "actor")] {
        let mut headers = FieldTable::default();
        headers.insert("x-ckan-worker-only".into(), AMQPValue::LongString(only.into()));
        let properties = BasicProperties::default().with_headers(headers);
        stage.vhost.publish_as(&stage.site, "Package", &properties, [package(id, "done").to_string()]);
    }
    stage.worker.start(["actor"]);
    // It goes round: it waits, comes back, and waits again.
    stage.worker.wait_for_line("is for worker \\\"actor2\\\", which does not run here", SOON);
    let waits = || stage.worker.stderr().matches("which does not run here").count();
    assert!(eventually(SOON, || waits() >= 3), "{}", stage.worker.report());
    assert_eq!(stage.done_by("actor"), ["ours"]);
    stage.worker.terminate();
    assert!(stage.worker.wait(SOON).success());

    stage.worker.start(["actor", "actor2"]);
    assert!(eventually(SOON, || stage.done_by("actor2") == ["theirs"]), "{}", stage.worker.report());
    stage.worker.terminate();
    assert!(stage.worker.wait(SOON).success());
    assert_eq!(stage.done_by("actor"), ["ours"], "and for nobody else");
    assert!(stage.dead().is_empty());
}
