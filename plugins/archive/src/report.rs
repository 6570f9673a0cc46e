//! What is logged: a line for each resource that was looked at, and one for the dataset.

use ckan_worker_plugin::prelude::*;

use crate::address::without_secrets;
use crate::dataset::{Dataset, Resource};
use crate::finding::Finding;
use crate::record::Record;
use crate::status::{Status, clean};

/// How many resources of a dataset came to what.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    archived: usize,
    broken: usize,
    /// Those that were not fetched by choice.
    pub not_kept: usize,
    /// Those whose servers asked to come back later.
    pub postponed: usize,
    /// Those that CKAN was told about.
    pub told: usize,
}

impl Summary {
    /// Counts a resource that was looked at.
    pub fn count(&mut self, record: &Record) {
        match record.is_broken {
            Some(false) => self.archived += 1,
            Some(true) => self.broken += 1,
            None => self.not_kept += 1,
        }
    }

    /// Logs the line for the dataset.
    pub fn log(&self, dataset: &Dataset, host: &Host<'_>) {
        let Self { archived, broken, not_kept, postponed, told } = self;
        let message = format!(
            "dataset {}: {archived} archived, {broken} broken, {not_kept} not kept, {postponed} postponed, \
             {told} written back",
            name(dataset)
        );
        let count = |number: &usize| number.to_string();
        host.log(
            Level::Info,
            &message,
            &[
                ("package", &dataset.id),
                ("archived", &count(archived)),
                ("broken", &count(broken)),
                ("not_kept", &count(not_kept)),
                ("postponed", &count(postponed)),
                ("written_back", &count(told)),
            ],
        );
    }
}

/// Logs that the copies of a dataset were removed.
pub fn withdrawn(dataset: &Dataset, resources: usize, host: &Host<'_>) {
    let message = format!("dataset {} is private: removed what was kept of it, resources: {resources}", name(dataset));
    host.log(Level::Info, &message, &[("package", &dataset.id), ("removed", &resources.to_string())]);
}

fn name(dataset: &Dataset) -> String {
    clean(if dataset.name.is_empty() { &dataset.id } else { &dataset.name })
}

/// Logs what was found.
pub fn found(resource: &Resource, record: &Record, finding: &Finding, host: &Host<'_>) {
    let mut line = Line::about(resource, finding.status.text(), &finding.reason);
    line.status_id = finding.status.id().to_string();
    line.redirected_to = finding.redirected_to.clone().unwrap_or_default();
    if let Some(copy) = &finding.copy {
        line.bytes = copy.bytes.to_string();
        line.mimetype.clone_from(&copy.mimetype);
        line.sha256.clone_from(&copy.sha256);
    }
    let is_fine = record.is_broken == Some(false) && finding.reason.is_empty();
    line.log(if is_fine { Level::Info } else { Level::Warn }, host);
}

/// Logs that a resource is not fetched at all.
pub fn refused(resource: &Resource, reason: &str, host: &Host<'_>) {
    let mut line = Line::about(resource, Status::ChoseNotToDownload.text(), reason);
    line.status_id = Status::ChoseNotToDownload.id().to_string();
    line.log(Level::Info, host);
}

/// Logs that a server asked to come back later. That is no status: the record stays as it was.
pub fn postponed(resource: &Resource, error: &Error, host: &Host<'_>) {
    Line::about(resource, "Postponed", error.message()).log(Level::Warn, host);
}

/// The fields of a line; those that are not known are empty.
struct Line {
    resource: String,
    name: String,
    status_id: String,
    status: String,
    reason: String,
    bytes: String,
    mimetype: String,
    sha256: String,
    url: String,
    redirected_to: String,
    declared: String,
}

impl Line {
    fn about(resource: &Resource, status: &str, reason: &str) -> Self {
        Self {
            resource: clean(&resource.id),
            name: clean(resource.name()),
            status_id: String::new(),
            status: status.to_owned(),
            reason: clean(reason),
            bytes: String::new(),
            mimetype: String::new(),
            sha256: String::new(),
            url: clean(&without_secrets(resource.url())),
            redirected_to: String::new(),
            declared: clean(resource.declared()),
        }
    }

    fn log(&self, level: Level, host: &Host<'_>) {
        let mut message = format!("{}: {}", self.name, self.status);
        if !self.reason.is_empty() {
            message = format!("{message}: {}", self.reason);
        }
        host.log(
            level,
            &message,
            &[
                ("resource", &self.resource),
                ("name", &self.name),
                ("status_id", &self.status_id),
                ("status", &self.status),
                ("reason", &self.reason),
                ("bytes", &self.bytes),
                ("mimetype", &self.mimetype),
                ("sha256", &self.sha256),
                ("url", &self.url),
                ("redirected_to", &self.redirected_to),
                ("declared", &self.declared),
            ],
        );
    }
}
