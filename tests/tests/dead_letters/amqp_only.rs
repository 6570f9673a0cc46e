//! What only a broker can do to dead letters.

use ckan_worker::delivery::DeadReason;
use ckan_worker::source;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use worker_tests::eventually;

use crate::bench::{Bench, SOON, package, runtime};

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[test]
fn dead_letters_can_be_looked_at_more_often_than_the_broker_would_hand_them_out() {
    let Some(bench) = Bench::amqp() else { return };
    let vhost = bench.vhost.as_ref().unwrap();
    // As 4.0 and later do it unless they are told not to.
    let arguments = table([("x-queue-type", text("quorum")), ("x-delivery-limit", AMQPValue::LongLongInt(20))]);
    vhost.declare_queue(&format!("{}.dead", bench.settings.name), arguments);
    bench.bury([("m-1", "archive", DeadReason::Permanent), ("m-2", "qa", DeadReason::TimedOut)]);
    for look in 0..45 {
        let mut listed = bench.listed(&[]);
        listed.sort();
        assert_eq!(listed, ["m-1 archive", "m-2 qa"], "look {look}");
    }
    let letters = bench.json(&["dead", "list"]);
    assert!(letters["letters"].as_array().unwrap().iter().all(|letter| letter["attempts"] == 3), "{letters}");
}

#[test]
fn what_the_broker_set_aside_by_itself_is_shown_and_goes_back_to_all_workers() {
    let Some(mut bench) = Bench::amqp() else { return };
    let (queue, dead) = (bench.settings.name.clone(), format!("{}.dead", bench.settings.name));
    let vhost = bench.vhost.as_ref().unwrap();
    vhost.declare_queue(&dead, table([("x-queue-type", text("quorum"))]));
    let arguments = table([
        ("x-message-ttl", AMQPValue::LongInt(1)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&dead)),
    ]);
    vhost.declare_queue(&vhost.unique("expiring"), arguments);
    vhost.publish("", &vhost.unique("expiring"), [package("p1")]);
    assert!(eventually(SOON, || vhost.ready(&dead) == Some(1)));
    vhost.declare_old_topology(&bench.settings.exchange, &queue);
    let letters = bench.json(&["dead", "list"]);
    let letter = &letters["letters"][0];
    assert_eq!((&letter["reason"], &letter["worker"]), (&"expired".into(), &serde_json::Value::Null), "{letter}");
    assert!(letter["died"].is_string() && letter["entity_id"] == "p1", "{letter}");
    let id = letter["id"].as_str().unwrap();
    assert_eq!(id.len(), 64, "it is called by its content");
    bench.expect(0, &["dead", "retry", "--yes", &id[..10]]);
    bench.worker.start(["actor", "actor2", "--until-empty"]);
    assert!(bench.worker.wait(SOON).success(), "{}", bench.worker.report());
    assert_eq!(bench.runs().len(), 2, "each worker ran\n{}", bench.worker.report());
}

#[test]
fn a_replay_that_dies_between_the_confirm_and_the_end_leaves_both_and_loses_neither() {
    let Some(mut bench) = Bench::amqp() else { return };
    bench.bury([("m-1", "actor", DeadReason::Permanent), ("m-2", "actor", DeadReason::Permanent)]);
    let mut command = bench.worker.command();
    command.arg("-c").arg(bench.worker.path("worker.cfg")).args(["dead", "retry", "--yes"]);
    command.env("CKAN_WORKER_DIE_AT", "replay-confirmed:1");
    bench.worker.spawn(command);
    assert!(!bench.worker.wait(SOON).success());
    let vhost = bench.vhost.as_ref().unwrap();
    let dead = format!("{}.dead", bench.settings.name);
    assert!(eventually(SOON, || vhost.ready(&dead) == Some(2)), "{:?} dead", vhost.ready(&dead));
    assert_eq!(vhost.ready(&bench.settings.name), Some(2));
    // Of the two copies it can be seen that they are the same.
    let copies = bench.take(2);
    let mut ids: Vec<_> = copies.iter().map(|copy| copy.id.to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["m-1", "m-2"]);
}

#[test]
fn a_replay_that_no_queue_takes_leaves_the_letters_where_they_are() {
    let Some(bench) = Bench::amqp() else { return };
    bench.bury([("m-1", "actor", DeadReason::Permanent)]);
    let vhost = bench.vhost.as_ref().unwrap();
    vhost.delete_queue(&bench.settings.name);
    let (_, said) = bench.expect(69, &["dead", "retry", "--yes"]);
    assert!(said.contains("does not take it") && said.contains("put 0 dead letters back"), "{said}");
    assert_eq!(bench.listed(&[]), ["m-1 actor"]);
}

#[test]
fn a_letter_keeps_what_was_published_with_it_when_it_is_put_back() {
    let Some(bench) = Bench::amqp() else { return };
    let vhost = bench.vhost.as_ref().unwrap();
    let dead = format!("{}.dead", bench.settings.name);
    bench.bury([("m-0", "actor", DeadReason::Permanent)]);
    let headers = table([
        ("x-ckan-worker-id", text("m-1")),
        ("x-ckan-worker-only", text("actor")),
        ("x-ckan-worker-attempt", AMQPValue::LongUInt(9)),
        ("x-ckan-worker-hops", AMQPValue::LongUInt(11)),
        ("x-ckan-worker-reason", text("permanent")),
        ("x-ckan-worker-error", text("404")),
        ("x-ckan-worker-replayed", AMQPValue::LongUInt(2)),
        ("own", text("kept")),
    ]);
    let properties =
        BasicProperties::default().with_content_type("application/json".into()).with_priority(3).with_headers(headers);
    vhost.publish_as("", &dead, &properties, [package("p1")]);
    bench.expect(0, &["dead", "retry", "--yes", "m-1"]);
    let [replay] = &vhost.drain(&bench.settings.name)[..] else { panic!("one message") };
    let header = |name: &str| replay.header(&format!("x-ckan-worker-{name}"));
    assert_eq!((header("id").as_deref(), header("only").as_deref()), (Some("m-1"), Some("actor")));
    assert_eq!((header("attempt").as_deref(), header("hops").as_deref()), (Some("0"), Some("11")));
    assert_eq!((header("replayed").as_deref(), header("reason"), header("error")), (Some("3"), None, None));
    assert_eq!(replay.header("own").as_deref(), Some("kept"));
    assert_eq!((replay.properties.priority(), replay.properties.delivery_mode()), (&Some(3), &Some(2)));
    assert_eq!(replay.body, package("p1").as_bytes());
}

#[test]
fn what_is_given_back_to_a_queue_of_dead_letters_of_our_own_making_is_not_thrown_away() {
    let Some(bench) = Bench::amqp() else { return };
    bench.bury([("m-1", "actor", DeadReason::Permanent)]);
    // A broker that takes a limit for what it is not would do so at the first look.
    for look in 0..3 {
        assert_eq!(bench.listed(&[]), ["m-1 actor"], "look {look}");
    }
}

#[test]
fn it_is_no_success_when_the_broker_may_not_have_heard_what_was_removed() {
    let Some(bench) = Bench::amqp() else { return };
    bench.bury([("m-1", "actor", DeadReason::Permanent), ("m-2", "actor", DeadReason::Permanent)]);
    runtime().block_on(async {
        for is_cut in [false, true] {
            let mut graveyard = source::graveyard(&bench.settings).await.unwrap().unwrap();
            let letter = graveyard.next().await.unwrap().unwrap();
            graveyard.remove(vec![letter], &mut 0).await.unwrap();
            if is_cut {
                assert!(bench.vhost.as_ref().unwrap().close_all_connections("a test says so") > 0);
            }
            let closed = graveyard.close().await.map_err(|error| error.to_string());
            assert_eq!(closed.is_err(), is_cut, "{closed:?}");
            assert!(closed.err().is_none_or(|error| error.contains("of the 1 that were put back or removed some may")));
        }
    });
}
