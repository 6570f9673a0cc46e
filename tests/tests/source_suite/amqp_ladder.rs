//! The retry ladder as it stands at a broker.

use std::time::Duration;

use ckan_worker::delivery::{DeadReason, Fate, Letter};
use ckan_worker::retry::Ladder;
use ckan_worker::source::SourceError;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::lab::{Consumer, Lab, SOON, bodies, runtime};
use crate::questions_ladder::waiting;

/// A lab whose ladder has these rungs.
fn lab_with(rungs: &[Duration]) -> Option<Lab<'static>> {
    let mut lab = Lab::amqp()?;
    lab.settings.ladder = Ladder::new(rungs.iter().copied()).unwrap();
    Some(lab)
}

const SHORT: Duration = Duration::from_millis(200);
const HOUR: Duration = Duration::from_secs(3600);

fn rung(lab: &Lab<'_>, name: &str) -> String {
    format!("{}.retry.{name}", lab.settings.name)
}

fn table<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[test]
fn a_rung_is_made_when_it_is_first_needed_and_each_letter_waits_as_long_as_it_is_to() {
    let Some(lab) = lab_with(&[SHORT, HOUR]) else { return };
    runtime().block_on(async {
        lab.publish(["1"]).await;
        let mut consumer = lab.open(2);
        let taken = consumer.take(1).await;
        assert_eq!((lab.vhost().ready(&rung(&lab, "1h")), lab.vhost().ready(&rung(&lab, "200ms"))), (None, None));
        let letters = consumer.source.letters();
        letters.keep(&waiting(&taken[0], Duration::from_secs(1800))).await.unwrap();
        letters.keep(&waiting(&taken[0], HOUR * 7)).await.unwrap();
        assert_eq!((lab.vhost().ready(&rung(&lab, "1h")), lab.vhost().ready(&rung(&lab, "200ms"))), (Some(2), None));
        consumer.close().await;
    });
    let waiting = lab.vhost().drain(&rung(&lab, "1h"));
    let expirations: Vec<_> =
        waiting.iter().map(|message| message.properties.expiration().as_ref().unwrap().to_string()).collect();
    assert_eq!(expirations, ["1800000", "3600000"]);
    assert_eq!(waiting[0].header("x-ckan-worker-attempt").as_deref(), Some("1"));
    assert_eq!(waiting[0].header("x-ckan-worker-only").as_deref(), Some("archive"));
    assert_eq!(waiting[0].header("x-ckan-worker-reason"), None);
    assert_eq!(waiting[0].properties.delivery_mode(), &Some(2));
}

#[test]
fn a_rung_or_a_dead_queue_that_is_deleted_is_made_again_without_losing_a_letter() {
    let Some(lab) = lab_with(&[SHORT]) else { return };
    runtime().block_on(async {
        lab.publish(["1"]).await;
        let mut consumer = lab.open(2);
        let taken = consumer.take(1).await;
        let letters = consumer.source.letters();
        let dead = Letter { fate: Fate::Dead(DeadReason::Permanent), ..waiting(&taken[0], SHORT) };
        letters.keep(&dead).await.unwrap();
        letters.keep(&waiting(&taken[0], SHORT)).await.unwrap();
        let again = consumer.take(1).await;
        consumer.settle(again);
        lab.vhost().delete_queue(&rung(&lab, "200ms"));
        lab.vhost().delete_queue(&format!("{}.dead", lab.settings.name));
        letters.keep(&dead).await.unwrap();
        letters.keep(&waiting(&taken[0], SHORT)).await.unwrap();
        let again = consumer.take(1).await;
        assert_eq!(bodies(&again), ["1"]);
        consumer.settle(again.into_iter().chain(taken));
        consumer.depth_becomes(0).await;
        consumer.close().await;
    });
    assert_eq!(lab.letters().len(), 1);
}

#[test]
fn a_rung_that_exists_is_used_as_it_is() {
    let Some(lab) = lab_with(&[SHORT]) else { return };
    let arguments = table([
        ("x-message-ttl", AMQPValue::LongInt(100)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&lab.settings.name)),
    ]);
    lab.vhost().declare_queue(&rung(&lab, "200ms"), arguments);
    runtime().block_on(async {
        lab.publish(["1"]).await;
        let mut consumer = lab.open(2);
        let taken = consumer.take(1).await;
        consumer.source.letters().keep(&waiting(&taken[0], SHORT)).await.unwrap();
        let again = consumer.take(1).await;
        assert_eq!(again[0].past.as_ref().unwrap().attempts, 1);
        consumer.settle(again.into_iter().chain(taken));
        consumer.depth_becomes(0).await;
        consumer.close().await;
    });
}

/// Publishes a message with all that a publisher, or a stranger, can write beside a body.
fn publish_with_headers(lab: &Lab<'_>) {
    let mut headers = table([
        ("traceparent", text("00-1")),
        ("x-death", text("of another")),
        ("x-first-death-reason", text("forged")),
        ("x-ckan-worker-reason", text("forged")),
        ("x-ckan-worker-attempt", AMQPValue::LongInt(-5)),
        ("x-ckan-worker-hops", AMQPValue::LongLongInt(i64::MAX)),
        ("x-ckan-worker-first-seen", AMQPValue::Timestamp(u64::MAX)),
        ("x-ckan-worker-only", text("archive")),
    ]);
    for number in 0..1000 {
        headers.insert(format!("filler-{number}").into(), text(&"x".repeat(90)));
    }
    let properties = BasicProperties::default()
        .with_message_id("m-1".into())
        .with_content_type("application/json".into())
        .with_priority(3)
        .with_expiration("600000".into())
        .with_headers(headers);
    lab.vhost().publish_as(&lab.settings.exchange, "Package", &properties, ["1"]);
}

#[test]
fn what_was_published_with_a_message_goes_up_the_ladder_with_it_but_not_what_would_harm_it() {
    let Some(lab) = lab_with(&[SHORT]) else { return };
    runtime().block_on(async {
        let mut consumer = lab.open(2);
        // Exchange, queue and binding are there now.
        consumer.depth_becomes(0).await;
        publish_with_headers(&lab);
        let mut delivery = consumer.take(1).await.remove(0);
        let past = delivery.past.as_deref().unwrap();
        assert_eq!((past.attempts, past.hops, past.held_since), (0, 0, None));
        for hop in 1..=2 {
            consumer.source.letters().keep(&waiting(&delivery, SHORT)).await.unwrap();
            consumer.settle([delivery]);
            delivery = consumer.take(1).await.remove(0);
            let past = delivery.past.as_deref().unwrap();
            assert_eq!((past.attempts, past.hops), (hop, hop));
        }
        let dead = Letter { fate: Fate::Dead(DeadReason::Permanent), ..waiting(&delivery, SHORT) };
        consumer.source.letters().keep(&dead).await.unwrap();
        consumer.settle([delivery]);
        consumer.depth_becomes(0).await;
        consumer.close().await;
    });
    let dead = lab.vhost().drain(&format!("{}.dead", lab.settings.name)).remove(0);
    let properties = &dead.properties;
    assert_eq!(dead.body, b"1");
    assert_eq!((properties.priority(), properties.expiration()), (&Some(3), &None));
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "m-1");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    for (name, value) in [
        ("traceparent", Some("00-1")),
        ("x-death", None),
        ("x-first-death-reason", None),
        ("x-ckan-worker-reason", Some("permanent")),
        ("x-ckan-worker-hops", Some("3")),
        ("x-ckan-worker-origin-exchange", Some(lab.settings.exchange.as_str())),
        ("x-ckan-worker-origin-routing-key", Some("Package")),
        ("x-ckan-worker-origin-queue", Some(lab.settings.name.as_str())),
    ] {
        assert_eq!(dead.header(name).as_deref(), value, "{name}");
    }
    let dropped: u32 = dead.header("x-ckan-worker-headers-dropped").unwrap().parse().unwrap();
    assert!(dropped > 300, "100 kB of headers do not go on: {dropped}");
}

#[test]
fn without_the_permission_to_make_a_rung_the_error_names_it_and_nothing_is_kept() {
    let Some(mut lab) = lab_with(&[SHORT]) else { return };
    runtime().block_on(async {
        lab.publish(["1"]).await;
        let url = lab.vhost().url().to_owned();
        let name = url.rsplit('/').next().unwrap();
        let broker = worker_tests::Broker::shared().unwrap();
        broker.eval("catch rabbit_auth_backend_internal:add_user(<<\"climber\">>, <<\"secret\">>, <<\"rig\">>).");
        broker.eval(&format!(
            "rabbit_auth_backend_internal:set_permissions(<<\"climber\">>, <<\"{name}\">>, <<\"^$\">>, <<\".*\">>, \
             <<\".*\">>, <<\"rig\">>)."
        ));
        let ckan_worker::source::Address::Amqp(hosts) = &mut lab.settings.address else { panic!("a broker") };
        hosts[0].user = "climber".to_owned();
        hosts[0].password = "secret".into();
        let mut consumer = lab.open(2);
        let taken = consumer.take(1).await;
        let error = consumer.source.letters().keep(&waiting(&taken[0], SHORT)).await.unwrap_err();
        assert!(matches!(error, SourceError::Refused { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(&rung(&lab, "200ms")) && error.contains("permissions"), "{error}");
        // What is kept elsewhere is not hindered by it.
        let dead = Letter { fate: Fate::Dead(DeadReason::Permanent), ..waiting(&taken[0], SHORT) };
        keep(&consumer, &dead).await;
        consumer.close().await;
    });
    assert_eq!(lab.vhost().ready(&rung(&lab, "200ms")), None);
}

async fn keep(consumer: &Consumer, letter: &Letter) {
    let letters = consumer.source.letters();
    tokio::time::timeout(SOON, letters.keep(letter)).await.expect("it answers").unwrap();
}
