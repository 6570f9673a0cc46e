//! A portal that is away, slow or wrong: a host that polls it skips nothing, and tells of nothing twice.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod poll_lab;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use ckan_worker::services::ckan::Client;
use ckan_worker::source::poll::self_test;
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

/// Ten changes are told of although the first calls of an action are answered like this.
async fn check(action: &'static str, times: usize, answer: impl Fn() -> Response + Send + 'static) {
    let (portal, session) = settled().await;
    for number in 0..10 {
        portal.save(&dataset(&format!("d{number}"), 0, 1001 + number, &[]));
    }
    let mut left = times;
    portal.fail(move |call: &Call| {
        let is_hit = call.action == action && left > 0;
        left -= usize::from(is_hit);
        is_hit.then(&answer)
    });
    let expected: Vec<String> = (0..10).map(|number| format!("Package changed d{number}")).collect();
    assert_eq!(session.run().await.live, expected, "{action}");
    assert_eq!(session.run().await, Told::default(), "{action}");
}

fn html(status: StatusCode) -> Response {
    (status, Html("<h1>Sorry</h1>")).into_response()
}

#[tokio::test]
async fn nothing_is_skipped_and_nothing_is_told_twice_whatever_the_portal_answers() {
    let busy = || (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], "").into_response();
    let search = || {
        let error = json!({ "success": false, "error": { "__type": "Search Error", "message": "no" } });
        (StatusCode::CONFLICT, axum::Json(error)).into_response()
    };
    let truncated = || r#"{"help": "", "success": true, "result": {"count": 1, "resu"#.into_response();
    tokio::join!(
        check("package_search", 4, || html(StatusCode::SERVICE_UNAVAILABLE)),
        check("package_search", 4, || html(StatusCode::INTERNAL_SERVER_ERROR)),
        check("package_search", 1, || html(StatusCode::OK)),
        check("package_search", 1, truncated),
        check("package_search", 2, search),
        check("package_search", 2, busy),
        check("package_show", 4, || html(StatusCode::BAD_GATEWAY)),
        check("package_show", 1, || html(StatusCode::OK)),
        check("package_show", 1, truncated),
    );
}

#[tokio::test]
async fn a_portal_that_stops_answering_in_the_middle_is_asked_on_from_there() {
    let (portal, session) = settled().await;
    for number in 0..30 {
        portal.save(&dataset(&format!("d{number:02}"), 0, 1001 + number, &[]));
    }
    let (mut count, mut hurts) = (0, 6);
    portal.fail(move |call: &Call| {
        count += usize::from(call.action == "package_show");
        let is_hit = count > 15 && hurts > 0;
        hurts -= usize::from(is_hit);
        is_hit.then(|| html(StatusCode::SERVICE_UNAVAILABLE))
    });
    let expected: Vec<String> = (0..30).map(|number| format!("Package changed d{number:02}")).collect();
    assert_eq!(session.run().await.live, expected);
    assert_eq!(session.run().await, Told::default());
}

#[tokio::test]
async fn a_host_that_is_killed_again_and_again_skips_nothing() {
    let portal = Portal::new().await;
    portal.set_clock(1000);
    for number in 0..40 {
        portal.save(&dataset(&format!("old{number:02}"), 0, number, &[]));
    }
    let session = Session::new(&portal);
    let (mut live, mut backfill) = (Vec::new(), Vec::new());
    for calls in 1..12 {
        session.run_until_call(calls).await;
    }
    for number in 0..20 {
        portal.save(&dataset(&format!("new{number:02}"), 1001, 1001 + number, &[]));
        session.run_until_call(usize::try_from(number).unwrap() + 1).await;
        live.extend(session.take_live());
        backfill.extend(session.take_backfill());
    }
    let rest = session.run().await;
    live.extend(rest.live);
    backfill.extend(rest.backfill);
    let expected = |kind: &str, operation: &str, count: usize| -> Vec<String> {
        (0..count).map(|number| format!("Package {operation} {kind}{number:02}")).collect()
    };
    assert_eq!(live, expected("new", "new", 20));
    assert_eq!(backfill, expected("old", "changed", 40));
}

#[tokio::test]
async fn a_dataset_that_ckan_cannot_show_is_told_of_as_the_search_knows_it() {
    let (portal, session) = settled().await;
    portal.save(&dataset("broken", 0, 1001, &[]));
    portal.save(&dataset("well", 0, 1002, &[]));
    portal.fail(|call| {
        let is_hit = call.action == "package_show" && call.body["id"] == "broken";
        is_hit.then(|| html(StatusCode::INTERNAL_SERVER_ERROR))
    });
    assert_eq!(session.run().await, told(&["Package changed broken", "Package changed well"], &[]));
}

#[tokio::test]
async fn a_search_whose_filters_do_not_arrive_is_found_out() {
    let portal = Portal::new().await;
    portal.set_clock(1000);
    let session = Session::new(&portal);
    let client = Client::new(session.ckan()).unwrap();
    portal.drop_filters(true);
    assert_eq!(self_test(&client).await.unwrap(), None, "an empty portal has nothing to show");
    for (id, modified) in [("old", 10), ("new", 20)] {
        portal.save(&dataset(id, 0, modified, &[]));
    }
    let failure = self_test(&client).await.unwrap_err();
    assert_eq!(failure.code, "ckan.incompatible");
    assert!(
        failure.message.contains("`fq` does not arrive") && failure.message.contains("proxy"),
        "{}",
        failure.message
    );
    // The host does not give up: somebody may mend it.
    let mut called = portal.called();
    let mut source = session.open();
    let seen = *called.borrow();
    called.wait_for(|called| *called >= seen + 6).await.unwrap();
    assert_eq!(session.take_backfill(), [""; 0]);
    portal.drop_filters(false);
    assert_eq!(self_test(&client).await.unwrap().as_deref(), Some("2026-01-01T00:00:20.123Z"));
    assert_eq!(session.drain(&mut source).await, [""; 0]);
    source.close().await;
    assert_eq!(session.take_backfill(), ["Package changed new", "Package changed old"]);
}

#[tokio::test]
async fn a_search_that_answers_nothing_to_filters_is_found_out() {
    let portal = Portal::new().await;
    portal.save(&dataset("a", 0, 10, &[]));
    let client = Client::new(Session::new(&portal).ckan()).unwrap();
    portal.fail(|call| {
        let is_filtered = call.body["fq"].as_str().is_some_and(|filter| !filter.is_empty());
        let nothing = json!({ "success": true, "result": { "count": 0, "results": [] } });
        is_filtered.then(|| axum::Json(nothing).into_response())
    });
    let failure = self_test(&client).await.unwrap_err();
    assert!(failure.message.contains("it answers none"), "{}", failure.message);
}
