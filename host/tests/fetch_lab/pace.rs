//! One server that could keep us busy for ever: S21.

use std::sync::Arc;
use std::time::Duration;

use ckan_worker::services::fetch::{PaceSettings, Settings};
use ckan_worker_abi::Status;
use tokio::task::JoinSet;

use crate::lab::{Answer, Lab, http};
use crate::rig::{Rig, check, get, home, settings, trace, until};

#[tokio::test]
async fn s21_one_host_with_ten_thousand_resources_keeps_nobody_else_waiting() {
    let big = Lab::new(|_| Answer::ThenSilence(Vec::new())).await;
    let small = Lab::at("127.0.0.3:0".parse().unwrap(), |_| Answer::Bytes(http("200 OK", &[], "x").into_bytes())).await;
    let pace = PaceSettings { concurrency: 4, ..home().pace };
    let rig = Arc::new(Rig::of(Settings { pace, ..settings(&["127.0.0.1/32", "127.0.0.3/32"]) }));
    let mut asking = JoinSet::new();
    for number in 0..10_000 {
        let (rig, url) = (Arc::clone(&rig), big.url(&format!("/{number}")));
        asking.spawn(async move { rig.send(&get(&url)).await.unwrap_err() });
    }
    // Four are asked and two wait; all others are told at once when to come back, and each a little later.
    let mut waits = Vec::new();
    while waits.len() < 10_000 - 6 {
        let failure = asking.join_next().await.unwrap().unwrap();
        assert_eq!((failure.code, failure.status), ("fetch.host-busy", Status::RETRY), "{failure:?}");
        waits.push(failure.retry_after.unwrap());
    }
    until(|| big.connections() == 4).await;
    assert!(rig.send(&get(&small.url("/"))).await.is_ok());
    assert_eq!((big.connections(), big.connections_at_most()), (4, 4));
    assert_eq!(rig.counted().outcome("host-busy"), 10_000 - 6);
    let (first, last) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*first >= Duration::from_secs(1) && *last > Duration::from_secs(2_000), "{first:?} to {last:?}");
    assert!(*last <= Duration::from_secs(3_600), "{last:?}");

    // Whoever is taken back makes room.
    drop(asking);
    until(|| rig.counted().outcome("cancelled") == 6).await;
    until(|| big.connections_now() == 0).await;
}

#[tokio::test]
async fn s21_a_server_that_wants_to_be_left_alone_is_left_alone_by_all() {
    for (status, header, least) in [
        ("429 Too Many Requests", "Retry-After: 600", 500),
        ("503 Service Unavailable", "Retry-After: 1000000000", 86_300),
        ("429 Too Many Requests", "Retry-After: Thu, 01 Jan 2099 00:00:00 GMT", 86_300),
    ] {
        let lab = Lab::always(http(status, &[header], "")).await;
        let rig = Rig::new();
        let first = rig.failure(&lab.url("/a")).await;
        check(&first, &format!("fetch.status retry: Server reported status error: {status}"));
        let later = rig.failure(&lab.url("/b")).await;
        check(&later, "fetch.host-busy retry: 127.0.0.1 is left alone for ");
        let wait = later.retry_after.unwrap().as_secs();
        assert!((least..=86_400).contains(&wait), "{header}: {wait}");
        assert_eq!(trace(&later).status, None);
        assert_eq!(lab.connections(), 1);
    }
}

#[tokio::test]
async fn s21_a_wait_that_is_over_or_no_wait_at_all_keeps_nobody_away() {
    for header in ["Retry-After: 0", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After: soon", "X-None: 1"] {
        let lab = Lab::always(http("503 Service Unavailable", &[header], "")).await;
        let rig = Rig::of(home());
        for _ in 0..2 {
            check(&rig.failure(&lab.url("/")).await, "fetch.status retry");
        }
        assert_eq!(lab.connections(), 2, "{header}");
    }
}
