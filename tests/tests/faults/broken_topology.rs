//! What happens to queues and permissions, by somebody's hand.

use std::time::{Duration, Instant};

use lapin::types::{AMQPValue, FieldTable, LongString};
use serde_json::{Value, json};
use worker_tests::{Broker, End, Line, Proxy, Verdict, eventually, kombu};

use crate::cases::{conclude, form};
use crate::scene::{LATER, SOON, Scene, USUAL, usual};

#[test]
fn a_queue_that_is_deleted_is_made_again_and_that_is_said() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "deleted", &USUAL);
    scene.play("");
    scene.publish(50, "before", usual(0));
    let before = scene.judge(form().within, |_| {});
    scene.vhost().delete_queue(&scene.queue);
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || scene.hosts[0].stderr().contains("deleted")), "the host says that it is gone");
    more.expect(eventually(SOON, || scene.sessions(0) == 2), "the host makes it again");
    scene.publish(form().messages.min(300), "after", usual(0));
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    verdict.expect(before.is_good(), "all was well before");
    scene.stop(&mut verdict);
    conclude("F18", &verdict, 0);
}

#[test]
fn a_queue_that_was_made_anew_with_another_type_is_used_as_it_is() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "anew", &USUAL);
    let proxy = Proxy::to(scene.broker_port());
    let url = scene.url_through(proxy.port());
    scene.play_through(&url, "");
    proxy.set(Line::Refuses);
    proxy.cut();
    scene.vhost().delete_queue(&scene.queue);
    scene.vhost().declare_old_topology(&scene.site, &scene.queue);
    proxy.set(Line::Passes);
    scene.publish(form().messages.min(300), "m", usual(5));
    let mut verdict = scene.judge(form().within, |_| {});
    verdict.expect(queue_type(broker, &scene) == "classic", "the queue is still the classic one");
    verdict.expect(scene.sessions(0) == 2, format!("one new session, but there were {}", scene.sessions(0)));
    scene.stop(&mut verdict);
    conclude("F19", &verdict, 0);
}

/// The queue of dead letters and a rung are deleted while the host runs, and the first failures come back.
pub fn nowhere_to_send(broker: &'static Broker, seed: Option<&'static str>, within: Duration) -> Verdict {
    let mut scene = Scene::at(broker, "nowhere", &USUAL);
    scene.seed = seed;
    scene.play("");
    scene.publish(20, "before", usual(0));
    let before = scene.judge(within, |_| {});
    // Letters that lie in a queue go with it: what is dead now is looked at before, and is not expected after.
    let mut more = Verdict::default();
    more.expect(before.is_good(), format!("all is well before: {before}"));
    scene.forget();
    for name in ["dead", "retry.200ms"] {
        scene.vhost().delete_queue(&format!("{}.{name}", scene.queue));
    }
    scene.publish(form().messages.min(300), "m", usual(5));
    let mut verdict = scene.judge(within, |_| {}).and(more);
    scene.stop(&mut verdict);
    verdict
}

#[test]
fn deleted_queues_for_dead_letters_and_retries_are_made_again_and_nothing_is_lost() {
    let Some(broker) = Broker::shared() else { return };
    conclude("F20", &nowhere_to_send(broker, None, form().within), 0);
}

#[test]
fn permissions_that_are_taken_away_are_said_and_nothing_is_acknowledged_meanwhile() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "permissions", &USUAL);
    let vhost = scene.url().rsplit('/').next().unwrap().to_owned();
    let user = format!("u-{vhost}");
    let permit = |configure: &str, write: &str| {
        broker.eval(&format!(
            "rabbit_auth_backend_internal:set_permissions(<<\"{user}\">>, <<\"{vhost}\">>, <<\"{configure}\">>, \
             <<\"{write}\">>, <<\".*\">>, <<\"rig\">>)."
        ));
    };
    broker.eval(&format!("rabbit_auth_backend_internal:add_user(<<\"{user}\">>, <<\"secret\">>, <<\"rig\">>)."));
    permit(".*", ".*");
    let url = scene.url().replace("guest:guest", &format!("{user}:secret"));
    scene.play_through(&url, "");
    let sessions = scene.sessions(0);
    permit("^$", "^$");
    // What a channel may do is asked for once.
    scene.vhost().close_all_connections("permissions have changed");
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || scene.sessions(0) > sessions), "it may still read, and does");
    scene.publish(20, "m", json!({"actor": "witness", "actor2": "witness;fail_times:2", "actor3": "witness;fail"}));
    let said = || scene.hosts[0].stderr().contains("ACCESS_REFUSED") || scene.hosts[0].stderr().contains("may not");
    more.expect(eventually(SOON, said), "the host says what it may not do");
    more.expect(eventually(SOON, || scene.left() == 20), format!("nothing is acknowledged; left: {}", scene.left()));
    permit(".*", ".*");
    scene.vhost().close_all_connections("permissions have changed");
    let mut verdict = scene.judge(LATER.max(form().within), |_| {}).and(more);
    scene.stop(&mut verdict);
    conclude("F21", &verdict, 0);
}

#[test]
fn an_old_queue_filled_by_an_old_publisher_is_worked_off_as_it_is() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::old_at(broker, "legacy", &USUAL);
    let notification = |number: usize| {
        let payload = json!({"id": format!("m{number:05}"), "title": "Straße", "acts": usual(5)});
        json!({"routing_key": "Package", "operation": "changed", "payload": payload})
    };
    let notifications: Vec<Value> = (0..form().messages.min(300)).map(notification).collect();
    kombu::publish(scene.vhost().url(), &scene.site, &notifications);
    // The bytes are the old publisher's: what lies there is what is to be dealt with.
    let messages = scene.vhost().peek(&scene.queue).into_iter().map(|message| {
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        (body["payload"]["id"].as_str().unwrap().to_owned(), message.body)
    });
    let messages: Vec<_> = messages.collect();
    scene.ledger.attempt(&messages);
    scene.ledger.acknowledged(messages.into_iter().map(|(id, _)| id));
    scene.play("");
    let mut verdict = scene.judge(form().within, |_| {});
    let stderr = scene.hosts[0].stderr();
    verdict.expect(!stderr.contains("PRECONDITION_FAILED") && scene.sessions(0) == 1, "no declaration fails");
    verdict.expect(queue_type(broker, &scene) == "classic", "the queue is still the classic one");
    scene.stop(&mut verdict);
    conclude("F22", &verdict, 0);
}

/// The broker's word for the type of the queue: `classic` or `quorum`.
fn queue_type(broker: &Broker, scene: &Scene) -> String {
    let (url, queue) = (scene.url(), &scene.queue);
    let vhost = url.rsplit('/').next().unwrap();
    let answer = broker.eval(&format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)), \
         amqqueue:get_type(Q)."
    ));
    answer.trim_start_matches("rabbit_").trim_end_matches("_queue").to_owned()
}

#[test]
fn a_consumer_that_is_gone_without_a_word_is_noticed_within_a_minute() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "silent", &[("actor", End::Done)]);
    // A queue of ours, so that making it anew is not what the host does.
    let proxy = Proxy::swallowing_cancels(scene.broker_port());
    let url = scene.url_through(proxy.port());
    scene.play_through(&url, "");
    scene.publish(10, "before", json!({"actor": "witness"}));
    let before = scene.judge(SOON, |_| {});
    scene.vhost().delete_queue(&scene.queue);
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("quorum")));
    scene.vhost().declare_queue(&scene.queue, arguments);
    scene.vhost().bind(&scene.queue, &scene.site, "*");
    scene.publish(20, "after", json!({"actor": "witness"}));
    let published = Instant::now();
    // Sixty seconds without anything are what the watchdog waits for; the rest is for looking, and for a busy machine.
    let max = Duration::from_secs(75);
    let is_back = eventually(max, || scene.seen_of("after") > 0);
    let took = published.elapsed().as_secs_f64();
    let mut verdict = scene.judge(SOON, |_| {});
    verdict.expect(before.is_good(), format!("all was well before: {before}"));
    verdict.expect(is_back, format!("it consumes again within {max:?}"));
    verdict.note(format!("consumes again after {took:.0} s"));
    scene.stop(&mut verdict);
    conclude("F30", &verdict, 0);
}
