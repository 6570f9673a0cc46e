//! What is remembered about a resource, beside its copy.

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;

use crate::finding::{Copied, Finding};
use crate::status::Status;

/// The file `archive.json`: the fields of ckanext-archiver's table `archival`, and what is needed to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The dataset.
    pub package_id: String,
    /// The resource.
    pub resource_id: String,
    /// What became of it last, as a number.
    pub status_id: u8,
    /// The same as a text.
    pub status: String,
    /// Whether the link is broken; `null` where that is not known.
    pub is_broken: Option<bool>,
    /// Why; may be empty.
    pub reason: String,
    /// The address that was asked, without secrets.
    pub url: String,
    /// The address that answered, if it is another.
    pub url_redirected_to: Option<String>,
    /// Whether that is for good.
    pub redirect_is_permanent: bool,
    /// The copy; that of the last success while the link is broken.
    pub cache_filepath: Option<String>,
    /// The copy's length in bytes.
    pub size: Option<u64>,
    /// The copy's media type, as its content looks.
    pub mimetype: Option<String>,
    /// The copy's SHA-256.
    pub hash: Option<String>,
    /// The `ETag` it came with.
    pub etag: Option<String>,
    /// The `Last-Modified` it came with.
    pub last_modified: Option<String>,
    /// Since when the link has been broken.
    pub first_failure: Option<Timestamp>,
    /// When it last worked.
    pub last_success: Option<Timestamp>,
    /// How often it was found broken since.
    pub failure_count: u32,
    /// When it was first looked at.
    pub created: Timestamp,
    /// When it was last looked at.
    pub updated: Timestamp,
    /// What CKAN said of the resource then; `null` if it is to be looked at again whatever CKAN says.
    pub inputs: Option<Inputs>,
    /// The limit that it was longer than, if that is why there is no copy.
    pub over_limit: Option<u64>,
    /// Whether CKAN knows the hash, the size and the media type.
    pub written_back: bool,
}

/// What decides whether a resource is looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Its address, without secrets.
    pub url: String,
    /// Its declared format.
    pub format: String,
    /// When its content changed, as CKAN says.
    pub last_modified: Option<String>,
}

impl Record {
    /// The record of a resource that nobody has looked at.
    pub fn new(package_id: &str, resource_id: &str, now: Timestamp) -> Self {
        Self {
            package_id: package_id.to_owned(),
            resource_id: resource_id.to_owned(),
            status_id: Status::DownloadFailure.id(),
            status: Status::DownloadFailure.text().to_owned(),
            is_broken: None,
            reason: String::new(),
            url: String::new(),
            url_redirected_to: None,
            redirect_is_permanent: false,
            cache_filepath: None,
            size: None,
            mimetype: None,
            hash: None,
            etag: None,
            last_modified: None,
            first_failure: None,
            last_success: None,
            failure_count: 0,
            created: now,
            updated: now,
            inputs: None,
            over_limit: None,
            written_back: true,
        }
    }

    /// Whether the resource is to be looked at, given what CKAN says of it now and how long a copy may be.
    pub fn is_due(&self, inputs: &Inputs, bytes_max: u64) -> bool {
        self.inputs.as_ref() != Some(inputs) || self.over_limit.is_some_and(|limit| limit < bytes_max)
    }

    /// Takes down what was found. What is not known to be broken is not counted as a failure.
    pub fn take(&mut self, finding: &Finding, inputs: &Inputs, now: Timestamp) {
        self.status_id = finding.status.id();
        finding.status.text().clone_into(&mut self.status);
        self.is_broken = finding.status.is_broken();
        self.reason.clone_from(&finding.reason);
        self.url.clone_from(&inputs.url);
        self.url_redirected_to.clone_from(&finding.redirected_to);
        self.redirect_is_permanent = finding.redirect_is_permanent;
        self.over_limit = finding.over_limit;
        self.updated = now;
        let is_result = !matches!(finding.status, Status::DownloadFailure | Status::SystemError);
        self.inputs = is_result.then(|| inputs.clone());
        // What an older address gave is not written back for a newer one.
        self.written_back = true;
        if self.is_broken == Some(true) {
            self.first_failure.get_or_insert(now);
            self.failure_count += 1;
        }
        if let Some(copy) = &finding.copy {
            self.take_copy(copy, now);
        }
    }

    fn take_copy(&mut self, copy: &Copied, now: Timestamp) {
        self.cache_filepath = Some(copy.path.clone());
        self.size = Some(copy.bytes);
        self.mimetype = Some(copy.mimetype.clone());
        self.hash = Some(copy.sha256.clone());
        self.etag.clone_from(&copy.etag);
        self.last_modified.clone_from(&copy.last_modified);
        self.last_success = Some(now);
        self.first_failure = None;
        self.failure_count = 0;
        self.written_back = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn inputs(url: &str) -> Inputs {
        Inputs { url: url.to_owned(), format: "CSV".to_owned(), last_modified: None }
    }

    fn success(sha256: &str) -> Finding {
        let copy = Copied {
            path: "/a/x.csv".to_owned(),
            bytes: 7,
            mimetype: "text/csv".to_owned(),
            sha256: sha256.to_owned(),
            etag: None,
            last_modified: None,
        };
        Finding { copy: Some(copy), ..Finding::without_copy(Status::Archived, "") }
    }

    fn failure(status: Status) -> Finding {
        Finding::without_copy(status, "because")
    }

    #[test]
    fn failures_are_counted_until_a_success_and_the_old_copy_stays_meanwhile() {
        let mut record = Record::new("p", "r", at(1));
        record.take(&success("h1"), &inputs("u"), at(2));
        record.take(&failure(Status::DownloadError), &inputs("u"), at(3));
        record.take(&failure(Status::UrlInvalid), &inputs("u"), at(4));
        assert_eq!((record.failure_count, record.first_failure, record.last_success), (2, Some(at(3)), Some(at(2))));
        assert_eq!((record.hash.as_deref(), record.is_broken), (Some("h1"), Some(true)));

        record.take(&success("h2"), &inputs("u"), at(5));
        assert_eq!((record.failure_count, record.first_failure, record.last_success), (0, None, Some(at(5))));
        assert_eq!((record.hash.as_deref(), record.created, record.updated), (Some("h2"), at(1), at(5)));
    }

    #[test]
    fn what_was_chosen_not_to_be_downloaded_is_no_failure() {
        let mut record = Record::new("p", "r", at(1));
        record.take(&failure(Status::DownloadError), &inputs("u"), at(2));
        record.take(&failure(Status::ChoseNotToDownload), &inputs("u"), at(3));
        assert_eq!((record.failure_count, record.first_failure, record.is_broken), (1, Some(at(2)), None));
    }

    #[test]
    fn a_resource_is_due_when_what_ckan_says_of_it_changed() {
        let mut record = Record::new("p", "r", at(1));
        assert!(record.is_due(&inputs("u"), 10));
        record.take(&failure(Status::DownloadError), &inputs("u"), at(2));
        assert!(!record.is_due(&inputs("u"), 10));
        assert!(record.is_due(&inputs("v"), 10));
        record.take(&failure(Status::SystemError), &inputs("u"), at(3));
        assert!(record.is_due(&inputs("u"), 10), "a system error says nothing about the resource");
    }

    #[test]
    fn what_was_too_long_is_due_when_the_limit_is_raised() {
        let mut record = Record::new("p", "r", at(1));
        let too_long = Finding { over_limit: Some(10), ..failure(Status::ChoseNotToDownload) };
        record.take(&too_long, &inputs("u"), at(2));
        assert!(!record.is_due(&inputs("u"), 10));
        assert!(record.is_due(&inputs("u"), 11));
    }
}
