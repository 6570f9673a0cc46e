//! What is left on the disk: S20.

use std::path::{Path, PathBuf};

use ckan_worker::services::fetch::{Fetcher, Room};

use crate::lab::{Answer, Lab};
use crate::rig::{Rig, check, files, get, home, until};
use crate::{child, lab};

fn half_a_file() -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n".to_vec(), vec![b'x'; 300_000]].concat()
}

fn rooms(parent: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn s20_what_a_killed_worker_was_fetching_is_gone_after_the_next_start() {
    if let Some(task) = child::task() {
        return fetch_for_ever(&task).await;
    }
    let parent = tempfile::tempdir().unwrap();
    let lab = Lab::new(|_| Answer::ThenSilence(half_a_file())).await;
    let task = format!("{} {}", parent.path().display(), lab.url("/"));
    let test = "leftovers::s20_what_a_killed_worker_was_fetching_is_gone_after_the_next_start";
    let (mut child, mut lines) = child::start(test, &task, &[]);
    assert_eq!(child::told(&mut lines).await.as_deref(), Some("there is a file"));
    let room = rooms(parent.path()).pop().unwrap();

    // A second worker that starts now leaves the first one's files alone.
    drop(Room::new(parent.path()).unwrap());
    assert!(files(&room) > 1);

    child.kill().await.unwrap();
    assert!(files(&room) > 1, "nobody is left who could have deleted it");
    let orphan = room.join("fetch-orphan");
    std::fs::write(&orphan, "").unwrap();
    for number in 0..10_000 {
        std::fs::hard_link(&orphan, room.join(format!("fetch-{number}"))).unwrap();
    }
    let next = Room::new(parent.path()).unwrap();
    assert_eq!(rooms(parent.path()), [next.path()]);
}

/// The child: fetches a file that never ends into a room, and says so when the file is there.
async fn fetch_for_ever(task: &str) {
    let (parent, url) = task.split_once(' ').unwrap();
    let room = Room::new(Path::new(parent)).unwrap();
    let fetcher = Fetcher::new(home()).unwrap();
    let there_is_a_file = async {
        until(|| files(room.path()) == 2).await;
        child::tell("there is a file");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = fetcher.fetch(url, 1_000_000, room.path()) => panic!("{answer:?}"),
        () = there_is_a_file => {}
    }
}

#[tokio::test]
async fn s20_a_request_that_is_taken_back_leaves_no_file_and_no_connection() {
    let lab = Lab::new(|_| Answer::ThenSilence(half_a_file())).await;
    let rig = Rig::new();
    let request = get(&lab.url("/"));
    tokio::select! {
        answer = rig.send(&request) => panic!("{answer:?}"),
        () = until(|| files(rig.dir.path()) == 1) => {}
    }
    until(|| files(rig.dir.path()) == 0 && lab.connections_now() == 0).await;
    assert_eq!(rig.counted().outcome("cancelled"), 1);
}

#[tokio::test]
async fn s20_a_disk_that_takes_nothing_is_tried_again_later() {
    let lab = Lab::always(lab::http("200 OK", &[], "x")).await;
    let rig = Rig::new();
    let missing = rig.dir.path().join("missing");
    let failure = rig.fetcher.fetch(&lab.url("/"), 10, &missing).await.unwrap_err();
    check(&failure, "fetch.disk retry: cannot write to ");
    assert_eq!(rig.counted().outcome("disk"), 1);
}
