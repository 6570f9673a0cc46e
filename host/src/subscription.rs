//! The workers on a queue: how each is to be run, and which notifications it asks for.

use std::borrow::Cow;
use std::sync::Mutex;
use std::time::Duration;

use crate::catalog::LoadedWorker;
use crate::gate::Gate;
use crate::guard::Watched;
use crate::notification::Notification;
use crate::retry::RetryPolicy;

/// A worker that takes part, and how it is to be run.
pub struct Member {
    /// The code.
    pub worker: LoadedWorker,
    /// The routing keys it wants; empty for all.
    pub routing_keys: Vec<String>,
    /// The operations it wants; empty for all.
    pub operations: Vec<String>,
    /// How often a run of it is tried.
    pub retry: RetryPolicy,
    /// How long one attempt may take.
    pub deadline: Duration,
    /// Its part of the keys of its runs in the journal.
    pub key: u64,
    /// Whether a burst of notifications about the same becomes one run on the newest.
    pub coalesces: bool,
    /// Whether it wants to hear how the runs of others ended.
    pub hears_outcomes: bool,
    /// What it looks at and what it writes.
    pub watched: Watched,
    /// Holds it back while CKAN refuses it.
    pub gate: Gate,
    /// Held during a call, if its calls must come one after another.
    pub serial: Option<Mutex<()>>,
}

impl Member {
    /// Why this worker is not to be run on a notification; `None` if it is.
    pub fn declines(&self, notification: &Notification, only: Option<&str>) -> Option<Cow<'static, str>> {
        if only.is_some_and(|only| only != self.worker.name()) {
            return Some("addressed to another worker".into());
        }
        let (routing_key, operation) = (notification.routing_key(), notification.operation());
        if !self.routing_keys.is_empty() && !self.routing_keys.iter().any(|wanted| wanted == routing_key) {
            return Some(format!("does not ask for {routing_key}").into());
        }
        if !self.operations.is_empty() && !self.operations.iter().any(|wanted| wanted == operation) {
            return Some(format!("does not ask for {operation}").into());
        }
        None
    }
}
