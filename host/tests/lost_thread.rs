//! A panic in the host itself, on a thread that runs workers. Alone in its file: it breaks the log of the whole process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "each test file uses its own part of the workshop")]
mod workshop;

use ckan_worker::app::AppError;
use ckan_worker::dispatch::DispatchError;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use workshop::{Script, Workshop, notification, until_empty};

/// A log that panics on the threads that run workers.
struct Broken;

impl Subscriber for Broken {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let is_gone =
            event.metadata().target().contains("observe") && std::thread::current().name() == Some("worker-run");
        assert!(!is_gone, "the log is gone");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_lost_thread_ends_the_work_and_what_it_had_in_hand_comes_back() {
    tracing::subscriber::set_global_default(Broken).unwrap();
    let workshop = Workshop::with_short_times(&[("concurrency", "1")]);
    workshop.publish([notification("1", "permanent")]);
    let error = until_empty(workshop.app().linked_in::<Script>("first")).unwrap_err();
    assert!(matches!(error, AppError::Dispatch(DispatchError::ThreadLost)), "{error}");
    assert_eq!((workshop.left(), workshop.letters().len()), (1, 0));
}
