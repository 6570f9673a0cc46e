//! One look at one resource: ask for it, keep it, take down what was found.

use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::{Hash, Trace};
use jiff::Timestamp;

use crate::ask::{self, Content, Reading};
use crate::dataset::{Resource, is_id};
use crate::finding::{Copied, Finding, Got, Way};
use crate::name::safe_name;
use crate::record::Record;
use crate::round::{Round, Wanted};
use crate::status::{Status, Verdict, verdict};
use crate::store::Place;
use crate::{report, schedule};

/// What came of a look.
pub enum Visit {
    /// Nothing that matters has changed since the last one.
    NotDue(Record),
    /// This was found.
    Recorded(Record),
    /// The settings leave it out, and nothing is known of it.
    LeftOut,
    /// The resource's id cannot be a path.
    Refused,
    /// The server asked to come back later, or there was no more time.
    Postponed(Error),
}

/// Looks at a resource, if it is due.
///
/// # Errors
/// Those of the disk and of the host; a broken link is a result.
pub fn visit(round: &Round<'_>, resource: &Resource, place: Option<Place>, record: Option<Record>) -> Result<Visit> {
    if !is_id(&resource.id) {
        report::refused(resource, "its id is neither a UUID nor a name", round.host);
        return Ok(Visit::Refused);
    }
    let look = Look { round, resource, place };
    if let Some(reason) = round.refuses(resource) {
        return look.leave_out(record, &reason);
    }
    let record = match record {
        Some(record) if !round.is_due(resource, Some(&record), look.place.as_ref()) => {
            return Ok(Visit::NotDue(record));
        }
        Some(record) => record,
        None => Record::new(&round.dataset.id, &resource.id, Timestamp::now()),
    };
    match look.find(&record) {
        Ok(finding) => look.take_down(record, &finding),
        Err(error) => look.fail(record, error),
    }
}

/// One look at a resource that is due.
struct Look<'a> {
    round: &'a Round<'a>,
    resource: &'a Resource,
    /// Where its copy is kept, if one is.
    place: Option<Place>,
}

impl Look<'_> {
    /// Asks for the resource, and keeps what is to be kept.
    fn find(&self, record: &Record) -> Result<Finding> {
        let (round, resource) = (self.round, self.resource);
        let reading = match round.wanted(resource) {
            Wanted::Copy => ask::for_all(round, resource, &self.conditions(record))?,
            Wanted::Look => ask::for_head(round, resource)?,
        };
        let finding = match reading.content {
            Content::Fault(ref fault) => Finding::without_copy(Status::DownloadError, fault.reason()),
            Content::NotModified => self.same_copy(record),
            Content::Seen { .. } => seen(&reading, record),
            Content::File { .. } => self.keep(&reading, record)?,
        };
        Ok(Finding { way: Way::from(&reading.trace), request_type: Some(reading.request_type), ..finding })
    }

    /// What makes the server say whether the copy is still the same. Only for the address that it came from.
    fn conditions(&self, record: &Record) -> Vec<(&'static str, String)> {
        let round = self.round;
        let is_the_same_address = record.cached_from.as_deref() == Some(&self.resource.inputs().url);
        let has_copy = self.place.as_ref().zip(record.copy_name()).is_some_and(|(place, name)| place.has(&name));
        let has_hash = record.hash_algorithm.as_deref() == Some(algorithm(round.policy.hash));
        let is_plain = record.request_type.as_deref().is_none_or(|kind| kind == ask::GET);
        if !(is_the_same_address && has_copy && has_hash && is_plain) {
            return Vec::new();
        }
        let etag = record.etag.clone().map(|etag| ("If-None-Match", etag));
        let since = record.last_modified.clone().map(|date| ("If-Modified-Since", date));
        // What came in a header need not be able to go in one: it was cleaned on its way.
        let can_be_sent = |value: &str| value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        etag.into_iter().chain(since).filter(|(_, value)| can_be_sent(value)).collect()
    }

    fn same_copy(&self, record: &Record) -> Finding {
        let name = record.copy_name().unwrap_or_default();
        let path = self.place.as_ref().map(|place| place.path(&name).to_string_lossy().into_owned());
        let got = Got::SameCopy { path: path.unwrap_or_default(), url: self.cache_url(&name) };
        // The remark is about the content, and so still true.
        let reason = if record.is_broken == Some(false) { record.reason.as_str() } else { "" };
        Finding { got, ..Finding::without_copy(Status::NotChanged, reason) }
    }

    fn keep(&self, reading: &Reading, record: &Record) -> Result<Finding> {
        let (Content::File { body, remark, seen }, Some(place)) = (&reading.content, &self.place) else {
            return Err(Error::permanent("a copy without a place").with_code("archive.place"));
        };
        let name = safe_name(self.resource.url());
        let algorithm = algorithm(self.round.policy.hash);
        let same = record.hash.as_ref() == Some(&body.hash)
            && record.hash_algorithm.as_deref() == Some(algorithm)
            && place.has(&name);
        let path = place.keep(&body.path, &name)?;
        let copy = Copied {
            path: path.to_string_lossy().into_owned(),
            url: self.cache_url(&name),
            hash: body.hash.clone(),
            hash_algorithm: algorithm.to_owned(),
            seen: seen.clone(),
        };
        let status = if same { Status::NotChanged } else { Status::Archived };
        Ok(Finding { got: Got::Copy(copy), ..Finding::without_copy(status, remark) })
    }

    /// Where a copy is served; private ones are not.
    fn cache_url(&self, name: &str) -> Option<String> {
        let root = self.round.policy.cache_url_root.as_ref().filter(|_| !self.round.dataset.private)?;
        let id = &self.resource.id;
        Some(format!("{root}/{}/{id}/{name}", &id[..2]))
    }

    /// Says in the record that the resource is left out, if there is one.
    fn leave_out(&self, record: Option<Record>, reason: &str) -> Result<Visit> {
        let Some(record) = record else { return Ok(Visit::LeftOut) };
        let finding = Finding::without_copy(Status::ChoseNotToDownload, reason);
        if record.status_id == finding.status.id() && record.reason == finding.reason {
            return Ok(Visit::NotDue(record));
        }
        self.take_down(record, &finding)
    }

    /// Records what was found, and removes the copy that it replaces.
    fn take_down(&self, mut record: Record, finding: &Finding) -> Result<Visit> {
        let old = record.copy_name();
        let round = self.round;
        record.take(finding, &self.resource.inputs(), Timestamp::now());
        record.private = round.dataset.private;
        record.next_check_at = schedule::next_check(&record, &round.dataset.id, round.started);
        if let Some(place) = &self.place {
            place.remember(&record)?;
        }
        report::found(self.resource, &record, finding, round.host);
        let is_replaced =
            |old: &String| matches!(finding.got, Got::Copy(_)) && record.copy_name().as_ref() != Some(old);
        if let (Some(place), Some(old)) = (&self.place, old.filter(is_replaced)) {
            place.remove(&old)?;
        }
        Ok(Visit::Recorded(record))
    }

    fn fail(&self, record: Record, error: Error) -> Result<Visit> {
        match verdict(&error) {
            Verdict::Result(status) => self.take_down(record, &self.failure(status, &error)),
            Verdict::Postpone => {
                report::postponed(self.resource, &error, self.round.host);
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
            way: Trace::of(error).as_ref().map(Way::from).unwrap_or_default(),
            request_type: Some(ask::request_type(self.round.wanted(self.resource))),
            over_limit: (error.code() == "fetch.too-large").then_some(self.round.policy.bytes_max),
            ..Finding::without_copy(status, error.message())
        }
    }
}

/// A link that works, of which nothing is kept.
fn seen(reading: &Reading, record: &Record) -> Finding {
    let Content::Seen { seen, remark } = &reading.content else {
        return Finding::without_copy(Status::DownloadFailure, "");
    };
    let status = if record.is_known(seen) { Status::NotChanged } else { Status::Archived };
    let reason = if remark.is_empty() { "the link works; nothing is kept" } else { remark };
    Finding { got: Got::Head(seen.clone()), ..Finding::without_copy(status, reason) }
}

/// What a hash is called.
fn algorithm(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha256 => "sha256",
        Hash::Sha1 => "sha1",
    }
}
