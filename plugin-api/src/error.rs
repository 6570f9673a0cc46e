use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What a worker's functions answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is to become of a run that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It may succeed later: the host tries again, a bounded number of times.
    Retryable,
    /// It will fail however often it is tried: the notification becomes a dead letter at once.
    Permanent,
    /// The host took the work back: its time was over, or the host is stopping.
    Cancelled,
}

/// Why a run failed, and whether trying again is of use.
///
/// Any `std::error::Error` becomes a retryable one by `?`, the safe choice for a queue.
///
/// ```
/// # use ckan_worker_plugin::{Error, Class, Result};
/// fn licence(text: &str) -> Result<u32> {
///     if text == "none" {
///         return Err(Error::permanent("the licence forbids archiving"));
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(licence("none").unwrap_err().class(), Class::Permanent);
/// assert_eq!(licence("x").unwrap_err().class(), Class::Retryable);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    pub(crate) class: Class,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) detail: String,
}

impl Error {
    /// An error that may pass: the host tries again.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(Class::Retryable, "", message.into())
    }

    /// An error that will not pass: the host keeps the notification as a dead letter.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Class::Permanent, "", message.into())
    }

    pub(crate) fn new(class: Class, code: impl Into<Cow<'static, str>>, message: String) -> Self {
        Self { class, code: code.into(), message, retry_after: None, detail: String::new() }
    }

    /// Asks the host to wait at least this long before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Gives it a word for machines, as in `archive.disk-full`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = code.into();
        self
    }

    /// Puts JSON with more beside it.
    #[doc(hidden)]
    #[must_use]
    pub fn with_detail(mut self, detail: String) -> Self {
        self.detail = detail;
        self
    }

    /// Puts what was being done before the message: `reading the cover page: file not found`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// What is to become of the run.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The word for machines; empty if there is none. CKAN's begin with `ckan.`, those of fetching with `fetch.`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long to wait at least before the next attempt, if that was said.
    pub fn delay(&self) -> Option<Duration> {
        self.retry_after
    }

    /// JSON with more, depending on the code: for `ckan.…` the `error` object of CKAN's answer. May be empty.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether CKAN said that what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code == "ckan.not-found"
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.class)?;
        if !self.code.is_empty() {
            write!(formatter, " [{}]", self.code)?;
        }
        write!(formatter, ": {}", self.message)
    }
}

// `Error` itself is not a `std::error::Error`: that is what lets `?` take every other error.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors already repeat their cause.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self::retryable(message)
    }
}
