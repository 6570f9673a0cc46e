//! Which calls to CKAN are made again, how many go on at once, and what is said of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod lab;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ckan_worker::services::ckan::{Client, Ended, Kind, Settings};
use lab::{Answer, Lab, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

const DONE: &str = r#"{"success": true, "result": {"id": "x"}}"#;
const BUSY: &str = "503 Service Unavailable";

fn client(url: &str) -> Client {
    Client::new(Settings { site_url: Some(url.parse().unwrap()), ..Settings::default() }).unwrap()
}

/// Answers so many requests with a status, and every later one with success.
async fn lab(failures: usize, status: &'static str, headers: &'static [&'static str]) -> Lab {
    let seen = AtomicUsize::new(0);
    Lab::new(move |_| {
        let is_first = seen.fetch_add(1, Ordering::SeqCst) < failures;
        let answer = if is_first { http(status, headers, "<h1>Sorry</h1>") } else { http("200 OK", &[], DONE) };
        Answer::Bytes(answer.into_bytes())
    })
    .await
}

#[tokio::test]
async fn a_read_is_asked_again() {
    let lab = lab(2, BUSY, &[]).await;
    let client = client(&lab.url(""));
    client.get("package_show", br#"{"id": "x"}"#).await.unwrap();
    assert_eq!(lab.requests().len(), 3);
    let counted = client.counted();
    assert_eq!(counted.calls, [(Kind::Read, Ended::Done, 1)]);
    assert_eq!(counted.repeated, 2);
}

#[tokio::test]
async fn a_write_that_leaves_the_same_behind_is_sent_again_in_full() {
    let lab = lab(1, "500 Internal Server Error", &[]).await;
    client(&lab.url("")).action("resource_patch", r#"{"id":"r","hash":"h"}"#).await.unwrap();
    let requests = lab.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.ends_with(r#"{"id":"r","hash":"h"}"#)), "{requests:?}");
}

#[tokio::test]
async fn a_create_is_never_sent_twice() {
    for (status, code) in [(BUSY, "ckan.unavailable"), ("500 Internal Server Error", "ckan.server")] {
        for (name, body) in [
            ("package_create", r#"{"name": "x"}"#),
            ("resource_create", r#"{"id": "known-before"}"#),
            ("package_revise", r#"{"match__id": "x", "update__resources__extend": [{}]}"#),
            ("datastore_upsert", r#"{"method": "insert"}"#),
            ("some_extensions_action", "{}"),
        ] {
            let lab = lab(9, status, &[]).await;
            let failure = client(&lab.url("")).action(name, body).await.unwrap_err();
            assert_eq!((failure.code, lab.requests().len()), (code, 1), "{name} {status}");
        }
    }
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_not_sent_again() {
    let lab = Lab::new(|_| Answer::Bytes(Vec::new())).await;
    let failure = client(&lab.url("")).action("package_create", "{}").await.unwrap_err();
    assert_eq!((failure.code, lab.requests().len()), ("ckan.unavailable", 1));
}

#[tokio::test]
async fn three_tries_are_enough() {
    // CKAN answers some requests with a 500 for good.
    for (status, code) in [(BUSY, "ckan.unavailable"), ("500 Internal Server Error", "ckan.server")] {
        let lab = lab(9, status, &[]).await;
        let failure = client(&lab.url("")).get("package_show", b"").await.unwrap_err();
        assert_eq!((failure.code, lab.requests().len()), (code, 3));
    }
}

#[tokio::test]
async fn what_ckan_refuses_is_not_asked_again() {
    for (status, code) in [("403 Forbidden", "ckan.not-authorized"), ("405 Method Not Allowed", "ckan.config")] {
        let lab = lab(9, status, &[]).await;
        let failure = client(&lab.url("")).get("package_show", b"").await.unwrap_err();
        assert_eq!((failure.code, lab.requests().len()), (code, 1));
    }
}

#[tokio::test]
async fn a_short_wait_that_the_portal_asks_for_is_kept_and_a_long_one_handed_up() {
    let short = lab(1, "429 Too Many Requests", &["Retry-After: 1"]).await;
    let began = std::time::Instant::now();
    client(&short.url("")).action("package_create", "{}").await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));

    let long = lab(1, "429 Too Many Requests", &["Retry-After: 6"]).await;
    let failure = client(&long.url("")).get("package_show", b"").await.unwrap_err();
    assert_eq!((failure.code, failure.retry_after), ("ckan.rate-limited", Some(Duration::from_secs(6))));
    assert_eq!(long.requests().len(), 1);
}

#[tokio::test]
async fn while_ckan_is_away_a_call_is_let_through_and_knocks_once() {
    let lab = lab(6, BUSY, &[]).await;
    let client = client(&lab.url(""));
    for _ in 0..5 {
        client.action("package_create", "{}").await.unwrap_err();
    }
    assert!(client.breaker().is_open());
    client.get("package_show", b"").await.unwrap_err();
    assert_eq!(lab.requests().len(), 6);
    client.get("package_show", b"").await.unwrap();
    assert!(!client.breaker().is_open());
}

#[tokio::test]
async fn a_write_says_who_it_comes_from() {
    let lab = lab(0, "", &[]).await;
    let client = client(&lab.url(""));
    client.action_as(Some("host-1;archive;hop=2"), "package_patch", "{}").await.unwrap();
    client.action_as(Some("host-1;archive;hop=2"), "package_show", "{}").await.unwrap();
    client.action("package_patch", "{}").await.unwrap();
    let said: Vec<bool> =
        lab.requests().iter().map(|one| one.contains("\r\nx-ckan-worker-origin: host-1;archive;hop=2\r\n")).collect();
    assert_eq!(said, [true, false, false]);
    assert!(!lab.requests()[2].contains("origin"));
}

/// A portal that answers when it is told to: it says when a request has come, and waits for a permit to answer it.
struct Held {
    url: String,
    arrived: mpsc::UnboundedReceiver<String>,
    answers: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Held {
    async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (arrival, arrived) = mpsc::unbounded_channel();
        let (answers, most, now) = (Arc::new(Semaphore::new(0)), Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (permits, peak) = (Arc::clone(&answers), Arc::clone(&most));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (arrival, permits) = (arrival.clone(), Arc::clone(&permits));
                let (peak, now): (Arc<AtomicUsize>, _) = (Arc::clone(&peak), Arc::clone(&now));
                connections.spawn(async move {
                    let mut bytes = vec![0; 4096];
                    let read = stream.read(&mut bytes).await.unwrap();
                    let request = String::from_utf8_lossy(&bytes[..read]).into_owned();
                    let is_write = !request.contains("_show");
                    if is_write {
                        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    }
                    arrival.send(request).unwrap();
                    if is_write {
                        permits.acquire().await.unwrap().forget();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                    stream.write_all(http("200 OK", &[], DONE).as_bytes()).await.unwrap();
                });
            }
        });
        Self { url, arrived, answers, most, _tasks: tasks }
    }
}

#[tokio::test]
async fn at_most_four_writes_go_on_at_once() {
    let mut portal = Held::new().await;
    let client = Arc::new(client(&portal.url));
    let mut calls = JoinSet::new();
    for name in ["package_patch", "package_create", "resource_patch", "task_status_update", "package_revise"].repeat(2)
    {
        let client = Arc::clone(&client);
        calls.spawn(async move { client.action(name, "{}").await });
    }
    for _ in 0..4 {
        portal.arrived.recv().await.unwrap();
    }
    // All four places are taken; a read needs none.
    client.get("package_show", b"").await.unwrap();
    assert!(portal.arrived.recv().await.unwrap().contains("package_show"));

    portal.answers.add_permits(10);
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
    assert_eq!(portal.most.load(Ordering::SeqCst), 4);
}
