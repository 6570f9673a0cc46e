//! What is logged: a line for each resource that was looked at, and one for the dataset.

use ckan_worker_plugin::prelude::*;

use crate::dataset::{Dataset, Resource};
use crate::record::Record;

/// What came of a dataset's resources.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Those that were looked at.
    pub scored: usize,
    /// Those that rest on what they rested on before.
    pub unchanged: usize,
    /// Those whose servers asked to come back later.
    pub postponed: usize,
    /// Those that cannot be scored, for their ids are none.
    pub refused: usize,
    /// Those that CKAN was told about.
    pub told: usize,
}

impl Summary {
    /// Logs the line for the dataset.
    pub fn log(&self, dataset: &Dataset, score: Option<u8>, host: &Host<'_>) {
        let Self { scored, unchanged, postponed, refused, told } = self;
        let score = score.map_or_else(|| "none".to_owned(), |score| score.to_string());
        let message = format!(
            "dataset {}: openness {score}; {scored} scored, {unchanged} unchanged, {postponed} postponed, {refused} \
             refused, {told} written back",
            one_line(dataset.name())
        );
        let count = |number: &usize| number.to_string();
        host.log(
            Level::Info,
            &message,
            &[
                ("package", &one_line(&dataset.id)),
                ("openness_score", &score),
                ("scored", &count(scored)),
                ("unchanged", &count(unchanged)),
                ("postponed", &count(postponed)),
                ("refused", &count(refused)),
                ("written_back", &count(told)),
            ],
        );
    }
}

/// Logs what a resource scores.
pub fn scored(resource: &Resource, record: &Record, host: &Host<'_>) {
    let score = record.openness_score.to_string();
    let message = format!("{}: openness {score}: {}", one_line(resource.name()), record.openness_score_reason);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    host.log(
        if record.rule == "broken" { Level::Warn } else { Level::Info },
        &message,
        &[
            ("resource", &one_line(&resource.id)),
            ("name", &one_line(resource.name())),
            ("openness_score", &score),
            ("reason", &record.openness_score_reason),
            ("format", &text(&record.format)),
            ("container", &text(&record.container)),
            ("rule", &record.rule),
            ("declared", &one_line(resource.declared())),
        ],
    );
}

/// Logs that a resource is not scored, and why.
pub fn not_scored(resource: &Resource, status: &str, reason: &str, host: &Host<'_>) {
    let (id, name, reason) = (one_line(&resource.id), one_line(resource.name()), one_line(reason));
    let fields = [("resource", id.as_str()), ("name", &name), ("status", status), ("reason", &reason)];
    host.log(Level::Warn, &format!("{name}: {status}: {reason}"), &fields);
}
