//! Remembers the way a request takes, so that an answer and a failure can tell it.

use std::time::Instant;

use ckan_worker_plugin::{Redirect, Trace};
use serde_json::{Map, Value};
use url::Url;

use super::link::masked;
use crate::services::Failure;

/// How far a request has come.
pub(super) struct Way {
    start: Url,
    url: Url,
    redirects: Vec<Redirect>,
    status: Option<u16>,
    begun: Instant,
}

impl Way {
    pub fn begin(start: &Url) -> Self {
        let (start, url) = (start.clone(), start.clone());
        Self { start, url, redirects: Vec::new(), status: None, begun: Instant::now() }
    }

    /// Goes back to the beginning, to ask in another manner; the clock goes on.
    pub fn restart(&mut self) {
        self.url = self.start.clone();
        self.redirects.clear();
        self.status = None;
    }

    /// The address that is asked now.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How many redirects were followed.
    pub fn redirects(&self) -> usize {
        self.redirects.len()
    }

    /// Notes what was answered.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// Goes where a redirect leads; nothing has been answered there yet.
    pub fn go_on(&mut self, next: Url) {
        let status = self.status.take().unwrap_or_default();
        self.redirects.push(Redirect { status, url: masked(&next) });
        self.url = next;
    }

    /// All of it, as it crosses the border.
    pub fn trace(&self) -> Trace {
        Trace {
            url: masked(&self.url),
            redirects: self.redirects.clone(),
            status: self.status,
            duration_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Puts the way beside what a failure says already.
    pub fn explain(&self, mut failure: Failure) -> Failure {
        let mut detail: Map<String, Value> = serde_json::from_str(&failure.detail).unwrap_or_default();
        if let Ok(Value::Object(trace)) = serde_json::to_value(self.trace()) {
            detail.extend(trace);
        }
        failure.detail = Value::Object(detail).to_string();
        failure
    }
}
