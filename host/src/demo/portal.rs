//! A portal on loopback that speaks CKAN's action API and remembers what it was asked.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::actions::{Request, Store, is_read};
use super::announce::{self, Notice};
use super::dataset::{Dataset, Datasets, resources, text};
use super::envelope::{Refusal, answer, response};
use super::server::Server;

/// The longest request that is read; CKAN's own limit stands in its web server.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A running portal. It stops when it is dropped; [`stop`](Self::stop) also waits until it has.
#[derive(Debug)]
pub struct Portal {
    server: Server,
    shared: Arc<Mutex<Shared>>,
}

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
struct Shared {
    site_url: String,
    store: Store,
    calls: Vec<Call>,
    failures: VecDeque<Failure>,
    listeners: Vec<mpsc::UnboundedSender<Notice>>,
}

#[derive(Debug)]
struct Failure {
    action: String,
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Portal {
    /// Starts a portal with these datasets on a free loopback port.
    ///
    /// # Errors
    /// There is no free port, or the system does not let us listen.
    pub async fn start(datasets: Datasets) -> io::Result<Self> {
        let mut shared = None;
        let server = Server::start(|address, _| {
            let site_url = format!("http://{address}");
            let made = Arc::new(Mutex::new(Shared {
                store: Store::new(site_url.clone(), datasets),
                site_url,
                calls: Vec::new(),
                failures: VecDeque::new(),
                listeners: Vec::new(),
            }));
            shared = Some(Arc::clone(&made));
            Router::new()
                .route("/", get(front))
                .route("/api/3/action/{action}", get(call).post(call))
                .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
                .with_state(made)
        })
        .await?;
        Ok(Self { server, shared: shared.expect("a server that started has made its routes") })
    }

    /// The portal's address, without a slash at the end: the `site_url` of a configuration.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Every call since the start, in the order of their answers.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The calls of one action.
    pub fn calls_of(&self, action: &str) -> Vec<Call> {
        self.lock().calls.iter().filter(|call| call.action == action).cloned().collect()
    }

    /// Answers the next call of `action` with this status and body, and changes nothing.
    ///
    /// Told several times, it fails as many calls, in this order. A body that starts with `<` is sent as HTML.
    pub fn fail_next(&self, action: &str, status: u16, body: &str) {
        self.fail_next_with(action, status, body, &[]);
    }

    /// Like [`fail_next`](Self::fail_next), with headers beside it, as in `[("Retry-After", "2")]`.
    ///
    /// # Panics
    /// The status or a header is not one that HTTP knows: a mistake in the test.
    pub fn fail_next_with(&self, action: &str, status: u16, body: &str, headers: &[(&'static str, &'static str)]) {
        let header = |(name, value): &(&'static str, &'static str)| {
            (
                name.parse::<axum::http::HeaderName>().expect("a header's name"),
                axum::http::HeaderValue::from_static(value),
            )
        };
        self.lock().failures.push_back(Failure {
            action: action.to_owned(),
            status: StatusCode::from_u16(status).expect("a status between 100 and 999"),
            headers: headers.iter().map(header).collect(),
            body: body.to_owned(),
        });
    }

    /// What the portal announces from now on: after each change that is committed, in the published shape.
    ///
    /// The order is that of CKAN: new resources, changed ones, then the dataset.
    pub fn notices(&self) -> mpsc::UnboundedReceiver<Notice> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().listeners.push(sender);
        receiver
    }

    /// The notification that CKAN would publish about a dataset (by id or name) or a resource (by id).
    pub fn notification(&self, id: &str, operation: &'static str) -> Option<Vec<u8>> {
        let shared = self.lock();
        let of_package =
            shared.store.find(id).map(|package| announce::of_package(package, operation, &shared.site_url));
        let notice = of_package
            .or_else(|| shared.store.find_resource(id).map(|resource| announce::of_resource(resource, operation)));
        notice.map(|notice| notice.body)
    }

    /// `Package changed` for every dataset, hidden ones too: what a person would send to have all of them worked on.
    pub fn backfill(&self) -> Vec<Notice> {
        let shared = self.lock();
        let packages = shared.store.packages().iter();
        packages.map(|package| announce::of_package(package, "changed", &shared.site_url)).collect()
    }

    /// Adds a dataset as a person would, and announces it.
    pub fn create(&self, dataset: Dataset) {
        let mut shared = self.lock();
        shared.store.create(dataset);
        shared.announce();
    }

    /// Changes a dataset (by id or name) as a person would, and announces what changed; whether anything did.
    ///
    /// # Panics
    /// There is no such dataset, or what it was changed to is not valid: a mistake in the test.
    pub fn edit(&self, id: &str, edit: impl FnOnce(&mut Map<String, Value>)) -> bool {
        let mut shared = self.lock();
        let mut package = shared.store.find(id).cloned().expect("the dataset to edit is on the portal");
        edit(&mut package);
        let changed = shared.store.commit(package).expect("the edited dataset is valid");
        shared.announce();
        changed
    }

    /// A dataset as it is stored now, in the shape of `package_show`; `None` if there is none with this id or name.
    pub fn package(&self, id: &str) -> Option<Value> {
        self.lock().store.find(id).cloned().map(Value::Object)
    }

    /// A resource as it is stored now, by id or by name; `None` if there is none.
    pub fn resource(&self, id: &str) -> Option<Value> {
        let shared = self.lock();
        let mut all = shared.store.packages().iter().flat_map(resources);
        all.find(|resource| text(resource, "id") == id || text(resource, "name") == id).cloned().map(Value::Object)
    }

    /// Stops the portal and waits until every answer under way has ended.
    pub async fn stop(self) {
        self.server.stop().await;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
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
    lock(&shared).call(&method, &action, &headers, params)
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
    fn call(
        &mut self,
        method: &Method,
        action: &str,
        headers: &HeaderMap,
        params: Result<Map<String, Value>, Refusal>,
    ) -> Response {
        let caller = self.caller(headers);
        let seen = params.as_ref().map_or(Value::Null, |params| Value::Object(params.clone()));
        let response = match self.failure(action) {
            Some(failure) => failure.response(),
            None => {
                let user = if let Caller::User(name) = &caller { Some(name.as_str()) } else { None };
                let outcome = params.and_then(|params| {
                    if *method == Method::GET && !is_read(action) {
                        return Err(Refusal::Bad(format!("Bad request: Action name not known: {action}")));
                    }
                    self.store.act(Request { action, params: &params, user })
                });
                let (status, body) = answer(action, &self.site_url, outcome);
                response(status, body.to_string())
            }
        };
        let status = response.status().as_u16();
        self.calls.push(Call { method: method.to_string(), action: action.to_owned(), params: seen, caller, status });
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
    fn announce(&mut self) {
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
