//! Sessions with a broker that come, go, pause, and get stuck.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ckan_worker::delivery::Delivery;
use ckan_worker::source::{self, Source};
use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;
use worker_tests::{Broker, eventually};

use crate::lab::{Consumer, Lab, SOON, bodies, message, runtime, sorted};
use crate::questions_ladder::waiting;

fn unacked_becomes(lab: &Lab<'_>, expected: impl Fn(u32) -> bool) -> bool {
    eventually(SOON, || expected(lab.vhost().unacked(&lab.settings.name)))
}

#[test]
fn a_pause_gives_back_what_was_not_taken_and_outlives_a_lost_session() {
    let Some(lab) = Lab::amqp() else { return };
    runtime().block_on(async {
        lab.publish(["1"]).await;
        let mut consumer = lab.open(10);
        let first = consumer.take(1).await;
        lab.publish(["2", "3"]).await;
        assert!(unacked_becomes(&lab, |unacked| unacked == 3), "they have been handed over, and nobody has taken them");
        consumer.source.pause();
        assert!(unacked_becomes(&lab, |unacked| unacked == 1), "only the one in hand is kept");
        assert!(consumer.source.next(10).now_or_never().is_none());
        // What is in hand can still be settled.
        consumer.settle(first);
        consumer.depth_becomes(2).await;
        assert!(lab.vhost().close_all_connections("a test says so") > 0);
        lab.publish(["4"]).await;
        // The new session answers this, and does not consume.
        let depth = eventually_some(&mut consumer.source, 3).await;
        assert_eq!(depth, 3);
        assert!(unacked_becomes(&lab, |unacked| unacked == 0));
        assert!(consumer.source.next(10).now_or_never().is_none());
        for _ in 0..5 {
            consumer.source.resume();
            consumer.source.pause();
        }
        consumer.source.resume();
        let rest = consumer.take(3).await;
        assert_eq!(sorted(&rest), ["2", "3", "4"]);
        consumer.settle(rest);
        consumer.depth_becomes(0).await;
        consumer.close().await;
    });
}

#[test]
fn what_a_lost_session_handed_over_and_nobody_took_is_handed_out_by_the_next_alone() {
    let Some(lab) = Lab::amqp() else { return };
    runtime().block_on(async {
        lab.publish(["1", "2"]).await;
        let mut consumer = lab.open(10);
        assert!(unacked_becomes(&lab, |unacked| unacked == 2), "they have been handed over, and nobody has taken them");
        assert_eq!(eventually_some(&mut consumer.source, 2).await, 2);
        assert!(lab.vhost().close_all_connections("a test says so") > 0);
        assert_eq!(eventually_some(&mut consumer.source, 2).await, 2);
        let taken = consumer.take(2).await;
        assert_eq!(sorted(&taken), ["1", "2"]);
        assert!(taken.iter().all(|delivery| delivery.redelivered), "those of the lost session are not ours any more");
        consumer.settle(taken);
        consumer.depth_becomes(0).await;
        assert!(consumer.source.next(10).now_or_never().is_none());
        consumer.close().await;
    });
}

/// Waits until there is a session again that answers this depth.
async fn eventually_some(source: &mut Box<dyn Source>, expected: u64) -> u64 {
    let end = Instant::now() + SOON;
    loop {
        match source.depth().await {
            Ok(depth) if depth == expected || Instant::now() > end => return depth,
            _ => assert!(Instant::now() < end, "there is no session"),
        }
    }
}

#[test]
fn large_bodies_are_held_in_smaller_numbers_and_small_ones_in_larger_again() {
    let Some(mut lab) = Lab::amqp() else { return };
    lab.settings.prefetch_bytes = 4 << 20;
    runtime().block_on(async {
        let large = vec![b'x'; 1 << 20];
        lab.publish((0..40).map(|_| &large)).await;
        let mut consumer = lab.open(200);
        assert!(eventually(SOON, || prefetch(&lab) == "64"), "as long as none was seen, a body is taken to be 64 KiB");
        let taken = consumer.take(40).await;
        consumer.settle(taken);
        // From here on it knows.
        assert!(eventually(SOON, || prefetch(&lab) == "4"), "{}", prefetch(&lab));
        lab.publish((0..12).map(|_| &large)).await;
        assert!(unacked_becomes(&lab, |unacked| unacked == 4));
        consumer.work_off(12).await;
        lab.publish((0..200).map(|_| "small")).await;
        consumer.work_off(200).await;
        assert!(eventually(SOON, || prefetch(&lab) == "200"), "{}", prefetch(&lab));
        consumer.close().await;
    });
}

/// How many deliveries the queue's only consumer may hold, in the words of the node.
fn prefetch(lab: &Lab<'_>) -> String {
    of_queue(lab, "case rabbit_amqqueue:consumers(Q) of [C] -> element(4, C); _ -> none end")
}

/// Asks the node about the queue of the lab, as an Erlang expression over `Q`.
fn of_queue(lab: &Lab<'_>, expression: &str) -> String {
    let (vhost, queue) = (lab.vhost().url().rsplit('/').next().unwrap(), &lab.settings.name);
    Broker::shared().unwrap().eval(&format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)), {expression}."
    ))
}

#[test]
fn a_consumer_that_is_silently_gone_is_noticed_within_a_minute() {
    let Some(lab) = Lab::amqp() else { return };
    let queue = lab.settings.name.clone();
    lab.vhost().declare_old_topology(&lab.settings.exchange, &queue);
    runtime().block_on(async {
        let mut consumer = lab.open(5);
        lab.publish(["1"]).await;
        consumer.work_off(1).await;
        // The queue forgets its consumer, and nobody tells the channel.
        let gone = of_queue(
            &lab,
            "[gen_server2:call(amqqueue:get_pid(Q), {basic_cancel, element(1, C), element(2, C), undefined, \
             <<\"rig\">>}) || C <- rabbit_amqqueue:consumers(Q)], rabbit_amqqueue:consumers(Q)",
        );
        assert_eq!(gone, "[]");
        let begun = Instant::now();
        lab.publish(["2"]).await;
        let next = timeout(Duration::from_secs(75), consumer.source.next(5)).await.expect("it is noticed").unwrap();
        let took = begun.elapsed();
        assert_eq!(bodies(&next), ["2"]);
        assert!(took > Duration::from_secs(20) && took < Duration::from_secs(62), "{took:?}");
        consumer.close().await;
    });
}

#[test]
fn while_the_broker_is_short_of_memory_letters_wait_acknowledgements_flow_and_nothing_is_there_twice() {
    let Some(broker) = Broker::private() else { return };
    let lab = Lab::at(broker.vhost("alarm"));
    runtime().block_on(async {
        lab.publish(["1", "2", "3"]).await;
        let mut consumer = lab.open(10);
        let mut taken = consumer.take(3).await;
        let letters = consumer.source.letters();
        let mut keeping = JoinSet::new();
        let mut keep = |delivery: &Delivery| {
            let (letters, letter) = (Arc::clone(&letters), waiting(delivery, Duration::from_millis(100)));
            keeping.spawn(async move { letters.keep(&letter).await });
        };
        broker.ctl(&["set_vm_memory_high_watermark", "0"]);
        // Only who publishes is told.
        assert_eq!(letters.blocked(), None);
        keep(&taken[0]);
        assert!(eventually(SOON, || letters.blocked().is_some_and(|why| why.contains("memory"))));
        keep(&taken[1]);
        // Those that are done are acknowledged all the same.
        consumer.settle([taken.remove(2)]);
        let acked = || lab.vhost().unacked(&lab.settings.name) == 2;
        assert!(eventually(SOON, acked), "{} are not acknowledged", lab.vhost().unacked(&lab.settings.name));
        assert!(keeping.try_join_next().is_none(), "none can be kept now");
        broker.ctl(&["set_vm_memory_high_watermark", "0.4"]);
        while let Some(kept) = timeout(SOON, keeping.join_next()).await.expect("the broker takes them again") {
            kept.unwrap().unwrap();
        }
        assert_eq!(letters.blocked(), None);
        consumer.settle(taken);
        let again = consumer.take(2).await;
        assert_eq!(sorted(&again), ["1", "2"]);
        consumer.settle(again);
        consumer.depth_becomes(0).await;
        consumer.close().await;
    });
}

#[test]
fn a_delivery_that_is_open_for_longer_than_the_broker_allows_comes_again() {
    let Some(broker) = Broker::private() else { return };
    broker.eval(
        "application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 500).",
    );
    let lab = Lab::at(broker.vhost("timeout"));
    runtime().block_on(async {
        lab.publish(["1"]).await;
        let mut consumer = lab.open(2);
        let open = consumer.take(1).await;
        let again = timeout(SOON, consumer.source.next(1)).await.expect("it comes again").unwrap();
        assert_eq!((bodies(&again), again[0].redelivered), (vec!["1".to_owned()], true));
        consumer.source.settle(open.into_iter().map(|delivery| delivery.receipt).collect());
        consumer.settle(again);
        consumer.depth_becomes(0).await;
        consumer.close().await;
    });
}

#[test]
fn dead_letters_that_are_held_for_longer_than_the_broker_allows_are_back_and_the_error_says_so() {
    let Some(broker) = Broker::private() else { return };
    broker.eval(
        "application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 500).",
    );
    let lab = Lab::at(broker.vhost("timeout"));
    let dead = format!("{}.dead", lab.settings.name);
    lab.vhost().declare_queue(&dead, lapin::types::FieldTable::default());
    lab.vhost().publish("", &dead, ["1", "2", "3"]);
    runtime().block_on(async {
        let mut graveyard = source::graveyard(&lab.settings).await.unwrap().unwrap();
        let passed_over = graveyard.next().await.unwrap();
        assert!(passed_over.is_some());
        let meant = graveyard.next().await.unwrap().unwrap();
        assert!(eventually(SOON, || lab.vhost().ready(&dead) == Some(3)), "they are back");
        let error = graveyard.remove(vec![meant], &mut 0).await.unwrap_err().to_string();
        assert!(error.contains("consumer_timeout") && error.contains("--rate"), "{error}");
        assert!(graveyard.close().await.is_err());
    });
    assert_eq!(lab.vhost().ready(&dead), Some(3));
}

#[test]
fn sessions_of_two_sources_do_not_name_two_messages_alike() {
    let Some(lab) = Lab::amqp() else { return };
    runtime().block_on(async {
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..3 {
            lab.publish(["1"]).await;
            let mut consumer: Consumer = lab.open(1);
            let taken = consumer.take(1).await;
            names.insert(taken[0].id.to_string());
            consumer.settle(taken);
            consumer.depth_becomes(0).await;
            consumer.close().await;
        }
        assert_eq!(names.len(), 3, "{names:?}");
        let publisher = lab.publisher();
        publisher.publish(message(b"2")).await.unwrap();
        publisher.close().await;
    });
}
