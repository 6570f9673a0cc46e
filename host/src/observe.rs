//! What is told of the work: to whoever embeds the host, and to the log.

use std::time::Duration;

use ckan_worker_plugin::Level;

/// Is told what happens. Called from the threads that work: be quick.
pub trait Observer: Send + Sync {
    /// A run has ended.
    fn run_ended(&self, run: &RunEnded<'_>) {
        let _ = run;
    }

    /// A worker has logged a line.
    fn logged(&self, line: &LogLine<'_>) {
        let _ = line;
    }
}

/// How one worker's run on one delivery ended.
#[derive(Debug, Clone, Copy)]
pub struct RunEnded<'a> {
    /// The worker.
    pub worker: &'a str,
    /// The delivery.
    pub delivery: &'a str,
    /// The class of what changed.
    pub routing_key: &'a str,
    /// What happened to it.
    pub operation: &'a str,
    /// Its id, if it has one.
    pub entity_id: Option<&'a str>,
    /// `done`, `skipped` or `dead`.
    pub outcome: &'static str,
    /// Why it was skipped, or the error.
    pub message: &'a str,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took, all attempts together.
    pub duration: Duration,
}

/// A line that a worker logged.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// The worker.
    pub worker: &'a str,
    /// The delivery it is about; `None` while the worker is made.
    pub delivery: Option<&'a str>,
    /// How much it matters.
    pub level: Level,
    /// The line.
    pub message: &'a str,
    /// Named texts beside it.
    pub fields: &'a [(&'a str, &'a str)],
}
