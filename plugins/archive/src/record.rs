//! What is remembered about a resource.

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;

use crate::finding::{Copied, Finding, Got, Seen};
use crate::status::Status;

/// The fields of ckanext-archiver's table `archival`, and what is needed to go on.
///
/// It lies in the worker's state, and as `archive.json` beside the copy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// Whether that is for good: all redirects were permanent ones.
    pub redirect_is_permanent: bool,
    /// The redirects on the way.
    #[serde(default)]
    pub redirects: Vec<Hop>,
    /// The HTTP status of the last answer, if there was one.
    #[serde(default)]
    pub http_status: Option<u16>,
    /// How long the last request took, in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// What was asked for: `GET`, `CHECK`, or what of a map service, as in `WMS 1.3`.
    #[serde(default)]
    pub request_type: Option<String>,
    /// The copy; that of the last success while the link is broken.
    pub cache_filepath: Option<String>,
    /// Where the copy is served, if `cache_url_root` says so.
    #[serde(default)]
    pub cache_url: Option<String>,
    /// When the copy was made or replaced by a different one.
    #[serde(default)]
    pub cache_last_updated: Option<Timestamp>,
    /// The address that the copy came from, without secrets.
    #[serde(default)]
    pub cached_from: Option<String>,
    /// The copy's length in bytes.
    pub size: Option<u64>,
    /// The copy's media type, as its content looks.
    pub mimetype: Option<String>,
    /// The copy's hash.
    pub hash: Option<String>,
    /// Which hash that is: `sha256` or `sha1`.
    #[serde(default)]
    pub hash_algorithm: Option<String>,
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
    /// When the content was last found to be another one.
    #[serde(default)]
    pub content_changed_at: Option<Timestamp>,
    /// When it is looked at again, whatever CKAN says.
    #[serde(default)]
    pub next_check_at: Option<Timestamp>,
    /// Whether its dataset was private then.
    #[serde(default)]
    pub private: bool,
    /// When it was found to be deleted: there is no such resource any more.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
    /// What CKAN said of the resource then; `null` if it is to be looked at again whatever CKAN says.
    pub inputs: Option<Inputs>,
    /// The limit that it was longer than, if that is why there is no copy.
    pub over_limit: Option<u64>,
    /// Whether CKAN knows what it is to know of the copy.
    pub written_back: bool,
    /// Why it does not, if CKAN refused it.
    #[serde(default)]
    pub not_stored: Option<String>,
}

/// One redirect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// Its status: 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Where it led, without secrets.
    pub url: String,
}

/// What decides whether a resource is looked at before its time.
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
            created: now,
            updated: now,
            written_back: true,
            ..Self::default()
        }
    }

    /// Takes on what an older version of this worker left unsaid.
    pub fn completed(mut self) -> Self {
        if self.is_broken == Some(false) && self.cached_from.is_none() {
            self.cached_from = Some(self.url.clone());
        }
        if self.hash.is_some() && self.hash_algorithm.is_none() {
            self.hash_algorithm = Some("sha256".to_owned());
        }
        if self.cache_filepath.is_some() && self.cache_last_updated.is_none() {
            self.cache_last_updated = self.last_success;
        }
        self
    }

    /// Whether the resource is to be looked at, given what CKAN says of it now and how long a copy may be.
    pub fn is_due(&self, inputs: &Inputs, bytes_max: u64, now: Timestamp) -> bool {
        self.inputs.as_ref() != Some(inputs)
            || self.over_limit.is_some_and(|limit| limit < bytes_max)
            || self.next_check_at.is_some_and(|time| time <= now)
            // What is refused costs nobody a request, and may be allowed by now.
            || self.status_id == Status::UrlInvalid.id()
    }

    /// The file name of the copy that it speaks of. The directory is known, whatever the record says.
    pub fn copy_name(&self) -> Option<String> {
        let path = std::path::Path::new(self.cache_filepath.as_deref()?);
        path.file_name()?.to_str().map(str::to_owned)
    }

    /// Takes down what was found. What is not known to be broken is not counted as a failure.
    pub fn take(&mut self, finding: &Finding, inputs: &Inputs, now: Timestamp) {
        self.status_id = finding.status.id();
        finding.status.text().clone_into(&mut self.status);
        self.is_broken = finding.status.is_broken();
        self.reason.clone_from(&finding.reason);
        self.url.clone_from(&inputs.url);
        self.url_redirected_to.clone_from(&finding.way.redirected_to);
        self.redirect_is_permanent = finding.way.is_permanent;
        self.redirects.clone_from(&finding.way.hops);
        self.http_status = finding.way.http_status;
        self.duration_ms = finding.way.duration_ms;
        self.request_type = finding.request_type.map(str::to_owned);
        self.over_limit = finding.over_limit;
        self.updated = now;
        self.deleted_at = None;
        self.inputs = finding.status.is_about_the_link(finding.over_limit).then(|| inputs.clone());
        if self.is_broken == Some(true) {
            self.first_failure.get_or_insert(now);
            self.failure_count += 1;
        }
        match &finding.got {
            Got::Nothing => self.keep_old_copy(),
            Got::SameCopy { path, url } => self.take_same_copy(path, url.as_ref(), now),
            Got::Copy(copy) => self.take_copy(copy, now),
            Got::Head(seen) => self.take_head(seen, now),
        }
    }

    /// The copy of the last success stays; what an older address gave is not written back for a newer one.
    fn keep_old_copy(&mut self) {
        if self.cached_from.as_ref() != Some(&self.url) {
            self.written_back = true;
        }
    }

    fn succeed(&mut self, now: Timestamp) {
        self.last_success = Some(now);
        self.first_failure = None;
        self.failure_count = 0;
    }

    /// The copy is still the same; where it lies and is served may have been set anew.
    fn take_same_copy(&mut self, path: &str, url: Option<&String>, now: Timestamp) {
        self.cache_filepath = Some(path.to_owned());
        if self.cache_url.as_ref() != url {
            self.cache_url = url.cloned();
            self.written_back = false;
        }
        self.succeed(now);
    }

    fn take_copy(&mut self, copy: &Copied, now: Timestamp) {
        let told = (self.hash.clone(), self.size, self.mimetype.clone(), self.cache_url.clone());
        let is_comparable = self.hash_algorithm.as_ref().is_none_or(|name| *name == copy.hash_algorithm);
        if is_comparable && self.hash.as_ref() != Some(&copy.hash) {
            self.content_changed_at = Some(now);
            self.cache_last_updated = Some(now);
        }
        self.content_changed_at.get_or_insert(self.created);
        self.cache_last_updated.get_or_insert(now);
        self.cache_filepath = Some(copy.path.clone());
        self.cache_url.clone_from(&copy.url);
        self.cached_from = Some(self.url.clone());
        self.hash = Some(copy.hash.clone());
        self.hash_algorithm = Some(copy.hash_algorithm.clone());
        self.take_seen(&copy.seen);
        // What somebody sets by hand in CKAN stays until the copy is another one.
        if told != (self.hash.clone(), self.size, self.mimetype.clone(), self.cache_url.clone()) {
            self.written_back = false;
            self.not_stored = None;
        }
        self.succeed(now);
    }

    fn take_head(&mut self, seen: &Seen, now: Timestamp) {
        if self.is_other(seen) || self.content_changed_at.is_none() {
            self.content_changed_at = Some(now);
        }
        self.forget_copy();
        self.take_seen(seen);
        self.succeed(now);
    }

    fn take_seen(&mut self, seen: &Seen) {
        self.size = seen.bytes;
        self.mimetype.clone_from(&seen.mimetype);
        self.etag.clone_from(&seen.etag);
        self.last_modified.clone_from(&seen.last_modified);
    }

    /// Whether a file whose head was seen is another one than at the last look, as far as that can be said.
    pub fn is_other(&self, seen: &Seen) -> bool {
        match (&self.etag, &seen.etag) {
            (Some(old), Some(new)) => old != new,
            _ => self.last_modified != seen.last_modified || self.size != seen.bytes,
        }
    }

    /// Whether a file whose head was seen is the one of the last look.
    pub fn is_known(&self, seen: &Seen) -> bool {
        let has_validator = seen.etag.is_some() || seen.last_modified.is_some();
        has_validator && self.last_success.is_some() && !self.is_other(seen)
    }

    /// Speaks of no copy any more.
    pub fn forget_copy(&mut self) {
        self.cache_filepath = None;
        self.cache_url = None;
        self.cache_last_updated = None;
        self.cached_from = None;
        self.size = None;
        self.mimetype = None;
        self.hash = None;
        self.hash_algorithm = None;
        self.etag = None;
        self.last_modified = None;
        self.written_back = true;
        self.not_stored = None;
    }
}
