//! What is logged: a line for each resource that was looked at, and one for the dataset.

use ckan_worker_plugin::prelude::*;

use crate::address::without_secrets;
use crate::dataset::{Dataset, Resource};
use crate::finding::{Copied, Finding, Got};
use crate::record::Record;
use crate::status::Status;

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

    /// Whether anything was found out.
    pub fn has_progress(&self) -> bool {
        self.archived + self.broken + self.not_kept > 0
    }

    /// Logs the line for the dataset.
    pub fn log(&self, dataset: &Dataset, host: Host<'_>) {
        let Self { archived, broken, not_kept, postponed, told } = self;
        let message = format!(
            "dataset {}: {archived} archived, {broken} broken, {not_kept} not kept, {postponed} postponed, \
             {told} written back",
            dataset.title()
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
pub fn withdrawn(dataset: &Dataset, resources: usize, host: Host<'_>) {
    let title = dataset.title();
    let message = format!("dataset {title} is private: removed what was kept of it, resources: {resources}");
    host.log(Level::Info, &message, &[("package", &dataset.id), ("removed", &resources.to_string())]);
}

/// Logs that resources were deleted in CKAN.
pub fn buried(title: &str, id: &str, resources: usize, host: Host<'_>) {
    let message = format!("dataset {}: resources that were deleted: {resources}", one_line(title));
    host.log(Level::Info, &message, &[("package", &one_line(id)), ("deleted", &resources.to_string())]);
}

/// Logs that CKAN did not take what was found.
pub fn not_stored(dataset: &Dataset, reason: &str, host: Host<'_>) {
    let message = format!("dataset {}: {reason}", dataset.title());
    host.log(Level::Warn, &message, &[("package", &dataset.id)]);
}

/// Logs what was found.
pub fn found(resource: &Resource, record: &Record, finding: &Finding, host: Host<'_>) {
    let mut line = Line::about(resource, finding.status.text(), &finding.reason);
    line.status_id = finding.status.id().to_string();
    line.redirected_to = finding.way.redirected_to.clone().unwrap_or_default();
    match &finding.got {
        Got::Nothing => {}
        Got::Copy(copy) => line.take_copy(copy),
        Got::SameCopy { .. } => line.take_record(record),
        Got::Head(seen) => line.take(seen.bytes, seen.mimetype.as_ref()),
    }
    let is_told = matches!(finding.got, Got::Copy(_) | Got::SameCopy { .. }) && !finding.reason.is_empty();
    let is_fine = record.is_broken == Some(false) && !is_told;
    line.log(if is_fine { Level::Info } else { Level::Warn }, host);
}

/// Logs that a resource is not fetched at all.
pub fn refused(resource: &Resource, reason: &str, host: Host<'_>) {
    let mut line = Line::about(resource, Status::ChoseNotToDownload.text(), reason);
    line.status_id = Status::ChoseNotToDownload.id().to_string();
    line.log(Level::Info, host);
}

/// Logs that a server asked to come back later. That is no status: the record stays as it was.
pub fn postponed(resource: &Resource, error: &Error, host: Host<'_>) {
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
            resource: one_line(&resource.id),
            name: one_line(resource.name()),
            status_id: String::new(),
            status: status.to_owned(),
            reason: one_line(reason),
            bytes: String::new(),
            mimetype: String::new(),
            sha256: String::new(),
            url: one_line(&without_secrets(resource.url())),
            redirected_to: String::new(),
            declared: one_line(resource.declared()),
        }
    }

    fn take(&mut self, bytes: Option<u64>, mimetype: Option<&String>) {
        self.bytes = bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        self.mimetype = mimetype.map(|kind| one_line(kind)).unwrap_or_default();
    }

    fn take_copy(&mut self, copy: &Copied) {
        self.take(copy.seen.bytes, copy.seen.mimetype.as_ref());
        self.take_hash(Some(&copy.hash_algorithm), Some(&copy.hash));
    }

    fn take_record(&mut self, record: &Record) {
        self.take(record.size, record.mimetype.as_ref());
        self.take_hash(record.hash_algorithm.as_ref(), record.hash.as_ref());
    }

    fn take_hash(&mut self, algorithm: Option<&String>, hash: Option<&String>) {
        if let (Some("sha256"), Some(hash)) = (algorithm.map(String::as_str), hash) {
            self.sha256.clone_from(hash);
        }
    }

    fn log(&self, level: Level, host: Host<'_>) {
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
