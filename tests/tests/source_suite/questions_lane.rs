//! The questions about the lane beside a queue, whose messages come when nothing else waits.

use std::time::SystemTime;

use ckan_worker::delivery::{Delivery, Fate, Letter, Past};
use ckan_worker::source::{self, Message};

use crate::lab::{FIRST_RUNG, Lab, bodies, message, sorted};

/// Puts messages into the lane, each for one worker.
async fn into_lane(lab: &Lab<'_>, lane: impl IntoIterator<Item = &'static str>) {
    let publisher = source::open_lane_publisher(&lab.settings).unwrap();
    for body in lane {
        let (id, only) = (Some(format!("m-{body}")), Some("archive".to_owned()));
        publisher.publish(Message { id, only, ..message(body.as_bytes()) }).await.unwrap();
    }
    publisher.close().await;
}

pub async fn what_is_in_the_lane_comes_after_what_is_in_the_queue(lab: &Lab<'_>) {
    into_lane(lab, ["1", "2", "3", "4"]).await;
    lab.publish(["live-1", "live-2"]).await;
    let mut consumer = lab.open(8);
    // A broker is there first for the queue itself.
    consumer.depth_becomes(2).await;
    let first = consumer.take(6).await;
    assert_eq!(bodies(&first), ["live-1", "live-2", "1", "2", "3", "4"]);
    consumer.settle(first);
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn what_is_in_the_lane_is_a_fresh_message_for_its_worker_alone(lab: &Lab<'_>) {
    into_lane(lab, ["1"]).await;
    let mut consumer = lab.open(4);
    let taken = consumer.take(1).await;
    let past = taken[0].past.clone().unwrap();
    assert_eq!(*past, Past { first_seen: past.first_seen, ..Past::none("archive", SystemTime::now()) });
    assert_eq!((taken[0].id.to_string().as_str(), taken[0].redelivered), ("m-1", false));
    consumer.close().await;
}

pub async fn half_of_what_is_in_hand_is_the_lanes_at_most(lab: &Lab<'_>) {
    into_lane(lab, ["1", "2", "3", "4", "5", "6"]).await;
    let mut consumer = lab.open(4);
    let of_lane = consumer.take(2).await;
    lab.publish(["live-1", "live-2"]).await;
    let live = consumer.take(2).await;
    assert_eq!(sorted(&live), ["live-1", "live-2"]);
    assert_eq!(consumer.source.depth().await.unwrap(), 8);
    consumer.settle(of_lane.into_iter().chain(live));
    consumer.work_off(4).await;
    consumer.close().await;
}

pub async fn what_is_given_back_to_the_lane_comes_again(lab: &Lab<'_>) {
    into_lane(lab, ["1", "2"]).await;
    let mut consumer = lab.open(4);
    let taken = consumer.take(2).await;
    consumer.release(taken);
    let again = consumer.take(2).await;
    assert_eq!(sorted(&again), ["1", "2"]);
    consumer.source.pause();
    consumer.source.resume();
    consumer.settle(again);
    consumer.depth_becomes(0).await;
    consumer.source.stop();
    consumer.close().await;
}

pub async fn what_fails_in_the_lane_comes_again_on_the_queue(lab: &Lab<'_>) {
    into_lane(lab, ["1"]).await;
    let mut consumer = lab.open(4);
    let taken = consumer.take(1).await;
    consumer.source.letters().keep(&failed(&taken[0])).await.unwrap();
    consumer.settle(taken);
    let again = consumer.take(1).await;
    let past = again[0].past.as_ref().unwrap();
    assert_eq!((&*past.worker, past.attempts, past.hops), ("archive", 1, 1));
    let lane = source::look(&lab.settings.lane()).await.unwrap();
    assert_eq!((lane, bodies(&again), again[0].id.to_string().as_str()), (Some(0), vec!["1".to_owned()], "m-1"));
    consumer.settle(again);
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn a_lane_is_only_made_by_who_puts_something_into_it(lab: &Lab<'_>) {
    lab.publish(["1"]).await;
    let mut consumer = lab.open(4);
    consumer.work_off(1).await;
    consumer.close().await;
    let before = source::status(&lab.settings).await.unwrap().backfill.unwrap_or_default();
    assert_eq!(before, 0);
    into_lane(lab, ["2", "3"]).await;
    assert_eq!(source::status(&lab.settings).await.unwrap().backfill, Some(2));
    assert_eq!(source::purge(&lab.settings.lane()).await.unwrap(), 2);
    assert_eq!(source::status(&lab.settings).await.unwrap().backfill, Some(0));
}

fn failed(delivery: &Delivery) -> Letter {
    Letter {
        delivery: delivery.id.clone(),
        worker: Some("archive".into()),
        fate: Fate::Retry(FIRST_RUNG),
        error: "503".to_owned(),
        attempts: 1,
        hops: 1,
        first_seen: SystemTime::now(),
        held_since: None,
        body: delivery.body.clone(),
        origin: delivery.origin.clone(),
    }
}
