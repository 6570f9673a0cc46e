//! A web server on loopback that takes whatever is posted to it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A web server on loopback that takes whatever is posted to it; ended when dropped.
pub struct Receiver {
    runtime: Runtime,
    url: String,
    seen: Arc<Mutex<Seen>>,
}

/// What was posted.
#[derive(Debug, Clone)]
pub struct Post {
    /// The last part of the address.
    pub place: String,
    /// The headers, in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Seen {
    posts: Vec<Post>,
    answers: HashMap<String, VecDeque<u16>>,
}

impl Receiver {
    /// Starts it on a free port.
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads start");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let router = Router::new().fallback(take).with_state(seen.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { runtime, url, seen }
    }

    /// Its address, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it runs.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Answers the next posts to a place with these statuses; others are answered with 204.
    pub fn answer_next(&self, place: &str, statuses: &[u16]) {
        lock(&self.seen).answers.insert(place.to_owned(), statuses.iter().copied().collect());
    }

    /// All that was posted.
    pub fn posts(&self) -> Vec<Post> {
        lock(&self.seen).posts.clone()
    }

    /// What was posted to a place.
    pub fn posts_to(&self, place: &str) -> Vec<Post> {
        self.posts().into_iter().filter(|post| post.place == place).collect()
    }
}

async fn take(State(seen): State<Arc<Mutex<Seen>>>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let place = uri.path().trim_start_matches('/').to_owned();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
    let mut seen = lock(&seen);
    let status = seen.answers.get_mut(&place).and_then(VecDeque::pop_front).unwrap_or(204);
    seen.posts.push(Post { place, headers, body: body.into() });
    StatusCode::from_u16(status).expect("tests answer with statuses")
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
