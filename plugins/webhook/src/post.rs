//! One post to one target, and what its answer means.

use std::time::Duration;

use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::{Class, Response, Trace};
use jiff::Timestamp;
use url::Url;

use crate::event::Event;
use crate::signature::Secrets;
use crate::target::Target;

/// A target, ready to be posted to.
pub struct Receiver {
    /// As it was set.
    pub target: Target,
    url: Url,
    secrets: Secrets,
    timeout: Duration,
}

/// What came of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// What it means.
    pub answer: Answer,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How long it took.
    pub duration_ms: u64,
}

/// What the answer to a post means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has arrived.
    Delivered,
    /// It has not arrived; the error says why, and whether trying again is of use.
    Failed(Error),
}

impl Receiver {
    /// A target with its address and what its posts are signed with.
    pub fn new(target: Target, url: Url, secrets: Secrets, timeout: Duration) -> Self {
        Self { target, url, secrets, timeout }
    }

    /// Posts an event.
    ///
    /// # Errors
    /// The host took the work back, or the event cannot be written. That a post failed is an answer.
    pub fn post(&self, event: &Event<'_>, id: &str, host: &Host<'_>) -> Result<Posted> {
        let content = self.target.format.write(event, id, self.target.plugin_data)?;
        let timestamp = Timestamp::now().as_second();
        let mut request = host.request(self.url.as_str()).timeout(self.timeout);
        for (name, value) in content.headers {
            request = request.header(name, value);
        }
        request = request.header("webhook-id", id).header("webhook-timestamp", timestamp.to_string());
        if let Some(signature) = self.secrets.sign(id, timestamp, &content.body) {
            request = request.header("webhook-signature", signature);
        }
        self.judge(request.body(content.body).send())
    }

    fn judge(&self, answer: Result<Response>) -> Result<Posted> {
        let (trace, answer) = match answer {
            Ok(response) => (response.trace, Ok(())),
            Err(error) if error.class() == Class::Cancelled => return Err(error),
            Err(error) => (Trace::of(&error).unwrap_or_default(), Err(error)),
        };
        let answer = match verdict(trace.status, answer) {
            Ok(()) => Answer::Delivered,
            Err(error) => Answer::Failed(self.without_address(&error)),
        };
        Ok(Posted { answer, status: trace.status, duration_ms: trace.duration_ms })
    }

    /// The error in words that everybody may read: an address may be as good as a key.
    fn without_address(&self, error: &Error) -> Error {
        let mut message = error.message().replace(self.url.as_str(), "its address");
        for secret in [self.url.query(), Some(self.url.path())].into_iter().flatten().filter(|part| part.len() > 1) {
            message = message.replace(secret, "***");
        }
        let message = format!("{}: {}", self.target.name, one_line(&message));
        let class = error.class();
        let clean = if class == Class::Permanent { Error::permanent(message) } else { Error::retryable(message) };
        let clean = clean.with_code(error.code().to_owned());
        match error.delay() {
            Some(delay) => clean.retry_after(delay),
            None => clean,
        }
    }
}

/// What an answer means, by its status and by what the host says.
fn verdict(status: Option<u16>, answer: Result<()>) -> Result<()> {
    let said = |status: u16, meaning: &str| format!("answered {status}{meaning}");
    let passing = |message: String| Error::retryable(message).with_code("webhook.status");
    let lasting = |message: String| Error::permanent(message).with_code("webhook.status");
    match (status, answer) {
        (Some(200..=299), Ok(())) => Ok(()),
        (Some(code @ 300..=399), _) => Err(lasting(said(code, ": redirects are not followed; set the final address"))),
        (Some(410), _) => Err(lasting(said(410, ": it is gone for good; take it out of the targets"))),
        (Some(code @ (408 | 425 | 429 | 500..=599)), Err(error)) => {
            let failed = passing(said(code, ""));
            Err(error.delay().map_or(failed.clone(), |delay| failed.retry_after(delay)))
        }
        (Some(code @ 400..=499), _) => Err(lasting(said(code, ""))),
        (_, Err(error)) => Err(error),
        (_, Ok(())) => Err(passing("gave no answer that can be understood".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, expected: &str) {
        let answer = if status < 400 { Ok(()) } else { Err(Error::permanent("x").with_code("fetch.status")) };
        let said = match verdict(Some(status), answer) {
            Ok(()) => "delivered".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn what_an_answer_means_is_decided_by_its_status() {
        for status in [200, 201, 202, 204] {
            check(status, "delivered");
        }
        check(302, "Permanent [webhook.status]: answered 302: redirects are not followed; set the final address");
        check(410, "Permanent [webhook.status]: answered 410: it is gone for good; take it out of the targets");
        for status in [400, 401, 403, 404, 413, 422] {
            check(status, &format!("Permanent [webhook.status]: answered {status}"));
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 521] {
            check(status, &format!("Retryable [webhook.status]: answered {status}"));
        }
    }

    #[test]
    fn a_server_that_says_when_to_come_back_is_believed() {
        for status in [429, 503] {
            let busy = Error::retryable("x").retry_after(Duration::from_secs(90));
            assert_eq!(verdict(Some(status), Err(busy)).unwrap_err().delay(), Some(Duration::from_secs(90)));
        }
    }

    #[test]
    fn without_an_answer_the_host_says_whether_to_try_again() {
        for error in [Error::retryable("refused"), Error::permanent("forbidden")] {
            assert_eq!(verdict(None, Err(error.clone())), Err(error));
        }
    }
}
