//! What a host that polls a portal tells its workers, shown on a stand-in portal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod poll_lab;

use ckan_worker::source::poll::Start;
use poll_lab::{Portal, Session, Told, dataset, told};
use serde_json::json;

const NOTHING: (&[&str], &[&str]) = (&[], &[]);

fn nothing() -> Told {
    told(NOTHING.0, NOTHING.1)
}

/// A portal with two datasets, and a host that has told of them.
async fn settled() -> (Portal, Session) {
    let portal = Portal::new().await;
    portal.set_clock(1000);
    portal.save(&dataset("a", 0, 10, &[("r", "u")]));
    portal.save(&dataset("b", 0, 20, &[]));
    let session = Session::new(&portal);
    let everything = ["Resource changed r", "Package changed a", "Package changed b"];
    assert_eq!(session.run().await, told(&[], &everything));
    (portal, session)
}

#[tokio::test]
async fn everything_is_told_once_and_then_only_what_changes() {
    let (portal, session) = settled().await;
    assert_eq!(session.run().await, nothing());
    portal.save(&dataset("b", 0, 1001, &[]));
    portal.save(&dataset("c", 1002, 1002, &[("s", "u")]));
    assert_eq!(session.run().await, told(&["Package changed b", "Resource new s", "Package new c"], &[]));
    assert_eq!(session.run().await, nothing());
}

#[tokio::test]
async fn a_change_is_told_while_the_host_runs() {
    let (portal, session) = settled().await;
    let mut source = session.open();
    assert!(session.drain(&mut source).await.is_empty());
    portal.save(&dataset("b", 0, 1001, &[]));
    let batch = source.next(10).await.unwrap();
    assert_eq!(batch.len(), 1);
    assert!(batch[0].id.to_string().starts_with("poll/b/"), "{}", batch[0].id);
    source.close().await;
}

#[tokio::test]
async fn who_starts_with_now_is_told_of_later_changes_alone() {
    let portal = Portal::new().await;
    portal.set_clock(1000);
    for number in 0..50 {
        portal.save(&dataset(&format!("d{number}"), 0, 10, &[("r", "u")]));
    }
    let mut session = Session::new(&portal);
    session.poll.start = Start::Now;
    assert_eq!(session.run().await, nothing());
    portal.save(&dataset("d7", 0, 1001, &[("r", "u")]));
    portal.save(&dataset("new", 1002, 1002, &[]));
    assert_eq!(session.run().await, told(&["Package changed d7", "Package new new"], &[]));
}

#[tokio::test]
async fn resources_are_told_of_when_they_are_new_different_or_gone() {
    let (portal, session) = settled().await;
    portal.save(&dataset("a", 0, 1001, &[("r", "u"), ("s", "u")]));
    assert_eq!(session.run().await.live, ["Resource new s", "Package changed a"]);
    portal.save(&dataset("a", 0, 1002, &[("r", "other"), ("s", "u")]));
    assert_eq!(session.run().await.live, ["Resource changed r", "Package changed a"]);
    portal.save(&dataset("a", 0, 1003, &[("s", "u")]));
    assert_eq!(session.run().await.live, ["Resource deleted r", "Package changed a"]);
    portal.save(&dataset("a", 0, 1004, &[("s", "u")]));
    assert_eq!(session.run().await.live, ["Package changed a"]);
}

#[tokio::test]
async fn what_is_saved_late_under_an_old_date_is_seen_within_the_overlap() {
    let (portal, session) = settled().await;
    portal.save(&dataset("b", 0, 1300, &[]));
    portal.set_clock(1300);
    assert_eq!(session.run().await.live, ["Package changed b"]);
    portal.save(&dataset("late", 1001, 1001, &[]));
    assert_eq!(session.run().await.live, ["Package new late"]);
}

#[tokio::test]
async fn what_is_listed_and_not_saved_yet_is_told_when_it_is_saved_and_never_if_it_is_not() {
    let (portal, session) = settled().await;
    portal.index(&dataset("a", 0, 1001, &[("r", "u")]));
    portal.index(&dataset("phantom", 1002, 1002, &[]));
    assert_eq!(session.run().await, nothing());
    portal.commit(&dataset("a", 0, 1001, &[("r", "u")]));
    assert_eq!(session.run().await, told(&["Package changed a"], &[]));
    portal.save(&dataset("b", 0, 5000, &[]));
    portal.set_clock(5000);
    let mut session = session;
    session.sweep_always();
    assert_eq!(session.run().await, told(&["Package changed b"], &[]));
}

#[tokio::test]
async fn a_date_in_the_future_carries_nobody_away() {
    let (portal, mut session) = settled().await;
    portal.save(&dataset("mars", 0, 1_000_000, &[]));
    portal.save(&dataset("soon", 0, 1250, &[]));
    // What is dated so soon may be a matter of clocks; what is not, only the sweep finds.
    assert_eq!(session.run().await, told(&["Package changed soon"], &[]));
    session.sweep_always();
    assert_eq!(session.run().await, told(&[], &["Package changed mars"]));
    assert_eq!(session.run().await, nothing());
    // 1250 was no reason to look for what is newer than 950 alone.
    portal.save(&dataset("late", 0, 701, &[]));
    session.poll.sweep = std::time::Duration::ZERO;
    assert_eq!(session.run().await, told(&["Package changed late"], &[]));
}

#[tokio::test]
async fn a_flood_of_one_date_is_told_of_once_and_completely() {
    let (portal, session) = settled().await;
    for number in 0..1500 {
        portal.save(&dataset(&format!("f{number:04}"), 1001, 1001, &[]));
    }
    let live = session.run().await.live;
    let expected: Vec<String> = (0..1500).map(|number| format!("Package new f{number:04}")).collect();
    assert_eq!(live, expected);
    assert_eq!(session.run().await, nothing());
}

#[tokio::test]
async fn a_portal_that_lists_few_at_once_is_asked_more_often() {
    let (portal, session) = settled().await;
    portal.list_at_most(7);
    for number in 0..50 {
        portal.save(&dataset(&format!("f{number:04}"), 1001, 1001 + number / 10, &[]));
    }
    assert_eq!(session.run().await.live.len(), 50);
    assert_eq!(session.run().await, nothing());
}

#[tokio::test]
async fn private_datasets_are_told_of_when_the_token_may_see_them() {
    let portal = Portal::new().await;
    portal.set_clock(1000);
    let mut secret = dataset("secret", 0, 10, &[]);
    secret["private"] = json!(true);
    portal.save(&secret);
    let mut session = Session::new(&portal);
    assert_eq!(session.run().await, told(&[], &["Package changed secret"]));
    session = Session::new(&portal);
    session.has_token = false;
    assert_eq!(session.run().await, nothing());
}

#[tokio::test]
async fn an_empty_portal_is_waited_for() {
    let portal = Portal::new().await;
    let session = Session::new(&portal);
    assert_eq!(session.run().await, nothing());
    portal.set_clock(1000);
    portal.save(&dataset("first", 1000, 1000, &[]));
    assert_eq!(session.run().await, told(&["Package new first"], &[]));
}
