//! Bodies that are no notifications.

use worker_tests::{Broker, sha256};

use crate::stage::Stage;

const MIB: usize = 1024 * 1024;

/// A notification about the dataset `id` with so many bytes of text in its payload.
fn large(id: &str, bytes: usize) -> Vec<u8> {
    let text = "x".repeat(bytes);
    format!(r#"{{"routing_key":"Package","operation":"new","payload":{{"id":"{id}","notes":"{text}"}}}}"#).into_bytes()
}

fn nested(depth: usize) -> Vec<u8> {
    let (open, close) = (r#"{"a":"#.repeat(depth), "}".repeat(depth));
    format!(r#"{{"routing_key":"Package","operation":"new","payload":{open}1{close}}}"#).into_bytes()
}

fn malformed() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        &b""[..],
        b"not JSON",
        b"[]",
        b"null",
        b"42",
        b"\"text\"",
        b"{}",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\"}",
        b"{\"routing_key\":\"Package\",\"payload\":{\"id\":\"p\"}}",
        b"{\"operation\":\"new\",\"payload\":{\"id\":\"p\"}}",
        b"{\"routing_key\":7,\"operation\":\"new\",\"payload\":{\"id\":\"p\"}}",
        b"{\"routing_key\":\"Package\",\"operation\":null,\"payload\":{\"id\":\"p\"}}",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":[1]}",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":null}",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":{\"id\":\"p\"}} and more",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":{\"id\":\"p\"",
        b"{\"routing_key\":\"Pack\xff\xfeage\",\"operation\":\"new\",\"payload\":{\"id\":\"p\"}}",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":{\"id\":\"\xc3\x28\"}}",
        b"\0",
        b"{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":{\"id\":\"p\0\"}}",
        b"\xef\xbb\xbf{\"routing_key\":\"Package\",\"operation\":\"new\",\"payload\":{\"id\":\"p\"}}",
        b"{\"routing_key\":\"Package\",\"routing_key\":\"Resource\",\"operation\":\"new\",\"payload\":{\"id\":\"p\"}}",
    ]
    .map(<[u8]>::to_vec)
    .into();
    bodies.push(nested(100_000));
    bodies.push(vec![b'['; 100_000]);
    bodies.push(large("too-large", 16 * MIB + 1));
    bodies
}

#[test]
fn a_malformed_body_is_set_aside_byte_for_byte_and_those_behind_it_are_done() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "malformed", "");
    let bodies = malformed();
    stage.vhost.publish(&stage.site, "Package", &bodies);
    let good = [
        large("large", 15 * MIB),
        br#"{"routing_key":"Package","operation":"new","payload":{"id":"twice","id":"twice"}}"#.to_vec(),
        br#"{"routing_key":"Package","operation":"new","payload":{"id":"good"},"meta":{}}"#.to_vec(),
    ];
    stage.vhost.publish(&stage.site, "Package", &good);

    stage.run_until_empty(&["actor", "actor2"]);

    for worker in ["actor", "actor2"] {
        let runs: Vec<_> = stage.runs().into_iter().filter(|run| run.worker == worker).collect();
        assert_eq!(runs.len(), good.len(), "{runs:#?}");
        assert!(runs.iter().all(|run| run.outcome.as_deref() == Some("done")), "{runs:#?}");
        assert!(runs.iter().any(|run| run.payload_bytes > 15 * MIB as u64));
    }
    let letters = stage.dead();
    let digests = |bodies: &mut dyn Iterator<Item = &[u8]>| {
        let mut digests: Vec<_> = bodies.map(sha256).collect();
        digests.sort();
        digests
    };
    assert_eq!(
        digests(&mut letters.iter().map(|letter| letter.body.as_slice())),
        digests(&mut bodies.iter().map(Vec::as_slice))
    );
    for letter in &letters {
        assert_eq!(letter.header("x-ckan-worker-reason").as_deref(), Some("malformed"));
        assert_eq!(letter.header("x-ckan-worker-only"), None, "it is no worker's");
        assert!(letter.header("x-ckan-worker-error").is_some_and(|error| !error.is_empty()));
    }
}
