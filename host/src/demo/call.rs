//! A call over HTTP: who asked for what, what was answered, and that it is remembered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

use super::actions::{Request, Store, is_read};
use super::announce::Notice;
use super::dataset::{Datasets, text};
use super::envelope::{Refusal, answer, response};

/// The longest request that is read; CKAN's own limit stands in its web server.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// One call of an action, as the portal saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// `GET` or `POST`.
    pub method: String,
    /// The action's name.
    pub action: String,
    /// The parameters; null if they could not be read.
    pub params: Value,
    /// Who asked.
    pub caller: Caller,
    /// The status that was answered.
    pub status: u16,
}

/// Who asked, judged by the token in the `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// There was no token.
    Anonymous,
    /// There was a token that is nobody's; CKAN treats this one as anonymous and does not say so.
    UnknownToken,
    /// The token of this user.
    User(String),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) site_url: String,
    pub(super) store: Store,
    pub(super) calls: Vec<Call>,
    pub(super) failures: VecDeque<Failure>,
    pub(super) listeners: Vec<mpsc::UnboundedSender<Notice>>,
    /// How long an answer is held back after what was asked for is done and announced.
    pub(super) held: Duration,
    /// Told of every new call.
    pub(super) news: watch::Sender<()>,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) action: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// The portal's routes.
pub(super) fn routes(shared: Arc<Mutex<Shared>>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/api/3/action/{action}", get(call).post(call))
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(shared)
}

pub(super) fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a person sees who opens the portal's address: its public datasets, and where to read them.
async fn front(State(shared): State<Arc<Mutex<Shared>>>) -> String {
    let shared = lock(&shared);
    let lines = shared.store.listed().map(|package| {
        let name = text(package, "name");
        format!("{:<24}{}/api/3/action/package_show?id={name}\n", text(package, "title"), shared.site_url)
    });
    lines.collect()
}

/// What CKAN answers where it has no page: HTML, which tells a wrong `site_url` from a missing dataset.
async fn nowhere() -> Response {
    response(StatusCode::NOT_FOUND, "<!DOCTYPE html><title>404 Not Found</title><h1>404 Not Found</h1>\n".to_owned())
}

/// One call over HTTP.
async fn call(
    State(shared): State<Arc<Mutex<Shared>>>,
    method: Method,
    Path(action): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let params = if method == Method::GET {
        Ok(query.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
    } else {
        parameters(&body)
    };
    let (response, held) = {
        let mut shared = lock(&shared);
        (shared.call(&method, &action, &headers, params), shared.held)
    };
    if !held.is_zero() && !is_read(&action) {
        tokio::time::sleep(held).await;
    }
    response
}

/// The parameters in a body; CKAN takes none at all for an empty object.
fn parameters(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(params)) => Ok(params),
        Ok(other) => Err(Refusal::Bad(format!(
            "Bad request: Request data JSON decoded to {other} but it needs to be a dictionary."
        ))),
        Err(error) => Err(Refusal::Bad(format!("Bad request: JSON Error: Error decoding JSON data. Error: {error}"))),
    }
}

impl Shared {
    /// A portal that nobody has called yet.
    pub(super) fn new(site_url: String, datasets: Datasets) -> Self {
        let store = Store::new(site_url.clone(), datasets);
        Self {
            site_url,
            store,
            calls: Vec::new(),
            failures: VecDeque::new(),
            listeners: Vec::new(),
            held: Duration::ZERO,
            news: watch::Sender::default(),
        }
    }

    fn call(
        &mut self,
        method: &Method,
        action: &str,
        headers: &HeaderMap,
        params: Result<Map<String, Value>, Refusal>,
    ) -> Response {
        let caller = self.caller(headers);
        let seen = params.as_ref().map_or(Value::Null, |params| Value::Object(params.clone()));
        let response = if let Some(failure) = self.failure(action) {
            failure.response()
        } else {
            let user = if let Caller::User(name) = &caller { Some(name.as_str()) } else { None };
            let outcome = params.and_then(|params| {
                if *method == Method::GET && !is_read(action) {
                    return Err(Refusal::Bad(format!("Bad request: Action name not known: {action}")));
                }
                self.store.act(Request { action, params: &params, user })
            });
            let (status, body) = answer(action, &self.site_url, outcome);
            response(status, body.to_string())
        };
        let status = response.status().as_u16();
        let call = Call { method: method.to_string(), action: action.to_owned(), params: seen, caller, status };
        self.calls.push(call);
        self.news.send_replace(());
        self.announce();
        response
    }

    fn caller(&self, headers: &HeaderMap) -> Caller {
        let Some(token) = headers.get("Authorization") else { return Caller::Anonymous };
        let user = token.to_str().ok().and_then(|token| self.store.user_of(token));
        user.map_or(Caller::UnknownToken, |name| Caller::User(name.to_owned()))
    }

    fn failure(&mut self, action: &str) -> Option<Failure> {
        let index = self.failures.iter().position(|failure| failure.action == action)?;
        self.failures.remove(index)
    }

    /// Tells the listeners what was committed.
    pub(super) fn announce(&mut self) {
        for notice in self.store.notices.drain(..) {
            self.listeners.retain(|listener| listener.send(notice.clone()).is_ok());
        }
    }
}

impl Failure {
    fn response(self) -> Response {
        let mut response = response(self.status, self.body);
        response.headers_mut().extend(self.headers);
        response
    }
}
