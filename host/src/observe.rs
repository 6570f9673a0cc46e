//! What is told of the work: to whoever embeds the host, and to the log.

use std::fmt;
use std::time::Duration;

use ckan_worker_plugin::Level;

use crate::delivery::DeliveryId;

/// Is told what happens. Called from the threads that work: be quick.
pub trait Observer: Send + Sync {
    /// A run has ended.
    fn run_ended(&self, run: &RunEnded<'_>) {
        let _ = run;
    }

    /// In a dry run, a write to CKAN was not sent: the action and its parameters, or for what workers noted
    /// `{"id": …, "changes": [{"resource", "field", "from", "to"}]}`.
    fn would_write(&self, action: &str, parameters: &serde_json::Value) {
        let _ = (action, parameters);
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
    pub delivery: &'a DeliveryId,
    /// The class of what changed.
    pub routing_key: &'a str,
    /// What happened to it.
    pub operation: &'a str,
    /// Its id, if it has one.
    pub entity_id: Option<&'a str>,
    /// `done`, `skipped`, `superseded`, `retry`, `dead` or `interrupted`.
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

/// Writes the one line about a run, at its end.
pub fn log_run(run: &RunEnded<'_>) {
    let RunEnded { worker, delivery, routing_key, operation, entity_id, outcome, message, attempts, duration } = *run;
    let (entity, duration_ms) = (entity_id.unwrap_or("without id"), duration.as_millis());
    match outcome {
        "dead" => tracing::warn!(
            worker, %delivery, outcome, attempts, duration_ms,
            "{worker} gave up on {routing_key} {operation} {entity}: {message}"
        ),
        "retry" => tracing::info!(
            worker, %delivery, outcome, attempts, duration_ms,
            "{worker} will retry {routing_key} {operation} {entity}: {message}"
        ),
        "interrupted" => tracing::info!(
            worker, %delivery, outcome, attempts, duration_ms,
            "{worker} was interrupted in {routing_key} {operation} {entity}; it comes back"
        ),
        _ => tracing::debug!(
            worker, %delivery, outcome, attempts, duration_ms,
            "{worker} {outcome} {routing_key} {operation} {entity} {message}"
        ),
    }
}

/// Writes a worker's line to the host's own log, with the worker and the delivery beside it.
pub fn log(line: &LogLine<'_>) {
    let LogLine { worker, delivery, message, .. } = *line;
    // An empty column would only be in the way.
    let fields = (!line.fields.is_empty()).then(|| Fields(line.fields).to_string());
    let fields = fields.as_deref();
    match line.level {
        Level::Error => tracing::error!(target: "worker", worker, delivery, fields, "{message}"),
        Level::Warn => tracing::warn!(target: "worker", worker, delivery, fields, "{message}"),
        Level::Info => tracing::info!(target: "worker", worker, delivery, fields, "{message}"),
        Level::Debug => tracing::debug!(target: "worker", worker, delivery, fields, "{message}"),
        Level::Trace => tracing::trace!(target: "worker", worker, delivery, fields, "{message}"),
    }
}

struct Fields<'a>(&'a [(&'a str, &'a str)]);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            write!(formatter, "{key}={value:?}")?;
        }
        Ok(())
    }
}
