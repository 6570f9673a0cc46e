use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ckan_worker_plugin::{Error, Level, Method, Outcome, Result, Value, WireRequest, Worker, json};

use crate::border;
use crate::event::Event;
use crate::portal::Portal;
use crate::run::Run;
use crate::web::{Page, Pages};

/// Stands in for the host: runs workers, answers what they ask, and remembers what they did.
#[derive(Default)]
pub struct Bench {
    portal: Portal,
    pages: Pages,
    seen: Mutex<Seen>,
    state: Mutex<BTreeMap<String, Vec<u8>>>,
    time: Mutex<Time>,
}

/// One line that a worker logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// The sentence.
    pub message: String,
    /// What was said beside it.
    pub fields: BTreeMap<String, String>,
}

/// One call of a CKAN action.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The action, as in `package_revise`.
    pub action: String,
    /// What it was called with.
    pub parameters: Value,
}

/// One request that was sent to a stranger's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The address.
    pub url: String,
    /// How it was asked.
    pub method: Method,
    /// The headers that the worker set.
    pub headers: Vec<(String, String)>,
    /// What was posted.
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Seen {
    lines: Vec<Line>,
    requests: Vec<Request>,
    fetched: Vec<String>,
    sent: Vec<Sent>,
    slept: Vec<Duration>,
    rechecks: BTreeMap<String, Duration>,
}

#[derive(Default)]
struct Time {
    cancelled: bool,
    deadline: Option<Duration>,
    /// How long this call has slept.
    passed: Duration,
}

impl Bench {
    /// Makes a worker from its settings, a JSON object; unknown ones are refused, as the host does.
    ///
    /// # Errors
    /// Those of the settings (`settings`) and of [`Worker::create`].
    #[expect(clippy::needless_pass_by_value, reason = "tests make it where they use it")]
    pub fn create<W: Worker>(&self, settings: Value) -> Result<W> {
        self.begin();
        border::create(self, &settings.to_string())
    }

    /// Runs a worker on a notification.
    ///
    /// # Errors
    /// Those of [`Worker::consume`]; a panic has the code `panic`.
    #[expect(clippy::needless_pass_by_value, reason = "tests make it where they use it")]
    pub fn consume<W: Worker>(&self, worker: &W, event: Event) -> Result<Outcome> {
        self.begin();
        border::consume(self, worker, &event)
    }

    /// The portal that the worker talks to.
    pub fn ckan(&self) -> &Portal {
        &self.portal
    }

    /// The page at an address, to be described: it answers 200 and an empty body until more is said.
    pub fn web(&self, url: &str) -> Page<'_> {
        self.pages.at(url)
    }

    /// Takes the work back: from now on everything that takes time answers that it is cancelled.
    pub fn cancel(&self) {
        lock(&self.time).cancelled = true;
    }

    /// Gives every call this much time. What a worker sleeps uses it up, and what pages take ([`Page::takes`]).
    pub fn deadline(&self, deadline: Duration) {
        lock(&self.time).deadline = Some(deadline);
    }

    /// The sentences that were logged, up to `Info`.
    pub fn logged(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| line.level <= Level::Info).map(|line| line.message).collect()
    }

    /// Everything that was logged.
    pub fn log(&self) -> Vec<Line> {
        lock(&self.seen).lines.clone()
    }

    /// The CKAN actions that were called, those that failed too.
    pub fn calls(&self) -> Vec<Request> {
        lock(&self.seen).requests.clone()
    }

    /// The CKAN actions that were called and may change something, those that failed too.
    pub fn writes(&self) -> Vec<Request> {
        let reads = ["_show", "_list", "_search", "_autocomplete"];
        self.calls().into_iter().filter(|request| !reads.iter().any(|end| request.action.ends_with(end))).collect()
    }

    /// The addresses that were fetched, those that failed too.
    pub fn fetched(&self) -> Vec<String> {
        lock(&self.seen).fetched.clone()
    }

    /// The requests that were sent to strangers' addresses, those that failed too.
    pub fn sent(&self) -> Vec<Sent> {
        lock(&self.seen).sent.clone()
    }

    /// When the worker wants to be called again, by the ids of the datasets.
    pub fn rechecks(&self) -> BTreeMap<String, Duration> {
        lock(&self.seen).rechecks.clone()
    }

    /// What is remembered under a key, as runs that ended well have left it.
    pub fn remembered(&self, key: &str) -> Option<Value> {
        lock(&self.state).get(key).and_then(|value| serde_json::from_slice(value).ok())
    }

    /// All keys under which something is remembered.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.state).keys().cloned().collect()
    }

    /// Remembers this under a key before a run.
    #[expect(clippy::needless_pass_by_value, reason = "tests make it where they use it")]
    pub fn remember(&self, key: &str, value: Value) {
        lock(&self.state).insert(key.to_owned(), value.to_string().into_bytes());
    }

    /// How long the worker asked to sleep, each time.
    pub fn slept(&self) -> Vec<Duration> {
        lock(&self.seen).slept.clone()
    }

    /// Forgets what was done so far; what was arranged stays.
    pub fn forget(&self) {
        *lock(&self.seen) = Seen::default();
    }

    fn begin(&self) {
        lock(&self.time).passed = Duration::ZERO;
    }
}

/// What a worker asks for, as it comes over the border.
impl Bench {
    pub(crate) fn write_line(&self, line: Line) {
        lock(&self.seen).lines.push(line);
    }

    pub(crate) fn remaining(&self) -> Option<Duration> {
        let time = lock(&self.time);
        time.deadline.map(|deadline| deadline.saturating_sub(time.passed))
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        let cancelled = lock(&self.time).cancelled;
        cancelled || self.remaining() == Some(Duration::ZERO)
    }

    pub(crate) fn sleep(&self, duration: Duration) -> bool {
        if self.is_cancelled() {
            return false;
        }
        lock(&self.seen).slept.push(duration);
        lock(&self.time).passed += duration;
        !self.is_cancelled()
    }

    pub(crate) fn action(&self, name: &str, parameters: &[u8]) -> Result<Vec<u8>> {
        self.check_cancelled()?;
        let parameters: Value = serde_json::from_slice(parameters)?;
        lock(&self.seen).requests.push(Request { action: name.to_owned(), parameters: parameters.clone() });
        Ok(self.portal.call(name, &parameters)?.to_string().into_bytes())
    }

    pub(crate) fn fetch(&self, request: &[u8], files: &std::path::Path) -> Result<Vec<u8>> {
        self.check_cancelled()?;
        let request: Value = serde_json::from_slice(request)?;
        let url = request["url"].as_str().unwrap_or_default();
        lock(&self.seen).fetched.push(url.to_owned());
        if self.pages.takes_back(url) {
            self.cancel();
        }
        self.check_cancelled()?;
        let fetched = self.pages.fetch(url, request["bytes_max"].as_u64().unwrap_or(u64::MAX), files)?;
        Ok(serde_json::to_vec(&fetched)?)
    }

    pub(crate) fn http(&self, request: &[u8], body: &[u8], files: &std::path::Path) -> Result<Vec<u8>> {
        self.check_cancelled()?;
        let request: WireRequest = serde_json::from_slice(request)?;
        let sent = Sent {
            url: request.url.clone(),
            method: request.method,
            headers: request.headers.clone(),
            body: body.to_vec(),
        };
        let mut seen = lock(&self.seen);
        seen.fetched.push(request.url.clone());
        seen.sent.push(sent);
        drop(seen);
        if self.pages.takes_back(&request.url) {
            self.cancel();
        }
        self.check_cancelled()?;
        let (took, late) = self.pages.time_for(&request);
        lock(&self.time).passed += took;
        if let Some(late) = late {
            return Err(late);
        }
        Ok(serde_json::to_vec(&self.pages.respond(&request, files)?)?)
    }

    pub(crate) fn upload(&self, name: &str, parameters: &[u8], file: &[u8]) -> Result<Vec<u8>> {
        self.check_cancelled()?;
        let mut parameters: Value = serde_json::from_slice(parameters)?;
        let file: Value = serde_json::from_slice(file)?;
        let content = std::fs::read(file["path"].as_str().unwrap_or_default())
            .map_err(|error| Error::permanent(format!("the file cannot be read: {error}")).with_code("ckan.upload"))?;
        parameters[file["field"].as_str().unwrap_or("upload")] =
            json!({ "filename": file["filename"], "mimetype": file["mimetype"], "bytes": content.len() });
        lock(&self.seen).requests.push(Request { action: name.to_owned(), parameters: parameters.clone() });
        Ok(self.portal.call(name, &parameters)?.to_string().into_bytes())
    }

    pub(crate) fn dataset(&self, id: &str) -> Result<Vec<u8>> {
        self.action("package_show", json!({ "id": id }).to_string().as_bytes())
    }

    pub(crate) fn state(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.state).clone()
    }

    pub(crate) fn end(&self, run: Run) {
        let mut rechecks = run.rechecks().clone();
        *lock(&self.state) = run.into_state();
        let mut seen = lock(&self.seen);
        seen.rechecks.append(&mut rechecks);
        seen.rechecks.retain(|_, delay| !delay.is_zero());
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
