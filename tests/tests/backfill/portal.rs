//! A stand-in for a portal of many datasets, on loopback: it answers `package_search` for all datasets behind an id, and
//! for some by their ids, and nothing else that a CKAN does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A portal; its thread ends with it.
pub struct Portal {
    address: SocketAddr,
    site: Arc<Site>,
    _runtime: Runtime,
}

struct Site {
    count: usize,
    /// What the actor does with each dataset.
    act: String,
    /// How many requests are answered with a failure before the next well.
    failing: AtomicU64,
    refuses: std::sync::atomic::AtomicBool,
    drops_filters: std::sync::atomic::AtomicBool,
    /// The one dataset that it fails at whenever it is to show it.
    broken: Mutex<Option<usize>>,
    asked: AtomicUsize,
    /// What it was asked to list last.
    searched: Mutex<(String, String)>,
}

/// The id of a dataset; in order.
pub fn id(number: usize) -> String {
    format!("d-{number:06}")
}

impl Portal {
    /// One of `count` datasets.
    pub fn start(count: usize, act: &str) -> Self {
        let site = Arc::new(Site {
            count,
            act: act.to_owned(),
            failing: AtomicU64::new(0),
            refuses: std::sync::atomic::AtomicBool::new(false),
            drops_filters: std::sync::atomic::AtomicBool::new(false),
            broken: Mutex::default(),
            asked: AtomicUsize::new(0),
            searched: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/api/3/action/package_search", post(search)).with_state(Arc::clone(&site));
        // It lives as long as the runtime.
        drop(runtime.spawn(async move { axum::serve(listener, app).await }));
        Self { address, site, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Fails at the next requests.
    pub fn fail_next(&self, requests: u64) {
        self.site.failing.store(requests, Ordering::SeqCst);
    }

    /// Refuses whoever asks.
    pub fn refuse(&self) {
        self.site.refuses.store(true, Ordering::SeqCst);
    }

    /// Does not look at `fq` from now on.
    pub fn drop_filters(&self) {
        self.site.drops_filters.store(true, Ordering::SeqCst);
    }

    /// Fails at a dataset from now on, and at all that are asked for with it.
    pub fn break_dataset(&self, number: usize) {
        *self.site.broken.lock().unwrap() = Some(number);
    }

    /// The `q` and `fq` of the last listing.
    pub fn searched(&self) -> (String, String) {
        self.site.searched.lock().unwrap().clone()
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.site.asked.load(Ordering::SeqCst)
    }
}

async fn search(State(site): State<Arc<Site>>, body: String) -> Response {
    site.asked.fetch_add(1, Ordering::SeqCst);
    if site.refuses.load(Ordering::SeqCst) {
        let error = json!({ "success": false, "error": { "__type": "Authorization Error", "message": "no" } });
        return (StatusCode::FORBIDDEN, error.to_string()).into_response();
    }
    let fails = site.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if fails.is_ok() {
        return (StatusCode::SERVICE_UNAVAILABLE, "a stand-in that is told to fail").into_response();
    }
    let asked: Value = serde_json::from_str(&body).unwrap();
    let (fq, rows) = (asked["fq"].as_str().unwrap(), usize::try_from(asked["rows"].as_u64().unwrap()).unwrap());
    let datasets: Vec<Value> = if let Some(ids) = fq.strip_prefix("id:(") {
        let ids = ids.trim_end_matches(')').split(" OR ").map(|id| id.trim_matches('"'));
        let numbers: Vec<usize> = ids.filter_map(number).filter(|number| *number < site.count).collect();
        if site.broken.lock().unwrap().is_some_and(|broken| numbers.contains(&broken)) {
            return (StatusCode::INTERNAL_SERVER_ERROR, "a stand-in that fails at a dataset").into_response();
        }
        numbers.into_iter().map(|number| site.dataset(number)).collect()
    } else {
        *site.searched.lock().unwrap() = (asked["q"].as_str().unwrap().to_owned(), fq.to_owned());
        let fq = if site.drops_filters.load(Ordering::SeqCst) { "" } else { fq };
        let behind = fq.split_once("id:{\"").map(|(_, rest)| rest.split('"').next().unwrap());
        // Whoever asks for what is young gets the second half.
        let youngest = if fq.contains("metadata_modified:[") { site.count / 2 } else { 0 };
        let first = behind.and_then(number).map_or(0, |number| number + 1).max(youngest);
        assert_eq!(asked["sort"], "id asc");
        (first..site.count).take(rows).map(|number| site.dataset(number)).collect()
    };
    let result = json!({ "count": site.count, "results": datasets });
    json!({ "success": true, "result": result }).to_string().into_response()
}

fn number(id: &str) -> Option<usize> {
    id.strip_prefix("d-")?.parse().ok()
}

impl Site {
    fn dataset(&self, number: usize) -> Value {
        let id = id(number);
        json!({
            "id": id, "name": format!("dataset-{number}"), "title": "A dataset of a stand-in", "act": self.act,
            "metadata_modified": "2026-11-01T00:00:00.000000", "metadata_created": "2026-11-01T00:00:00.000000",
            "state": "active", "type": "dataset", "tags": [], "groups": [], "extras": [],
            "resources": [{ "id": format!("r-{number}"), "url": "http://127.0.0.1/file", "format": "CSV" }],
        })
    }
}
