//! What the sweep of a host that polls a portal finds: what no new date tells of.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod poll_lab;

use std::time::Duration;

use ckan_worker::source::backfill_queue;
use poll_lab::{Portal, Session, Told, dataset, told};
use serde_json::json;

/// A portal with these datasets, and a host that has told of them and sweeps with each start.
async fn settled(ids: &[&str]) -> (Portal, Session) {
    let portal = Portal::new().await;
    portal.set_clock(1000);
    for id in ids {
        portal.save(&dataset(id, 0, 10, &[("r", "u")]));
    }
    // So new that a look does not go back to the others.
    portal.save(&dataset("newest", 0, 900, &[]));
    let mut session = Session::new(&portal);
    assert_eq!(session.run().await.backfill.len(), ids.len() * 2 + 1);
    session.sweep_always();
    assert_eq!(session.run().await, Told::default());
    (portal, session)
}

#[tokio::test]
async fn what_is_deleted_is_told_of_once_and_again_when_it_comes_back() {
    let (portal, session) = settled(&["a", "b", "c"]).await;
    portal.delete("b");
    assert_eq!(session.run().await, told(&["Package changed b [deleted]"], &[]));
    assert_eq!(session.run().await, Told::default());
    portal.save(&dataset("b", 0, 1001, &[("r", "u")]));
    assert_eq!(session.run().await, told(&["Package changed b"], &[]));
    assert_eq!(session.run().await, Told::default());
}

#[tokio::test]
async fn what_is_purged_or_hidden_is_told_of_as_deleted() {
    let (portal, session) = settled(&["a", "b", "c"]).await;
    portal.purge("c");
    portal.hide("a", true);
    assert_eq!(session.run().await, told(&["Package deleted a [deleted]", "Package deleted c [deleted]"], &[]));
    assert_eq!(session.run().await, Told::default());
    portal.hide("a", false);
    assert_eq!(session.run().await, told(&[], &["Package changed a"]));
    assert_eq!(session.run().await, Told::default());
}

#[tokio::test]
async fn what_changes_without_a_new_date_is_found() {
    let (portal, session) = settled(&["a", "b", "c"]).await;
    portal.save(&dataset("a", 0, 10, &[]));
    let mut moved = dataset("b", 0, 10, &[("r", "u")]);
    moved["owner_org"] = json!("another");
    portal.save(&moved);
    let expected = ["Resource deleted r", "Package changed a", "Package changed b"];
    assert_eq!(session.run().await, told(&[], &expected));
    assert_eq!(session.run().await, Told::default());
}

#[tokio::test]
async fn what_the_index_has_lost_is_not_deleted() {
    let (portal, session) = settled(&["a", "b", "c"]).await;
    portal.unindex("b");
    assert_eq!(session.run().await, Told::default());
    portal.delete("b");
    assert_eq!(session.run().await, told(&["Package changed b [deleted]"], &[]));
}

#[tokio::test]
async fn when_the_whole_index_is_lost_a_sweep_asks_for_some_and_the_next_one_for_others() {
    let ids: Vec<String> = (0..300).map(|number| format!("d{number:03}")).collect();
    let (portal, session) = settled(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for id in &ids {
        portal.unindex(id);
    }
    portal.calls();
    assert_eq!(session.run().await, Told::default());
    assert_eq!(portal.calls()["package_show"], 100);
    portal.delete("d005");
    portal.delete("d150");
    assert_eq!(session.run().await, told(&["Package changed d150 [deleted]"], &[]));
    assert_eq!(session.run().await, Told::default(), "the last hundred");
    assert_eq!(session.run().await, told(&["Package changed d005 [deleted]"], &[]));
}

#[tokio::test]
async fn however_many_are_deleted_each_is_told_of() {
    let ids: Vec<String> = (0..130).map(|number| format!("d{number:03}")).collect();
    let (portal, session) = settled(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for id in &ids {
        portal.delete(id);
    }
    let expected: Vec<String> = ids.iter().map(|id| format!("Package changed {id} [deleted]")).collect();
    assert_eq!(session.run().await.live, expected);
    assert_eq!(session.run().await, Told::default());
}

#[tokio::test]
async fn a_token_that_is_no_longer_known_deletes_nothing() {
    let (portal, session) = settled(&["a"]).await;
    let mut secret = dataset("secret", 0, 1001, &[]);
    secret["private"] = json!(true);
    portal.save(&secret);
    assert_eq!(session.run().await, told(&["Package changed secret"], &[]));
    portal.refuse_token(true);
    let source = session.open();
    let mut called = portal.called();
    portal.calls();
    let mut asked = 0;
    while asked < 2 {
        called.changed().await.unwrap();
        asked += portal.calls().get("user_show").copied().unwrap_or_default();
    }
    source.close().await;
    portal.refuse_token(false);
    assert_eq!(session.run().await, Told::default());
}

#[tokio::test]
async fn a_first_sweep_that_was_cut_short_goes_on_where_it_was() {
    let portal = Portal::new().await;
    portal.set_clock(1000);
    portal.list_at_most(10);
    for number in 0..200 {
        portal.save(&dataset(&format!("d{number:03}"), 0, 10, &[]));
    }
    let session = Session::new(&portal);
    let mut told = Vec::new();
    for _ in 0..5 {
        session.run_until_call(60).await;
        told.extend(session.take_backfill());
    }
    assert!((30..200).contains(&told.len()), "{}", told.len());
    let rest = session.run().await;
    assert_eq!(rest.live, [""; 0]);
    told.extend(rest.backfill);
    let expected: Vec<String> = (0..200).map(|number| format!("Package changed d{number:03}")).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn ten_thousand_datasets_cost_a_hundred_and_some_requests() {
    let portal = Portal::new().await;
    portal.set_clock(100_000);
    for number in 0..10_000 {
        portal.save(&dataset(&format!("d{number:05}"), 0, number, &[]));
    }
    let mut session = Session::new(&portal);
    session.poll.interval = Duration::from_secs(1);
    let mut source = session.open();
    let mut called = portal.called();
    let mut backfill = Vec::new();
    // More than so many do not wait at once, so they are worked on meanwhile.
    while source.depth().await.unwrap() > 0 {
        called.changed().await.unwrap();
        backfill.extend(session.take_backfill());
    }
    source.close().await;
    backfill.extend(session.take_backfill());
    let expected: Vec<String> = (0..10_000).map(|number| format!("Package changed d{number:05}")).collect();
    assert_eq!(backfill, expected);
    let calls = portal.calls();
    assert_eq!(calls.get("package_show"), None, "{calls:?}");
    assert_eq!(session.run().await, Told::default());
}

#[tokio::test]
async fn while_much_waits_the_sweep_waits_and_looks_go_on() {
    let portal = Portal::new().await;
    portal.set_clock(100_000);
    for number in 0..300 {
        portal.save(&dataset(&format!("d{number:03}"), 0, 10, &[]));
    }
    let session = Session::new(&portal);
    let queue = backfill_queue("portal.workerchain");
    drop(ckan_worker::source::open_publisher(&session.plain()).unwrap());
    let file = session.file();
    let body = br#"{"routing_key":"Package","operation":"changed","payload":{"id":"x"}}"#;
    file.execute("INSERT INTO body (id, bytes) VALUES (1, ?1)", [&body[..]]).unwrap();
    let crowd = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 10000)
        INSERT INTO message (queue, routing_key, message_id, published_ms, size, body) SELECT ?1, 'Package', n, 0, 1, 1 FROM number";
    file.execute(crowd, [&queue]).unwrap();
    let mut called = portal.called();
    let mut source = session.open();
    // By then it has begun, and what is saved from now on is live.
    called.wait_for(|called| *called >= 10).await.unwrap();
    portal.save(&dataset("live", 0, 100_001, &[]));
    let batch = tokio::time::timeout(Duration::from_secs(60), source.next(10)).await.unwrap().unwrap();
    assert_eq!(batch.len(), 1);
    source.settle(batch.into_iter().map(|delivery| delivery.receipt).collect());
    assert_eq!(session.take_backfill().len(), 10_000);
    assert!(session.drain(&mut source).await.is_empty());
    source.close().await;
    assert_eq!(session.take_backfill().len(), 300);
}
