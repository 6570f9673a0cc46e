//! The questions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use ckan_worker::delivery::{DeadReason, Delivery, Fate, Letter, Past};
use ckan_worker::source;
use futures_util::FutureExt as _;
use tokio::time::timeout;

use crate::lab::{FIRST_RUNG, Lab, SECOND_RUNG, SOON, bodies, message, sorted};

pub async fn what_was_published_is_delivered_byte_for_byte_and_in_order(lab: &Lab<'_>) {
    let large = vec![b'x'; 3 << 20];
    let published: [&[u8]; 6] =
        [b"{\"a\": 1.0e3}", b"", b"\xff\0\xfe not text", "Straße\r\n".as_bytes(), &large, b"last"];
    lab.publish(published).await;
    let mut consumer = lab.open(10);
    let taken = consumer.take(published.len()).await;
    for (delivery, body) in taken.iter().zip(published) {
        assert!(delivery.body == body, "{:?}", delivery.id);
        assert!(!delivery.redelivered, "a fresh one is not marked");
        assert_eq!(delivery.past, None);
    }
    let names: BTreeSet<_> = taken.iter().map(|delivery| delivery.id.to_string()).collect();
    assert_eq!(names.len(), published.len(), "each has a name of its own");
    consumer.close().await;
}

pub async fn what_is_settled_does_not_come_again(lab: &Lab<'_>) {
    lab.publish(["1", "2", "3"]).await;
    let mut consumer = lab.open(10);
    let taken = consumer.take(3).await;
    consumer.settle(taken);
    consumer.depth_becomes(0).await;
    consumer.close().await;
    lab.publish(["4"]).await;
    let mut consumer = lab.open(10);
    let taken = consumer.take(1).await;
    assert_eq!(bodies(&taken), ["4"]);
    assert_eq!(consumer.source.depth().await.unwrap(), 1);
    consumer.close().await;
}

pub async fn what_is_settled_out_of_order_does_not_come_again(lab: &Lab<'_>) {
    lab.publish(["0", "1", "2", "3", "4", "5"]).await;
    let mut consumer = lab.open(6);
    let (odd, even) =
        consumer.take(6).await.into_iter().partition::<Vec<Delivery>, _>(|delivery| delivery.body[0] % 2 == 1);
    consumer.settle(odd.into_iter().rev());
    consumer.close().await;
    drop(even);
    let mut consumer = lab.open(6);
    let even = consumer.take(3).await;
    assert_eq!(sorted(&even), ["0", "2", "4"]);
    consumer.settle(even.into_iter().rev());
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn what_is_released_comes_again(lab: &Lab<'_>) {
    lab.publish(["1", "2", "3"]).await;
    let mut consumer = lab.open(3);
    let mut taken = consumer.take(3).await;
    let kept = taken.remove(1);
    consumer.release(taken);
    let again = consumer.take(2).await;
    assert_eq!(sorted(&again), ["1", "3"]);
    assert!(again.iter().all(|delivery| delivery.redelivered));
    consumer.settle(again.into_iter().chain([kept]));
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn what_is_neither_comes_again_and_is_marked_so(lab: &Lab<'_>) {
    lab.publish(["1", "2", "3"]).await;
    let mut consumer = lab.open(10);
    drop(consumer.take(3).await);
    consumer.close().await;
    let mut consumer = lab.open(10);
    let again = consumer.take(3).await;
    assert_eq!(sorted(&again), ["1", "2", "3"]);
    assert!(again.iter().all(|delivery| delivery.redelivered));
    consumer.close().await;
}

pub async fn what_a_consumer_that_was_dropped_had_in_hand_comes_again(lab: &Lab<'_>) {
    lab.publish(["1", "2"]).await;
    let mut consumer = lab.open(10);
    drop(consumer.take(2).await);
    drop(consumer);
    let mut consumer = lab.open(10);
    assert_eq!(sorted(&consumer.take(2).await), ["1", "2"]);
    consumer.close().await;
}

pub async fn no_more_is_handed_out_than_may_be_in_hand(lab: &Lab<'_>) {
    lab.publish((10..22).map(|number| number.to_string())).await;
    let mut first = lab.open(5);
    let firsts = first.take(5).await;
    // Whatever the first had too much would be missing here.
    let mut second = lab.open(7);
    let seconds = second.take(7).await;
    assert_eq!(sorted(&firsts), ["10", "11", "12", "13", "14"]);
    assert_eq!(sorted(&seconds), ["15", "16", "17", "18", "19", "20", "21"]);
    lab.publish(["22", "23", "24"]).await;
    let [one, two, ..] = <[Delivery; 5]>::try_from(firsts).unwrap();
    first.settle([one, two]);
    assert_eq!(sorted(&first.take(2).await).len(), 2);
    second.close().await;
    first.close().await;
}

pub async fn consumers_share_the_work_without_doing_anything_twice(lab: &Lab<'_>) {
    let published: BTreeSet<String> = (0..300).map(|number| format!("{number:03}")).collect();
    lab.publish(&published).await;
    let mut consumers = [lab.open(7), lab.open(7), lab.open(7)];
    let mut worked: Vec<String> = Vec::new();
    while worked.len() < published.len() {
        for consumer in &mut consumers {
            let room = consumer.room();
            let Ok(batch) = timeout(Duration::from_millis(20), consumer.source.next(room)).await else { continue };
            let batch = batch.unwrap();
            consumer.note(&batch);
            worked.extend(bodies(&batch));
            consumer.settle(batch);
        }
    }
    worked.sort();
    assert_eq!(worked, Vec::from_iter(published));
    for mut consumer in consumers {
        consumer.depth_becomes(0).await;
        consumer.close().await;
    }
}

pub async fn a_call_that_is_dropped_loses_nothing_and_brings_nothing_twice(lab: &Lab<'_>) {
    let published: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let way_in = lab.publisher();
    let mut consumer = lab.open(200);
    let mut taken = Vec::new();
    for (index, body) in published.iter().enumerate() {
        way_in.publish(message(body.as_bytes())).await.unwrap();
        for _ in 0..3 {
            let room = consumer.room();
            let answer = match index % 2 {
                0 => consumer.source.next(room).now_or_never(),
                _ => timeout(Duration::from_micros(300), consumer.source.next(room)).await.ok(),
            };
            if let Some(batch) = answer {
                let batch = batch.unwrap();
                consumer.note(&batch);
                taken.extend(batch);
            }
        }
    }
    let missing = published.len() - taken.len();
    taken.extend(consumer.take(missing).await);
    assert_eq!(bodies(&taken), published);
    consumer.settle(taken);
    consumer.depth_becomes(0).await;
    way_in.close().await;
    consumer.close().await;
}

pub async fn the_depth_counts_what_waits_and_what_is_handed_out(lab: &Lab<'_>) {
    lab.publish(["1", "2", "3", "4", "5"]).await;
    let mut consumer = lab.open(3);
    consumer.depth_becomes(5).await;
    let mut taken = consumer.take(3).await;
    consumer.depth_becomes(5).await;
    consumer.settle([taken.remove(0)]);
    consumer.depth_becomes(4).await;
    consumer.release(taken);
    consumer.depth_becomes(4).await;
    consumer.close().await;
}

pub async fn a_queue_with_a_message_in_it_is_never_said_to_be_empty(lab: &Lab<'_>) {
    for _ in 0..20 {
        lab.publish(["1"]).await;
        let mut consumer = lab.open(3);
        for _ in 0..5 {
            assert_ne!(consumer.source.depth().await.unwrap(), 0);
        }
        let taken = consumer.take(1).await;
        assert_ne!(consumer.source.depth().await.unwrap(), 0);
        consumer.settle(taken);
        consumer.depth_becomes(0).await;
        consumer.close().await;
    }
}

pub async fn a_receipt_of_an_earlier_session_does_no_harm(lab: &Lab<'_>) {
    lab.publish(["1", "2"]).await;
    let mut consumer = lab.open(2);
    let earlier = consumer.take(2).await;
    let mut consumer = lab.interrupt(consumer).await;
    let again = consumer.take(2).await;
    assert_eq!(sorted(&again), ["1", "2"]);
    assert!(again.iter().all(|delivery| delivery.redelivered));
    let [one, two] = <[Delivery; 2]>::try_from(earlier).unwrap();
    consumer.source.settle(vec![one.receipt]);
    consumer.source.release(vec![two.receipt]);
    assert_eq!(consumer.source.depth().await.unwrap(), 2, "both are still in hand");
    consumer.settle(again);
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

/// What is to be kept of a delivery.
fn dead(delivery: &Delivery, worker: Option<&str>, error: &str) -> Letter {
    Letter {
        delivery: delivery.id.clone(),
        worker: worker.map(Into::into),
        fate: Fate::Dead(if worker.is_some() { DeadReason::AttemptsExhausted } else { DeadReason::Malformed }),
        error: error.to_owned(),
        attempts: 3,
        hops: 1,
        first_seen: SystemTime::now(),
        held_since: None,
        body: delivery.body.clone(),
        origin: delivery.origin.clone(),
    }
}

pub async fn a_dead_letter_is_kept_with_all_that_is_known_and_the_body_byte_for_byte(lab: &Lab<'_>) {
    let bodies: [&[u8]; 2] = [b"\xff\0 not a notification", "{\"title\": \"Straße\"}\n".as_bytes()];
    lab.publish(bodies).await;
    let mut consumer = lab.open(2);
    let taken = consumer.take(2).await;
    let letters = consumer.source.letters();
    letters.keep(&dead(&taken[0], None, "the body is no JSON")).await.unwrap();
    letters.keep(&dead(&taken[1], Some("archive"), "503: spät, später\nam spätesten")).await.unwrap();
    let kept = lab.letters();
    let expected = [
        (None, "malformed", "the body is no JSON"),
        (Some("archive"), "attempts_exhausted", "503: spät, später\nam spätesten"),
    ];
    assert_eq!(kept.len(), expected.len());
    for (index, (letter, (worker, reason, error))) in kept.iter().zip(expected).enumerate() {
        assert_eq!((letter.worker.as_deref(), letter.reason.as_str(), letter.error.as_str()), (worker, reason, error));
        assert_eq!((letter.attempts.as_str(), &letter.delivery), ("3", &taken[index].id.to_string()));
        assert_eq!(letter.body, bodies[index]);
    }
    consumer.settle(taken);
    consumer.close().await;
}

pub async fn a_very_long_error_does_no_harm(lab: &Lab<'_>) {
    lab.publish(["1"]).await;
    let mut consumer = lab.open(2);
    let taken = consumer.take(1).await;
    let error = "xü".repeat(100_000);
    let letters = consumer.source.letters();
    letters.keep(&dead(&taken[0], Some("archive"), &error)).await.unwrap();
    letters.keep(&dead(&taken[0], Some("qa"), "short")).await.unwrap();
    let kept = lab.letters();
    assert!(error.starts_with(&kept[0].error) && kept[0].error.len() > 1000, "{} bytes", kept[0].error.len());
    assert_eq!((kept[0].body.as_slice(), kept[1].error.as_str()), (&b"1"[..], "short"));
    lab.publish(["2"]).await;
    let next = consumer.take(1).await;
    assert_eq!((bodies(&next), next[0].redelivered), (vec!["2".to_owned()], false));
    consumer.settle(taken.into_iter().chain(next));
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

/// What is to be sent on of a delivery, to come again.
fn failed(delivery: &Delivery, worker: &str, delay: Duration) -> Letter {
    Letter { fate: Fate::Retry(delay), hops: 2, ..dead(delivery, Some(worker), "503, come again later") }
}

/// A whole number of seconds, for that is what a broker keeps of a time.
fn seconds_after_1970(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub async fn what_failed_comes_again_after_its_delay_for_its_worker_alone(lab: &Lab<'_>) {
    let bodies: [&[u8]; 2] = [b"\xff\0 not a notification", "{\"title\": \"Straße\"}\n".as_bytes()];
    lab.publish(bodies).await;
    let mut consumer = lab.open(4);
    let taken = consumer.take(2).await;
    let letters = consumer.source.letters();
    let (first_seen, held_since) = (seconds_after_1970(1_700_000_000), seconds_after_1970(1_700_000_500));
    let one = Letter { attempts: 7, hops: 9, first_seen, ..failed(&taken[0], "archive", FIRST_RUNG) };
    let held_since = Some(held_since);
    let other = Letter { attempts: 0, hops: 1, first_seen, held_since, ..failed(&taken[1], "qa", FIRST_RUNG) };
    letters.keep(&one).await.unwrap();
    letters.keep(&other).await.unwrap();
    let names: Vec<_> = taken.iter().map(|delivery| delivery.id.clone()).collect();
    consumer.settle(taken);
    let again = consumer.take(2).await;
    let past = |worker: &str, attempts, hops, held_since| {
        Some(Box::new(Past { worker: worker.into(), attempts, hops, first_seen, held_since }))
    };
    let expected = [past("archive", 7, 9, None), past("qa", 0, 1, held_since)];
    for (index, delivery) in again.iter().enumerate() {
        assert_eq!(delivery.past, expected[index]);
        assert_eq!((delivery.id.text(), &delivery.body[..]), (names[index].text(), bodies[index]));
        assert!(!delivery.redelivered, "a copy is handed out for the first time");
    }
    assert_eq!(lab.letters(), []);
    consumer.settle(again);
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn what_failed_does_not_come_before_its_delay(lab: &Lab<'_>) {
    lab.publish(["late", "soon", "at once"]).await;
    let mut consumer = lab.open(3);
    let taken = consumer.take(3).await;
    let letters = consumer.source.letters();
    let began = Instant::now();
    letters.keep(&failed(&taken[0], "archive", SECOND_RUNG)).await.unwrap();
    letters.keep(&failed(&taken[1], "archive", FIRST_RUNG)).await.unwrap();
    consumer.settle(taken);
    consumer.depth_becomes(0).await;
    for (body, delay) in [("soon", FIRST_RUNG), ("late", SECOND_RUNG)] {
        let again = consumer.take(1).await;
        assert_eq!(bodies(&again), [body], "what waits for long is in nobody's way");
        assert!(began.elapsed() >= delay, "{body} came after {:?}", began.elapsed());
        consumer.settle(again);
    }
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn what_waits_survives_its_source(lab: &Lab<'_>) {
    lab.publish(["1"]).await;
    let mut consumer = lab.open(1);
    let taken = consumer.take(1).await;
    consumer.source.letters().keep(&failed(&taken[0], "archive", SECOND_RUNG)).await.unwrap();
    consumer.settle(taken);
    consumer.depth_becomes(0).await;
    consumer.close().await;
    let mut consumer = lab.open(1);
    let again = consumer.take(1).await;
    assert_eq!(again[0].past.as_ref().map(|past| &*past.worker), Some("archive"));
    consumer.settle(again);
    consumer.close().await;
}

pub async fn what_is_given_back_by_a_pause_comes_after_it(lab: &Lab<'_>) {
    lab.publish((10..20).map(|number| number.to_string())).await;
    let mut consumer = lab.open(5);
    for _ in 0..10 {
        // Whether something has arrived by now or not: it is not lost, and no more is in hand than may be.
        let arrived = consumer.source.next(5).now_or_never();
        consumer.source.pause();
        consumer.source.resume();
        if let Some(batch) = arrived {
            consumer.source.release(batch.unwrap().into_iter().map(|delivery| delivery.receipt).collect());
        }
    }
    let mut worked = Vec::new();
    while worked.len() < 10 {
        let room = consumer.room();
        let batch = timeout(SOON, consumer.source.next(room)).await.expect("all of it comes").unwrap();
        consumer.note(&batch);
        worked.extend(bodies(&batch));
        consumer.settle(batch);
    }
    worked.sort();
    assert_eq!(worked, (10..20).map(|number| number.to_string()).collect::<Vec<_>>());
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn looking_and_clearing_count_what_waits(lab: &Lab<'_>) {
    assert_eq!(source::look(&lab.settings).await.unwrap(), None);
    lab.publish(["1", "2", "3"]).await;
    assert_eq!(source::look(&lab.settings).await.unwrap(), Some(3));
    assert_eq!(source::purge(&lab.settings).await.unwrap(), 3);
    assert_eq!(source::look(&lab.settings).await.unwrap(), Some(0));
}
