//! What is said about a resource, in the words of ckanext-archiver.

use ckan_worker_plugin::{Class, Error};

/// The code of a request that this run had no more time for.
pub const OUT_OF_TIME: &str = "archive.out-of-time";

/// What became of a resource. Numbers and texts are those that portals already show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A copy is kept.
    Archived,
    /// The copy that is kept is still the same.
    NotChanged,
    /// Nobody could fetch such an address.
    UrlInvalid,
    /// It was tried, and failed.
    DownloadError,
    /// It is too long, or not for everybody.
    ChoseNotToDownload,
    /// Something went wrong that nobody thought of.
    DownloadFailure,
    /// The copy could not be stored.
    SystemError,
}

impl Status {
    /// Its number.
    pub fn id(self) -> u8 {
        match self {
            Self::Archived => 0,
            Self::NotChanged => 1,
            Self::UrlInvalid => 10,
            Self::DownloadError => 12,
            Self::ChoseNotToDownload => 21,
            Self::DownloadFailure => 22,
            Self::SystemError => 23,
        }
    }

    /// Its text.
    pub fn text(self) -> &'static str {
        match self {
            Self::Archived => "Archived successfully",
            Self::NotChanged => "Content has not changed",
            Self::UrlInvalid => "URL invalid",
            Self::DownloadError => "Download error",
            Self::ChoseNotToDownload => "Chose not to download",
            Self::DownloadFailure => "Download failure",
            Self::SystemError => "System error during archival",
        }
    }

    /// Whether the link is broken; `None` where that is not known.
    pub fn is_broken(self) -> Option<bool> {
        match self.id() {
            0..10 => Some(false),
            10..20 => Some(true),
            _ => None,
        }
    }

    /// Whether it says something about the link, which holds until CKAN says something else of the resource. What was
    /// left out is looked at as soon as it is not any more; the host's troubles say nothing.
    pub fn is_about_the_link(self, over_limit: Option<u64>) -> bool {
        match self {
            Self::DownloadFailure | Self::SystemError => false,
            Self::ChoseNotToDownload => over_limit.is_some(),
            _ => true,
        }
    }
}

/// What a fetch that failed means.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A result: it is recorded, and the run goes on.
    Result(Status),
    /// It says nothing about the link. The record stays as it is, and the resource is looked at later.
    Postpone,
    /// The run ends here, as with any failure of the host; it is recorded unless the host took the work back.
    Fail(Option<Status>),
}

/// Decides what a fetch that failed means. A broken link is a result, not a failed run.
pub fn verdict(error: &Error) -> Verdict {
    if error.class() == Class::Cancelled {
        return Verdict::Fail(None);
    }
    match error.code() {
        "fetch.invalid-url" | "fetch.forbidden-address" | "fetch.forbidden-port" => Verdict::Result(Status::UrlInvalid),
        "fetch.too-large" => Verdict::Result(Status::ChoseNotToDownload),
        "fetch.disk" | "archive.disk" => Verdict::Fail(Some(Status::SystemError)),
        "fetch.host-busy" | OUT_OF_TIME => Verdict::Postpone,
        // A server that says when to come back (429, 503) is busy, not broken.
        code if code.starts_with("fetch.") && error.delay().is_some() => Verdict::Postpone,
        code if code.starts_with("fetch.") => Verdict::Result(Status::DownloadError),
        _ => Verdict::Fail(Some(Status::DownloadFailure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[track_caller]
    fn check(code: &'static str, expected: &Verdict) {
        assert_eq!(verdict(&Error::retryable("x").with_code(code)), *expected, "{code}");
        assert_eq!(verdict(&Error::permanent("x").with_code(code)), *expected, "{code}");
    }

    #[test]
    fn a_broken_link_is_a_result_and_a_broken_host_is_not() {
        check("fetch.invalid-url", &Verdict::Result(Status::UrlInvalid));
        check("fetch.forbidden-address", &Verdict::Result(Status::UrlInvalid));
        check("fetch.forbidden-port", &Verdict::Result(Status::UrlInvalid));
        for code in ["fetch.status", "fetch.connect", "fetch.timeout", "fetch.redirects", "fetch.tls", "fetch.read"] {
            check(code, &Verdict::Result(Status::DownloadError));
        }
        check("fetch.too-large", &Verdict::Result(Status::ChoseNotToDownload));
        check("archive.disk", &Verdict::Fail(Some(Status::SystemError)));
        check("fetch.disk", &Verdict::Fail(Some(Status::SystemError)));
        check("host", &Verdict::Fail(Some(Status::DownloadFailure)));
        check("", &Verdict::Fail(Some(Status::DownloadFailure)));
    }

    #[test]
    fn a_server_that_says_when_to_come_back_is_not_broken() {
        let busy = Error::retryable("429").with_code("fetch.status").retry_after(Duration::from_secs(9));
        assert_eq!(verdict(&busy), Verdict::Postpone);
        check("fetch.host-busy", &Verdict::Postpone);
        check(OUT_OF_TIME, &Verdict::Postpone);
    }

    #[test]
    fn numbers_and_texts_are_those_of_ckanext_archiver() {
        let all = [
            (Status::Archived, 0, "Archived successfully", Some(false)),
            (Status::NotChanged, 1, "Content has not changed", Some(false)),
            (Status::UrlInvalid, 10, "URL invalid", Some(true)),
            (Status::DownloadError, 12, "Download error", Some(true)),
            (Status::ChoseNotToDownload, 21, "Chose not to download", None),
            (Status::DownloadFailure, 22, "Download failure", None),
            (Status::SystemError, 23, "System error during archival", None),
        ];
        for (status, id, text, is_broken) in all {
            assert_eq!((status.id(), status.text(), status.is_broken()), (id, text, is_broken));
        }
    }
}
