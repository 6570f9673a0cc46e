//! A portal of which one part is broken for good: the rest of it is told of, and nobody waits for ever.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod poll_lab;

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use ckan_worker::source::Source;
use ckan_worker::source::poll::Start;
use poll_lab::{Call, Portal, Session, Told, dataset, told};
use serde_json::json;

/// A portal with one dataset, and a host that has told of it.
async fn settled() -> (Portal, Session) {
    let portal = Portal::new().await;
    portal.set_clock(1000);
    portal.save(&dataset("a", 0, 10, &[]));
    let session = Session::new(&portal);
    assert_eq!(session.run().await, told(&[], &["Package changed a"]));
    (portal, session)
}

fn html(status: StatusCode) -> Response {
    (status, Html("<h1>Sorry</h1>")).into_response()
}

fn is_about(call: &Call, id: &str) -> bool {
    call.action == "package_show" && call.body["id"] == id
}

/// The others are told of while one dataset is answered like this, and that one when it no longer is.
async fn check(answer: fn() -> Response) {
    let (portal, session) = settled().await;
    portal.save(&dataset("broken", 0, 1001, &[]));
    portal.save(&dataset("well", 0, 1002, &[]));
    portal.fail(move |call| is_about(call, "broken").then(answer));
    assert_eq!(session.run().await, told(&["Package changed well"], &[]));
    portal.heal();
    assert_eq!(session.run().await, told(&["Package changed broken"], &[]));
    assert_eq!(session.run().await, Told::default());
}

#[tokio::test]
async fn a_dataset_that_the_portal_fails_at_keeps_nobody_waiting() {
    tokio::join!(
        check(|| html(StatusCode::GATEWAY_TIMEOUT)),
        check(|| html(StatusCode::NOT_FOUND)),
        check(|| html(StatusCode::BAD_REQUEST)),
        check(
            || (StatusCode::CONFLICT, r#"{"success": false, "error": {"__type": "Validation Error"}}"#).into_response()
        ),
        check(|| html(StatusCode::OK)),
    );
}

#[tokio::test]
async fn a_sweep_goes_on_behind_a_dataset_that_the_portal_fails_at() {
    let (portal, mut session) = settled().await;
    for id in ["b", "c", "d"] {
        portal.save(&dataset(id, 0, 1001, &[]));
    }
    assert_eq!(session.run().await.live.len(), 3);
    session.sweep_always();
    portal.unindex("b");
    portal.purge("c");
    portal.fail(|call| is_about(call, "b").then(|| html(StatusCode::BAD_REQUEST)));
    assert_eq!(session.run().await, told(&["Package deleted c [deleted]"], &[]));
    portal.heal();
    assert_eq!(session.run().await, Told::default(), "b was there all the time");
}

#[tokio::test]
async fn a_copy_that_breaks_its_batch_is_left_out_alone() {
    let portal = Portal::new().await;
    portal.set_clock(1000);
    for number in 0..60 {
        portal.save(&dataset(&format!("d{number:02}"), 0, 10, &[]));
    }
    portal.fail(|call| {
        let filter = call.body["fq"].as_str().unwrap_or_default();
        let is_batch = filter.starts_with("id:(") && (filter.contains("d07") || filter.contains("d33"));
        // The database has one of the two.
        (is_batch || is_about(call, "d33")).then(|| html(StatusCode::BAD_REQUEST))
    });
    let session = Session::new(&portal);
    let expected: Vec<String> =
        (0..60).filter(|number| *number != 33).map(|number| format!("Package changed d{number:02}")).collect();
    assert_eq!(session.run().await.backfill, expected);
}

/// Why nobody can say whether the queue is empty.
async fn trouble(portal: &Portal, source: &mut Box<dyn Source>) -> String {
    let mut called = portal.called();
    loop {
        match source.depth().await {
            Ok(_) => called.changed().await.unwrap(),
            Err(error) => return error.to_string(),
        }
    }
}

#[tokio::test]
async fn whoever_waits_for_the_queue_to_be_empty_is_told_that_the_portal_cannot_be_asked() {
    let (portal, session) = settled().await;
    portal.fail(|call| (call.action == "package_search").then(|| html(StatusCode::FORBIDDEN)));
    let mut source = session.open();
    let trouble = trouble(&portal, &mut source).await;
    assert!(trouble.contains(&portal.url) && trouble.contains("package_search"), "{trouble}");
    portal.heal();
    assert!(session.drain(&mut source).await.is_empty());
    source.close().await;
}

#[tokio::test]
async fn a_queue_is_not_fed_from_another_portal() {
    let (_, mut session) = settled().await;
    session.portal = Portal::new().await;
    let refused = session.try_open().err().unwrap().to_string();
    assert!(refused.contains(&session.portal.url) && refused.contains("`queue.file`"), "{refused}");
}

#[tokio::test]
async fn while_the_token_is_dead_nothing_is_passed_over() {
    let (portal, mut session) = settled().await;
    // As long as it takes.
    session.poll.overlap = Duration::ZERO;
    let mut source = session.open();
    assert!(session.drain(&mut source).await.is_empty());
    portal.refuse_token(true);
    let mut secret = dataset("secret", 0, 999, &[]);
    secret["private"] = json!(true);
    portal.save(&secret);
    portal.save(&dataset("public", 0, 1000, &[]));
    let trouble = trouble(&portal, &mut source).await;
    assert!(trouble.contains("API token"), "{trouble}");
    portal.refuse_token(false);
    assert_eq!(session.drain(&mut source).await, ["Package changed secret", "Package changed public"]);
    source.close().await;
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_is_right_again_blinds_nobody() {
    let (portal, session) = settled().await;
    portal.set_clock(5000);
    portal.save(&dataset("ahead", 0, 5000, &[]));
    assert_eq!(session.run().await, told(&["Package changed ahead"], &[]));
    portal.set_clock(1001);
    portal.save(&dataset("now", 0, 1001, &[]));
    assert_eq!(session.run().await, told(&["Package changed now"], &[]));
    assert_eq!(session.run().await, Told::default());
}

#[tokio::test]
async fn who_starts_with_now_waits_until_the_index_has_something() {
    let portal = Portal::new().await;
    let mut session = Session::new(&portal);
    session.poll.start = Start::Now;
    let mut source = session.open();
    let trouble = trouble(&portal, &mut source).await;
    assert!(trouble.contains("lists no dataset yet"), "{trouble}");
    portal.set_clock(1000);
    portal.save(&dataset("old", 0, 10, &[]));
    assert!(session.drain(&mut source).await.is_empty());
    source.close().await;
    portal.save(&dataset("new", 1001, 1001, &[]));
    assert_eq!(session.run().await, told(&["Package new new"], &[]));
}
