//! The questions about what waits to be tried again.

use std::time::{Duration, Instant, SystemTime};

use ckan_worker::delivery::{Delivery, Fate, Letter, Past};
use ckan_worker::retry::Ladder;
use ckan_worker::source::Settings;
use futures_util::FutureExt as _;

use crate::lab::{Consumer, Lab, bodies, sorted};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3);

/// The lab of the question with a ladder that a test can wait for.
fn settings(lab: &Lab<'_>) -> Settings {
    let mut settings = lab.settings.clone();
    settings.ladder = Ladder::new([SHORT, LONG]).unwrap();
    settings
}

/// A letter that waits for so long.
pub fn waiting(delivery: &Delivery, delay: Duration) -> Letter {
    let past = delivery.past.as_deref();
    Letter {
        delivery: delivery.id.clone(),
        worker: Some("archive".into()),
        fate: Fate::Retry(delay),
        error: "503: später".to_owned(),
        attempts: past.map_or(0, |past| past.attempts) + 1,
        hops: past.map_or(0, |past| past.hops) + 1,
        first_seen: past.map_or_else(SystemTime::now, |past| past.first_seen),
        held_since: None,
        body: delivery.body.clone(),
        origin: delivery.origin.clone(),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[track_caller]
fn assert_past(delivery: &Delivery, expected: &Past) {
    let past = delivery.past.as_deref().expect("it is addressed to one worker");
    assert_eq!(
        (&past.worker, past.attempts, past.hops, seconds(past.first_seen), past.held_since.map(seconds)),
        (
            &expected.worker,
            expected.attempts,
            expected.hops,
            seconds(expected.first_seen),
            expected.held_since.map(seconds)
        )
    );
}

pub async fn what_waits_comes_again_after_its_delay_and_not_before(lab: &Lab<'_>) {
    let body = b"{\"title\": \"Stra\xc3\x9fe\"}\r\n\xff\0";
    lab.publish([body]).await;
    let mut consumer = Consumer::open(&settings(lab), 5);
    let taken = consumer.take(1).await.remove(0);
    let first_seen = SystemTime::now() - Duration::from_secs(3600);
    let held_since = Some(first_seen + Duration::from_secs(60));
    let delay = Duration::from_millis(1500);
    let letter = Letter { attempts: 2, hops: 4, first_seen, held_since, ..waiting(&taken, delay) };
    let before = Instant::now();
    consumer.source.letters().keep(&letter).await.unwrap();
    let id = taken.id.to_string();
    consumer.settle([taken]);
    let again = consumer.take(1).await.remove(0);
    let waited = before.elapsed();
    assert!(waited >= delay && waited < delay + LONG, "{waited:?}");
    assert_eq!((&again.body[..], again.id.to_string()), (&body[..], id));
    assert_past(&again, &Past { worker: "archive".into(), attempts: 2, hops: 4, first_seen, held_since });
    consumer.settle([again]);
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn what_waits_long_does_not_hold_up_what_waits_shortly(lab: &Lab<'_>) {
    lab.publish(["long", "short"]).await;
    let mut consumer = Consumer::open(&settings(lab), 5);
    let taken = consumer.take(2).await;
    let letters = consumer.source.letters();
    letters.keep(&waiting(&taken[0], LONG)).await.unwrap();
    letters.keep(&waiting(&taken[1], SHORT)).await.unwrap();
    let kept = Instant::now();
    consumer.settle(taken);
    let short = consumer.take(1).await;
    let waited = kept.elapsed();
    assert_eq!(bodies(&short), ["short"]);
    assert!(waited < LONG, "{waited:?}");
    let long = consumer.take(1).await;
    assert_eq!(bodies(&long), ["long"]);
    consumer.settle(short.into_iter().chain(long));
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn what_waits_again_and_again_is_still_known(lab: &Lab<'_>) {
    lab.publish(["1"]).await;
    let mut consumer = Consumer::open(&settings(lab), 5);
    let mut delivery = consumer.take(1).await.remove(0);
    let (id, first_seen) = (delivery.id.to_string(), SystemTime::now());
    for hop in 1..=4 {
        consumer.source.letters().keep(&waiting(&delivery, SHORT / 3)).await.unwrap();
        consumer.settle([delivery]);
        delivery = consumer.take(1).await.remove(0);
        assert_eq!((delivery.id.to_string(), &delivery.body[..]), (id.clone(), &b"1"[..]));
        let expected = Past { worker: "archive".into(), attempts: hop, hops: hop, first_seen, held_since: None };
        // The first letter took the time a moment later.
        let seen = delivery.past.as_ref().unwrap().first_seen;
        assert!(seconds(seen).abs_diff(seconds(first_seen)) <= 1);
        assert_past(&delivery, &Past { first_seen: seen, ..expected });
    }
    consumer.settle([delivery]);
    consumer.depth_becomes(0).await;
    consumer.close().await;
}

pub async fn what_waits_is_not_in_the_way_of_a_pause(lab: &Lab<'_>) {
    lab.publish(["1"]).await;
    let mut consumer = Consumer::open(&settings(lab), 5);
    let taken = consumer.take(1).await;
    consumer.source.pause();
    consumer.source.letters().keep(&waiting(&taken[0], SHORT)).await.unwrap();
    consumer.settle(taken);
    lab.publish(["2"]).await;
    consumer.depth_becomes(2).await;
    assert!(consumer.source.next(5).now_or_never().is_none(), "nothing is taken while it is paused");
    consumer.source.resume();
    let again = consumer.take(2).await;
    assert_eq!(sorted(&again), ["1", "2"]);
    consumer.settle(again);
    consumer.depth_becomes(0).await;
    consumer.close().await;
}
