//! One look at one resource: fetch it, keep it, take down what was found.

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;

use crate::address::without_secrets;
use crate::dataset::{Dataset, Resource};
use crate::finding::{Copied, Finding};
use crate::name::safe_name;
use crate::record::Record;
use crate::report;
use crate::sniff::{Sniffed, sniff};
use crate::status::{Status, Verdict, verdict};
use crate::store::{Place, Store};

/// What came of a look.
pub enum Visit {
    /// Nothing that matters has changed since the last one.
    Unchanged(Record),
    /// This was found.
    Recorded(Record),
    /// The resource's id cannot be a path.
    Refused,
    /// The server asked to come back later.
    Postponed(Error),
}

/// Looks at a resource, if it is due.
///
/// # Errors
/// Those of the disk and of the host; a broken link is a result.
pub fn visit(store: &Store, bytes_max: u64, dataset: &Dataset, resource: &Resource, host: &Host<'_>) -> Result<Visit> {
    let Some(place) = store.place(&resource.id) else {
        report::refused(resource, "its id is neither a UUID nor a name", host);
        return Ok(Visit::Refused);
    };
    let record = match place.record()? {
        Some(record) if !record.is_due(&resource.inputs(), bytes_max) && has_its_copy(&place, &record) => {
            return Ok(Visit::Unchanged(record));
        }
        Some(record) => record,
        None => Record::new(&dataset.id, &resource.id, Timestamp::now()),
    };
    let look = Look { place, bytes_max, resource, host };
    match look.fetch(&record) {
        Ok(finding) => look.take_down(record, &finding),
        Err(error) => look.fail(record, error),
    }
}

/// One look at a resource that is due.
struct Look<'a> {
    place: Place,
    bytes_max: u64,
    resource: &'a Resource,
    host: &'a Host<'a>,
}

impl Look<'_> {
    /// Fetches the resource and keeps it.
    fn fetch(&self, record: &Record) -> Result<Finding> {
        let fetched = self.host.fetch(self.resource.url(), self.bytes_max)?;
        let redirected_to = (fetched.redirects > 0).then(|| without_secrets(&fetched.url));
        let redirect_is_permanent = fetched.permanent_redirect;
        let finding = match sniff(&fetched, self.resource.declared())? {
            Sniffed::Failure(reason) => Finding::without_copy(Status::DownloadError, &reason),
            Sniffed::Type { mimetype, remark } => self.keep(fetched, mimetype, &remark, record)?,
        };
        Ok(Finding { redirected_to, redirect_is_permanent, ..finding })
    }

    fn keep(&self, fetched: Fetched, mimetype: String, remark: &str, record: &Record) -> Result<Finding> {
        let name = safe_name(self.resource.url());
        let same = record.hash.as_ref() == Some(&fetched.sha256) && self.place.has(&name);
        let path = self.place.keep(&fetched.path, &name)?;
        let copy = Copied {
            path: path.to_string_lossy().into_owned(),
            bytes: fetched.bytes,
            mimetype,
            sha256: fetched.sha256,
            etag: fetched.etag,
            last_modified: fetched.last_modified,
        };
        let status = if same { Status::NotChanged } else { Status::Archived };
        Ok(Finding { copy: Some(copy), ..Finding::without_copy(status, remark) })
    }

    /// Records what was found, and removes the copy that it replaces.
    fn take_down(&self, mut record: Record, finding: &Finding) -> Result<Visit> {
        let old = copy_name(&record);
        record.take(finding, &self.resource.inputs(), Timestamp::now());
        self.place.remember(&record)?;
        report::found(self.resource, &record, finding, self.host);
        if let Some(old) = old.filter(|old| Some(old) != copy_name(&record).as_ref()) {
            self.place.remove(&old)?;
        }
        Ok(Visit::Recorded(record))
    }

    fn fail(&self, record: Record, error: Error) -> Result<Visit> {
        match verdict(&error) {
            Verdict::Result(status) => self.take_down(record, &self.failure(status, &error)),
            Verdict::Postpone => {
                report::postponed(self.resource, &error, self.host);
                Ok(Visit::Postponed(error))
            }
            Verdict::Fail(Some(status)) => {
                // The reason may be the very disk that the record is on; the first error is the one to tell.
                let _ = self.take_down(record, &self.failure(status, &error));
                Err(error)
            }
            Verdict::Fail(None) => Err(error),
        }
    }

    fn failure(&self, status: Status, error: &Error) -> Finding {
        Finding {
            redirected_to: answered_by(error),
            over_limit: (error.code() == "fetch.too-large").then_some(self.bytes_max),
            ..Finding::without_copy(status, error.message())
        }
    }
}

/// The address that failed at last, if the host says that there was a redirect.
fn answered_by(error: &Error) -> Option<String> {
    let detail: Value = ckan_worker_plugin::serde_json::from_str(error.detail()).ok()?;
    detail["redirected_to"].as_str().map(without_secrets)
}

fn has_its_copy(place: &Place, record: &Record) -> bool {
    record.is_broken != Some(false) || copy_name(record).is_some_and(|name| place.has(&name))
}

/// The name of the copy that a record speaks of. The directory is known, whatever the record says.
fn copy_name(record: &Record) -> Option<String> {
    let path = std::path::Path::new(record.cache_filepath.as_deref()?);
    path.file_name()?.to_str().map(str::to_owned)
}
