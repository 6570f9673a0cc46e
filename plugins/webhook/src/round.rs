//! One notification's way to all targets, and what becomes of its run.

use ckan_worker_plugin::Class;
use ckan_worker_plugin::prelude::*;

const FOR_NOBODY: &str = "no target asks for it: it is not known to be public, or of another organization";

/// What came of one notification at each target.
#[derive(Debug, Default)]
pub struct Round {
    arrived: Vec<String>,
    failed: Vec<Error>,
}

impl Round {
    /// Counts a target that has the event, by the id of the post.
    pub fn arrived(&mut self, id: String) {
        self.arrived.push(id);
    }

    /// Counts a target that does not have it.
    pub fn failed(&mut self, error: Error) {
        // One question to CKAN stands behind the filters of all targets: it is told once.
        if !self.failed.contains(&error) {
            self.failed.push(error);
        }
    }

    /// The ids of the posts that arrived.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.arrived.iter().map(String::as_str)
    }

    /// What becomes of the run: it has ended once every target has the event.
    ///
    /// # Errors
    /// A target does not have it. Trying again is of use if it is for one of them, and whoever asked to be left alone
    /// for longest is heeded.
    pub fn end(&self) -> Result<Outcome> {
        let Some(first) = self.failed.first() else {
            return Ok(if self.arrived.is_empty() { Outcome::skipped(FOR_NOBODY) } else { Outcome::done() });
        };
        let messages: Vec<&str> = self.failed.iter().map(Error::message).collect();
        let message = messages.join("; ");
        let may_pass = self.failed.iter().any(|error| error.class() == Class::Retryable);
        let error = if may_pass { Error::retryable(message) } else { Error::permanent(message) };
        let code = if self.failed.len() == 1 { first.code().to_owned() } else { "webhook.several".to_owned() };
        let error = error.with_code(code);
        Err(match self.failed.iter().filter_map(Error::delay).max() {
            Some(delay) => error.retry_after(delay),
            None => error,
        })
    }
}
