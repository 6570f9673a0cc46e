//! What comes on the queue.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use worker_tests::{Broker, End};

use crate::cases::{conclude, form};
use crate::scene::Scene;

const MIB: usize = 1024 * 1024;

/// A notification with this text somewhere in its payload.
fn with(text: &str) -> String {
    format!(r#"{{"routing_key":"Package","operation":"new","payload":{{"id":"p","x":{text}}}}}"#)
}

/// Bodies that are no notifications, whatever a parser says of them.
fn malformed() -> Vec<Vec<u8>> {
    let texts = [
        "",
        " ",
        "not JSON",
        "[]",
        "null",
        "7",
        "true",
        "\"text\"",
        "{}",
        "\0",
        r#"{"routing_key":"Package","operation":"new"}"#,
        r#"{"routing_key":"Package","payload":{"id":"p"}}"#,
        r#"{"operation":"new","payload":{"id":"p"}}"#,
        r#"{"routing_key":7,"operation":"new","payload":{"id":"p"}}"#,
        r#"{"routing_key":"Package","operation":[],"payload":{"id":"p"}}"#,
        r#"{"routing_key":"Package","operation":"new","payload":"p"}"#,
        r#"{"routing_key":"Package","operation":"new","payload":{"id":"p"}"#,
        r#"{"routing_key":"Package","routing_key":"Package","operation":"new","payload":{"id":"p"}}"#,
        "\u{feff}{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":{\"id\":\"p\"}}",
        "{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":{\"id\":\"p\0\"}}",
    ];
    let mut bodies: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    bodies.push(b"{\"routing_key\":\"Pack\xffage\",\"operation\":\"new\",\"payload\":{\"id\":\"p\"}}".to_vec());
    bodies.push(b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec());
    bodies.push(vec![b'['; 100_000]);
    bodies.push(with(&format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000))).into_bytes());
    bodies.push(with(&format!("\"{}\"", "x".repeat(16 * MIB))).into_bytes());
    bodies
}

/// Properties that say odd things about good bodies.
fn odd_properties() -> Vec<BasicProperties> {
    let usual = || BasicProperties::default().with_delivery_mode(2);
    let mut many = FieldTable::default();
    for number in 0..10_000 {
        many.insert(format!("h{number:04}").into(), AMQPValue::Boolean(true));
    }
    let mut ours = FieldTable::default();
    ours.insert("x-ckan-worker-attempt".into(), AMQPValue::Boolean(true));
    ours.insert("x-ckan-worker-first-seen".into(), AMQPValue::LongString("yesterday".into()));
    vec![
        usual().with_content_encoding("brotli-of-tomorrow".into()),
        usual().with_content_type("text/html".into()),
        usual().with_headers(many),
        usual().with_headers(ours),
        usual().with_message_id("".into()),
        usual().with_priority(255),
    ]
}

#[test]
fn bodies_that_are_no_notifications_are_set_aside_byte_for_byte_and_nothing_crashes() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::old_at(broker, "malformed", &[("actor", End::Done)]);
    let rounds = if form().name == "long" { 5 } else { 1 };
    let bodies: Vec<_> = std::iter::repeat_n(malformed(), rounds).flatten().collect();
    for body in &bodies {
        scene.ledger.expect_malformed(body);
    }
    scene.vhost().publish(&scene.site, "Package", &bodies);
    for (number, properties) in odd_properties().into_iter().enumerate() {
        let id = format!("odd{number}");
        let payload = json!({"id": id, "act": "witness"});
        let body = json!({"routing_key": "Package", "operation": "new", "payload": payload}).to_string().into_bytes();
        scene.ledger.attempt(&[(id.clone(), body.clone())]);
        scene.vhost().publish_as(&scene.site, "Package", &properties, [body]);
        scene.ledger.acknowledged([id]);
    }
    scene.play("");
    let pid = scene.hosts[0].pid();
    let mut verdict = scene.judge(form().within, |_| {});
    verdict.expect(scene.hosts[0].is_running() && scene.hosts[0].pid() == pid, "the host lives");
    verdict.expect(scene.sessions(0) == 1, format!("one session, but there were {}", scene.sessions(0)));
    verdict.note(format!("{} kinds of body, {} of properties", malformed().len(), odd_properties().len()));
    scene.stop(&mut verdict);
    conclude("F23", &verdict, 0);
}
