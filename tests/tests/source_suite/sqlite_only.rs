//! What only a file can be asked.

use std::fs;
use std::path::Path;
use std::sync::Barrier;

use ckan_worker::source::{self, Address, Message, SourceError};

use crate::lab::{Lab, bodies, message, runtime};

#[test]
fn one_class_is_taken_and_the_others_are_left_for_others() {
    let mut lab = Lab::sqlite().unwrap();
    runtime().block_on(async {
        let publisher = lab.publisher();
        for (routing_key, body) in [("Package", "p1"), ("Resource", "r1"), ("Package", "p2"), ("Resource", "r2")] {
            let message = Message { routing_key: routing_key.to_owned(), ..message(body.as_bytes()) };
            publisher.publish(message).await.unwrap();
        }
        lab.settings.routing_key = "Resource".to_owned();
        let mut resources = lab.open(4);
        assert_eq!(resources.source.depth().await.unwrap(), 2);
        let taken = resources.take(2).await;
        assert_eq!(bodies(&taken), ["r1", "r2"]);
        resources.settle(taken);
        resources.depth_becomes(0).await;
        lab.settings.routing_key = "*".to_owned();
        let mut rest = lab.open(4);
        assert_eq!(bodies(&rest.take(2).await), ["p1", "p2"]);
        rest.close().await;
        resources.close().await;
    });
}

#[test]
fn a_way_in_that_goes_leaves_what_others_have_in_hand() {
    let lab = Lab::sqlite().unwrap();
    runtime().block_on(async {
        lab.publish(["1", "2"]).await;
        let mut consumer = lab.open(2);
        let taken = consumer.take(2).await;
        // Opened and closed while another in this process has messages in hand.
        lab.publish(["3"]).await;
        lab.open(1).close().await;
        let mut other = lab.open(3);
        let third = other.take(1).await;
        assert_eq!(bodies(&third), ["3"]);
        other.settle(third);
        consumer.settle(taken);
        other.depth_becomes(0).await;
        consumer.depth_becomes(0).await;
        other.close().await;
        consumer.close().await;
    });
}

#[test]
fn many_make_the_same_file_at_once() {
    let lab = Lab::sqlite().unwrap();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let runtime = runtime();
                start.wait();
                runtime.block_on(lab.publish(["1"]));
            });
        }
    });
    assert_eq!(runtime().block_on(source::look(&lab.settings)).unwrap(), Some(8));
}

/// A file that cannot be a queue is refused in these words and left as it is.
#[track_caller]
fn refused(path: &Path, expected: &str) {
    let mut lab = Lab::sqlite().unwrap();
    lab.settings.address = Address::Sqlite(path.to_owned());
    let before = fs::read(path).ok();
    let error = source::open(&lab.settings, 1).err().expect("it is refused");
    assert!(matches!(error, SourceError::Unusable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(expected) && text.contains(&path.display().to_string()), "{text}");
    assert_eq!(fs::read(path).ok(), before);
}

#[test]
fn what_cannot_be_a_queue_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = dir.path().join("garbage");
    fs::write(&garbage, "this is a letter to my grandmother ".repeat(100)).unwrap();
    refused(&garbage, "is no queue or is damaged");
    refused(dir.path(), "must be writable");
    refused(&garbage.join("queue.db"), "cannot make the folder");
}
