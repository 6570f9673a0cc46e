//! A stand-in for a portal: its database and its search index apart, and a clock of its own, so that what is written in
//! one and not in the other can be shown. Of the search it understands what the host asks.

mod search;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use ckan_worker::services::ckan::to_millisecond;
use serde_json::{Value, json};
use tokio::sync::watch;

use search::Filter;
pub use session::{Session, Told, told};

/// What a call is answered instead, if it is.
type Fault = Box<dyn FnMut(&Call) -> Option<Response> + Send>;

/// A call of an action.
pub struct Call {
    pub action: String,
    pub body: Value,
}

/// What the stand-in knows.
#[derive(Default)]
struct Knows {
    index: BTreeMap<String, Value>,
    database: BTreeMap<String, Value>,
    /// What is there and not shown to us.
    hidden: BTreeSet<String>,
    /// The newest stamp that was given, in seconds.
    now: i64,
    rows_max: usize,
    drops_filters: bool,
    refuses_token: bool,
    fault: Option<Fault>,
    calls: Vec<Call>,
}

/// A stand-in portal on loopback.
#[derive(Clone)]
pub struct Portal {
    pub url: String,
    knows: Arc<Mutex<Knows>>,
    /// How many calls there were.
    called: watch::Sender<usize>,
}

/// A stamp as CKAN writes it.
pub fn stamp(seconds: i64) -> String {
    let at: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let text = (at + jiff::SignedDuration::from_secs(seconds)).to_string();
    format!("{}.123456", text.trim_end_matches('Z'))
}

/// A dataset that was made and changed at these seconds, with resources of these ids and links.
pub fn dataset(id: &str, created: i64, modified: i64, resources: &[(&str, &str)]) -> Value {
    let resources: Vec<Value> =
        resources.iter().map(|(id, url)| json!({ "id": id, "url": url, "state": "active" })).collect();
    json!({
        "id": id, "name": id, "title": id, "state": "active", "private": false, "owner_org": null, "groups": [],
        "metadata_created": stamp(created), "metadata_modified": stamp(modified), "extras": [], "tags": [],
        "resources": resources,
    })
}

impl Portal {
    /// An empty portal.
    pub async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let knows = Knows { rows_max: 1000, ..Knows::default() };
        let portal = Self { url, knows: Arc::new(Mutex::new(knows)), called: watch::channel(0).0 };
        let routes = Router::new().route("/api/3/action/{action}", any(call)).with_state(portal.clone());
        #[expect(clippy::disallowed_methods, reason = "it serves for as long as the test runs")]
        tokio::spawn(axum::serve(listener, routes).into_future());
        portal
    }

    fn with<T>(&self, work: impl FnOnce(&mut Knows) -> T) -> T {
        work(&mut self.knows.lock().unwrap())
    }

    /// Saves a dataset: it is in the database and in the index.
    pub fn save(&self, dataset: &Value) {
        self.commit(dataset);
        self.index(dataset);
    }

    /// Puts a dataset into the database alone.
    pub fn commit(&self, dataset: &Value) {
        let id = dataset["id"].as_str().unwrap().to_owned();
        self.with(|knows| knows.database.insert(id, dataset.clone()));
    }

    /// Puts a dataset into the index alone.
    pub fn index(&self, dataset: &Value) {
        let id = dataset["id"].as_str().unwrap().to_owned();
        self.with(|knows| knows.index.insert(id, dataset.clone()));
    }

    /// Takes a dataset out of the index alone.
    pub fn unindex(&self, id: &str) {
        self.with(|knows| knows.index.remove(id));
    }

    /// Marks a dataset as deleted, as CKAN does: its stamp stays, and the index forgets it.
    pub fn delete(&self, id: &str) {
        self.unindex(id);
        self.with(|knows| knows.database.get_mut(id).unwrap()["state"] = json!("deleted"));
    }

    /// Deletes a dataset for good.
    pub fn purge(&self, id: &str) {
        self.unindex(id);
        self.with(|knows| knows.database.remove(id));
    }

    /// Shows a dataset to others alone, or to us again.
    pub fn hide(&self, id: &str, is_hidden: bool) {
        self.with(|knows| if is_hidden { knows.hidden.insert(id.to_owned()) } else { knows.hidden.remove(id) });
    }

    /// Sets the clock to so many seconds.
    pub fn set_clock(&self, seconds: i64) {
        self.with(|knows| knows.now = seconds);
    }

    /// Lists no more than so many at once.
    pub fn list_at_most(&self, rows: usize) {
        self.with(|knows| knows.rows_max = rows);
    }

    /// Does not look at filters, as behind some proxies.
    pub fn drop_filters(&self, drops: bool) {
        self.with(|knows| knows.drops_filters = drops);
    }

    /// Knows no token.
    pub fn refuse_token(&self, refuses: bool) {
        self.with(|knows| knows.refuses_token = refuses);
    }

    /// Answers calls otherwise, as long as that answers anything.
    pub fn fail(&self, fault: impl FnMut(&Call) -> Option<Response> + Send + 'static) {
        self.with(|knows| knows.fault = Some(Box::new(fault)));
    }

    /// Answers all calls as they should be.
    pub fn heal(&self) {
        self.with(|knows| knows.fault = None);
    }

    /// How often each action was called, and forgets that.
    pub fn calls(&self) -> BTreeMap<String, usize> {
        let mut counted = BTreeMap::new();
        for call in self.with(|knows| std::mem::take(&mut knows.calls)) {
            *counted.entry(call.action).or_default() += 1;
        }
        counted
    }

    /// Tells of each call.
    pub fn called(&self) -> watch::Receiver<usize> {
        self.called.subscribe()
    }
}

async fn call(
    State(portal): State<Portal>,
    Path(action): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(query));
    let call = Call { action, body };
    let answer = portal.with(|knows| {
        let fault = knows.fault.as_mut().and_then(|fault| fault(&call));
        let answer = fault.unwrap_or_else(|| knows.answer(&call, headers.contains_key("authorization")));
        knows.calls.push(call);
        answer
    });
    portal.called.send_modify(|called| *called += 1);
    answer
}

impl Knows {
    fn answer(&self, call: &Call, has_token: bool) -> Response {
        let is_known = has_token && !self.refuses_token;
        match call.action.as_str() {
            "status_show" => success(&json!({ "ckan_version": "2.12.0", "extensions": [] })),
            "user_show" if is_known => success(&json!({ "name": "worker", "sysadmin": true })),
            "user_show" => failure(StatusCode::NOT_FOUND, "Not Found Error"),
            "package_search" => success(&json!({ "count": 0, "results": self.search(&call.body, is_known) })),
            "package_show" => {
                let id = call.body["id"].as_str().unwrap();
                match self.database.get(id) {
                    Some(dataset) if self.is_shown(dataset, is_known) => success(dataset),
                    Some(_) => failure(StatusCode::FORBIDDEN, "Authorization Error"),
                    None => failure(StatusCode::NOT_FOUND, "Not Found Error"),
                }
            }
            other => panic!("nobody should call {other}"),
        }
    }

    fn is_shown(&self, dataset: &Value, is_known: bool) -> bool {
        !self.hidden.contains(dataset["id"].as_str().unwrap()) && (is_known || dataset["private"] == false)
    }

    fn search(&self, asked: &Value, is_known: bool) -> Vec<Value> {
        let now = to_millisecond(&stamp(self.now));
        let filter = asked["fq"].as_str().filter(|_| !self.drops_filters).unwrap_or_default();
        if let Some(ids) = search::ids(filter) {
            let found = ids.filter_map(|id| self.index.get(id)).filter(|dataset| self.is_shown(dataset, is_known));
            return found.cloned().collect();
        }
        let mut found: Vec<(String, &Value)> = self
            .index
            .values()
            .filter(|dataset| self.is_shown(dataset, is_known))
            .map(|dataset| (to_millisecond(dataset["metadata_modified"].as_str().unwrap()), dataset))
            .filter(|(stamp, dataset)| {
                let id = dataset["id"].as_str().unwrap();
                Filter::passes(filter, &now, &BTreeMap::from([("id", id), ("metadata_modified", stamp)]))
            })
            .collect();
        let by_stamp = |(stamp, dataset): &(String, &Value)| (stamp.clone(), dataset["id"].to_string());
        match asked["sort"].as_str() {
            Some("metadata_modified asc, id asc") => found.sort_by_key(by_stamp),
            Some("metadata_modified desc, id desc") => found.sort_by_key(|found| std::cmp::Reverse(by_stamp(found))),
            _ => {}
        }
        let rows = usize::try_from(asked["rows"].as_u64().unwrap()).unwrap_or(usize::MAX).min(self.rows_max);
        let is_short = asked.get("fl").is_some();
        found
            .into_iter()
            .take(rows)
            .map(|(stamp, dataset)| if is_short { short(&stamp, dataset) } else { dataset.clone() })
            .collect()
    }
}

/// What the index gives of a dataset when only some fields are asked for.
fn short(stamp: &str, dataset: &Value) -> Value {
    let resources = dataset["resources"].as_array().unwrap();
    let urls: Vec<&Value> = resources.iter().map(|resource| &resource["url"]).collect();
    json!({
        "id": dataset["id"], "metadata_modified": stamp, "metadata_created": dataset["metadata_created"],
        "state": dataset["state"], "owner_org": dataset["owner_org"], "groups": dataset["groups"], "res_url": urls,
        "capacity": if dataset["private"] == true { "private" } else { "public" },
    })
}

fn success(result: &Value) -> Response {
    axum::Json(json!({ "help": "", "success": true, "result": result })).into_response()
}

fn failure(status: StatusCode, kind: &str) -> Response {
    let error = json!({ "__type": kind, "message": kind });
    (status, axum::Json(json!({ "help": "", "success": false, "error": error }))).into_response()
}
