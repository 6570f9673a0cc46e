//! What a host that empties the outbox of a portal puts on the queue, shown on a stand-in portal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, unused_imports, reason = "other tests use the rest of it")]
mod poll_lab;

use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use poll_lab::{Call, Portal, Session, told};
use serde_json::{Value, json};

/// An outbox whose messages have these numbers and names, and which may fail to take answers.
#[derive(Default)]
struct Outbox {
    messages: Vec<(i64, &'static str)>,
    takes_nothing: bool,
}

impl Outbox {
    fn answer(&mut self, call: &Call) -> Option<Response> {
        let result = match call.action.as_str() {
            "worker_outbox_poll" => {
                let messages: Vec<Value> = self.messages.iter().map(|(id, name)| row(*id, name)).collect();
                json!({ "messages": messages, "more": false })
            }
            "worker_outbox_ack" if self.takes_nothing => {
                return Some(StatusCode::INTERNAL_SERVER_ERROR.into_response());
            }
            "worker_outbox_ack" => {
                let ids = call.body["ids"].as_array().unwrap();
                self.messages.retain(|(id, _)| !ids.contains(&json!(id)));
                json!({})
            }
            _ => return None,
        };
        Some(axum::Json(json!({ "success": true, "result": result })).into_response())
    }
}

fn row(id: i64, name: &str) -> Value {
    let body = json!({ "routing_key": "Package", "operation": "changed", "payload": { "id": name } });
    json!({ "id": id, "message_id": name, "body": body })
}

async fn lab() -> (Arc<Mutex<Outbox>>, Session, Portal) {
    let portal = Portal::new().await;
    let outbox = Arc::new(Mutex::new(Outbox::default()));
    let answers = outbox.clone();
    portal.fail(move |call| answers.lock().unwrap().answer(call));
    let mut session = Session::new(&portal);
    session.is_outbox = true;
    (outbox, session, portal)
}

#[tokio::test]
async fn what_is_handed_out_again_is_known_and_what_only_has_its_number_is_not() {
    let (outbox, session, portal) = lab().await;
    *outbox.lock().unwrap() = Outbox { messages: vec![(1, "one"), (2, "two")], takes_nothing: true };
    let mut source = session.open();
    let mut called = portal.called();
    // It is handed out a second time by then.
    called.wait_for(|called| *called >= 6).await.unwrap();
    assert!(source.depth().await.is_ok(), "what waits can be worked on");
    source.close().await;
    assert_eq!(session.take_live(), ["Package changed one", "Package changed two"]);
    // The table was made anew, and its numbers begin at 1 again.
    *outbox.lock().unwrap() = Outbox { messages: vec![(1, "another"), (2, "two")], takes_nothing: false };
    assert_eq!(session.run().await, told(&["Package changed another"], &[]));
    assert_eq!(outbox.lock().unwrap().messages, []);
}

#[tokio::test]
async fn whoever_waits_for_the_queue_to_be_empty_is_told_that_the_extension_is_missing() {
    let (_, session, portal) = lab().await;
    portal.fail(|_| Some((StatusCode::BAD_REQUEST, axum::Json(json!("no such action"))).into_response()));
    let mut source = session.open();
    let mut called = portal.called();
    let trouble = loop {
        match source.depth().await {
            Ok(_) => called.changed().await.unwrap(),
            Err(error) => break error.to_string(),
        }
    };
    assert!(trouble.contains("ckanext-worker"), "{trouble}");
    source.close().await;
}
