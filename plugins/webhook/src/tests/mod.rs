//! The worker from the side of its targets.

mod events;
mod example;
mod filters;
mod posts;
mod record;
mod settings;

use std::collections::BTreeMap;

use ckan_worker_plugin::prelude::*;
use ckan_worker_testing::{Bench, Event, PACKAGE_ID, RESOURCE_ID, Sent, resource_changed};

use crate::Webhook;

const SECRET: &str = "canary-secret-of-the-targets";
const ONE: &str = "http://one.example/in";
const TWO: &str = "http://two.example/in";

/// A portal, targets that take everything, and a worker.
struct Rig {
    bench: Bench,
    webhook: Webhook,
}

impl Rig {
    fn new(targets: &str) -> Self {
        let bench = Bench::default();
        bench.web(ONE).status(202);
        bench.web(TWO).status(204);
        let settings = json!({ "source": "https://data.example", "targets": targets, "secret": SECRET });
        let webhook = bench.create(settings).unwrap();
        Self { bench, webhook }
    }

    fn run(&self, event: Event) -> Result<Outcome> {
        self.bench.consume(&self.webhook, event)
    }

    /// The only post so far.
    #[track_caller]
    fn posted(&self) -> Sent {
        let mut sent = self.bench.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Where was posted to so far.
    fn asked(&self) -> Vec<String> {
        self.bench.sent().into_iter().map(|sent| sent.url).collect()
    }
}

/// The dataset has changed, and its payload says that it is public.
fn published() -> Event {
    changed(json!({ "private": false, "state": "active" }))
}

/// The dataset has changed, with these fields beside its id.
fn changed(fields: Value) -> Event {
    let mut payload = json!({ "id": PACKAGE_ID });
    payload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Event::new("Package", "changed", payload.to_string())
}

fn headers(sent: &Sent) -> BTreeMap<String, String> {
    sent.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect()
}

fn body(sent: &Sent) -> Value {
    serde_json::from_slice(&sent.body).unwrap()
}

fn done() -> Result<Outcome> {
    Ok(Outcome::Done)
}

fn for_nobody() -> Result<Outcome> {
    Ok(Outcome::skipped("no target asks for it: it is not known to be public, or of another organization"))
}
