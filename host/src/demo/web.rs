//! The web server that the resources' addresses point to, with the faults that the web has.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};

use tokio::sync::watch;

use super::digest::sha256;
use super::server::{Server, Stopping};

/// When every file was last changed.
const LAST_MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
/// What endless answers consist of.
const BLOCK: Bytes = Bytes::from_static(&[b'x'; 16 * 1024]);

/// What is served at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// A file, with an `ETag` and `Last-Modified`; answers 304 to whoever has it already.
    File {
        /// Its `Content-Type`.
        mimetype: String,
        /// Its bytes.
        body: Bytes,
    },
    /// A redirect: 301 and 308 are permanent, 302, 303 and 307 are not. `to` may be a path on this server.
    Moved {
        /// The status.
        status: u16,
        /// The `Location`.
        to: String,
    },
    /// A page that says what is wrong.
    Failing {
        /// The status.
        status: u16,
    },
    /// Takes the request and never answers.
    Silent,
    /// Says that it will send so many bytes, and starts to.
    Huge {
        /// Its `Content-Type`.
        mimetype: String,
        /// Its `Content-Length`.
        bytes: u64,
    },
    /// Sends without end, and says no length.
    Endless {
        /// Its `Content-Type`.
        mimetype: String,
    },
}

/// One request, as the web server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The headers, names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The status that was answered; `None` if there was no answer.
    pub status: Option<u16>,
}

/// A running web server. It stops when it is dropped; [`stop`](Self::stop) also waits until it has.
#[derive(Debug)]
pub struct Web {
    server: Server,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    files: BTreeMap<String, Behaviour>,
    hits: Vec<Hit>,
    /// Told of every new hit.
    news: watch::Sender<()>,
}

#[derive(Clone)]
struct Serving {
    shared: Arc<Mutex<Shared>>,
    stopping: Stopping,
}

impl Web {
    /// Serves these paths, each with its slash, on a free loopback port; every other path is a 404.
    ///
    /// # Errors
    /// There is no free port, or the system does not let us listen.
    pub async fn start(files: impl IntoIterator<Item = (String, Behaviour)>) -> io::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared { files: files.into_iter().collect(), ..Shared::default() }));
        let files = Arc::clone(&shared);
        let server =
            Server::start(|_, stopping| Router::new().fallback(serve).with_state(Serving { shared: files, stopping }))
                .await?;
        Ok(Self { server, shared })
    }

    /// The server's address, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// How often a path was asked for.
    pub fn hits(&self, path: &str) -> usize {
        lock(&self.shared).hits.iter().filter(|hit| hit.path == path).count()
    }

    /// Every request since the start.
    pub fn requests(&self) -> Vec<Hit> {
        lock(&self.shared).hits.clone()
    }

    /// Waits until a path was asked for so often, counted from the start.
    pub async fn asked(&self, path: &str, times: usize) {
        let mut news = lock(&self.shared).news.subscribe();
        while self.hits(path) < times {
            news.changed().await.expect("the server that is asked is there");
        }
    }

    /// Serves something else, or something new, at a path from now on.
    pub fn set(&self, path: &str, behaviour: Behaviour) {
        lock(&self.shared).files.insert(path.to_owned(), behaviour);
    }

    /// Stops the server and waits until every answer under way has ended, the endless ones too.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn serve(State(serving): State<Serving>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().to_owned();
    let behaviour = lock(&serving.shared).files.get(&path).cloned().unwrap_or(Behaviour::Failing { status: 404 });
    let silent = behaviour == Behaviour::Silent;
    let response = respond(behaviour, &headers, &serving.stopping);
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let hit = Hit {
        method: method.to_string(),
        path,
        headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        status: (!silent).then(|| response.status().as_u16()),
    };
    lock(&serving.shared).take_down(hit);
    if silent {
        serving.stopping.wait().await;
    }
    response
}

impl Shared {
    fn take_down(&mut self, hit: Hit) {
        self.hits.push(hit);
        self.news.send_replace(());
    }
}

fn respond(behaviour: Behaviour, headers: &HeaderMap, stopping: &Stopping) -> Response {
    match behaviour {
        Behaviour::File { mimetype, body } => file(&mimetype, body, headers),
        Behaviour::Moved { status, to } => (code(status), [(header::LOCATION, to)]).into_response(),
        Behaviour::Failing { status } => failing(code(status)),
        Behaviour::Silent => failing(StatusCode::SERVICE_UNAVAILABLE),
        Behaviour::Huge { mimetype, bytes } => {
            let headers = [(header::CONTENT_TYPE, mimetype), (header::CONTENT_LENGTH, bytes.to_string())];
            (headers, endless(stopping)).into_response()
        }
        Behaviour::Endless { mimetype } => ([(header::CONTENT_TYPE, mimetype)], endless(stopping)).into_response(),
    }
}

fn file(mimetype: &str, body: Bytes, headers: &HeaderMap) -> Response {
    let etag = etag(&body);
    let says = |name, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    let kept = if headers.contains_key(header::IF_NONE_MATCH) {
        says(header::IF_NONE_MATCH, &etag)
    } else {
        says(header::IF_MODIFIED_SINCE, LAST_MODIFIED)
    };
    let about = [(header::ETAG, etag.as_str()), (header::LAST_MODIFIED, LAST_MODIFIED)];
    if kept {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, [(header::CONTENT_TYPE, mimetype)], body).into_response()
}

fn etag(body: &[u8]) -> String {
    format!("\"{:.16}\"", sha256(body))
}

fn failing(status: StatusCode) -> Response {
    let page = format!("<!DOCTYPE html><title>{status}</title><h1>{status}</h1>\n");
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

/// A body that ends only with the server.
fn endless(stopping: &Stopping) -> Body {
    let blocks = stream::repeat_with(|| Ok::<_, io::Error>(BLOCK)).take_until(Box::pin(stopping.clone().wait()));
    Body::from_stream(blocks)
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
