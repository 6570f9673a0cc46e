//! The portal and the web server, in a process of their own, so that what they cost is nobody's.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ckan_worker::demo::{Dataset, Datasets, Portal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use worker_tests::sha256;

/// What the portal knows its worker by.
pub const TOKEN: &str = "token-of-the-bench";

/// How much there is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Size {
    /// How many files.
    pub resources: usize,
    /// How many of them in one dataset.
    pub per_dataset: usize,
}

/// Where a site is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Address {
    /// The portal's.
    pub portal: String,
    /// What it says of how it was used.
    pub verdict: String,
}

/// How a site was used.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How many files were sent.
    pub files: usize,
    /// How many revisions were made.
    pub revisions: usize,
    /// Of how many files the portal has the right hash.
    pub right: usize,
}

impl Verdict {
    /// Of a site whose files were archived, each once.
    pub fn of_all(size: Size) -> Self {
        let Size { resources, per_dataset } = size;
        Self { files: resources, revisions: resources.div_ceil(per_dataset), right: resources }
    }
}

struct Site {
    portal: Portal,
    size: Size,
    files: AtomicUsize,
}

/// Is the site until the end of its input. Says where it is, and writes what is to be worked on to `notifications`.
pub fn serve(notifications: &Path, size: Size) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads start");
    let address = runtime.block_on(async {
        let portal = Portal::start(Datasets::default().with_user("worker", TOKEN)).await.expect("a port is free");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let web = format!("http://{}", listener.local_addr().expect("it is bound"));
        fill(&portal, &web, size);
        let address = Address { portal: portal.url(), verdict: format!("{web}/verdict") };
        let lines = portal.backfill().into_iter().flat_map(|notice| [notice.body, b"\n".to_vec()]);
        fs::write(notifications, lines.collect::<Vec<_>>().concat()).expect("the directory is ours");
        let shared = Arc::new(Site { portal, size, files: AtomicUsize::new(0) });
        let router = Router::new().route("/verdict", get(verdict)).fallback(file).with_state(shared);
        runtime.spawn(async move { axum::serve(listener, router).await });
        address
    });
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!(address)).and_then(|()| out.flush()).expect("somebody listens");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    runtime.shutdown_background();
}

fn fill(portal: &Portal, web: &str, size: Size) {
    let numbers: Vec<usize> = (0..size.resources).collect();
    for numbers in numbers.chunks(size.per_dataset) {
        let resource =
            |number: &usize| json!({"name": number.to_string(), "url": format!("{web}/{number}.csv"), "format": "CSV"});
        let resources: Vec<_> = numbers.iter().map(resource).collect();
        portal.create(Dataset::new(&name_of(numbers[0])).set("resources", resources));
    }
}

/// The name of the dataset that begins with this file.
fn name_of(first: usize) -> String {
    format!("dataset-{first}")
}

/// A file of 1 to 20 KiB, like no other.
fn body(number: usize) -> Vec<u8> {
    let bytes = 1024 + number * 7919 % (19 * 1024);
    let lines = (0..).flat_map(|line| format!("{number},{line},{}\n", line * number % 9973).into_bytes());
    b"file,line,value\n".iter().copied().chain(lines).take(bytes).collect()
}

async fn file(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    let name = uri.path().trim_start_matches('/').trim_end_matches(".csv");
    let Some(number) = name.parse().ok().filter(|number| *number < site.size.resources) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    site.files.fetch_add(1, Ordering::Relaxed);
    ([(header::CONTENT_TYPE, "text/csv")], body(number)).into_response()
}

async fn verdict(State(site): State<Arc<Site>>) -> String {
    let right = (0..site.size.resources).step_by(site.size.per_dataset).map(|first| {
        let dataset = site.portal.package(&name_of(first)).unwrap_or_default();
        let resources = dataset["resources"].as_array().into_iter().flatten();
        resources.zip(first..).filter(|(resource, number)| is_right(resource, *number)).count()
    });
    let verdict = Verdict {
        files: site.files.load(Ordering::Relaxed),
        revisions: site.portal.calls_of("package_revise").iter().filter(|call| call.status == 200).count(),
        right: right.sum(),
    };
    json!(verdict).to_string()
}

/// Whether the portal knows a file's hash. Some write the name of the hash before it.
fn is_right(resource: &Value, number: usize) -> bool {
    resource["hash"].as_str().is_some_and(|hash| hash.ends_with(&sha256(&body(number))))
}
