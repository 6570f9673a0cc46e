//! The sample portal and its web server, asked over HTTP as the worker asks them.

mod portal;
mod revise;
mod sample;
mod table;
mod web;

use serde_json::{Value, json};

use super::{Dataset, Datasets, Portal};

const TOKEN: &str = "a-token";

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn client() -> reqwest::Client {
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(redirects).build().unwrap()
}

/// A portal with the dataset `rivers`, which has the resources `a.csv` and `b.csv`, and two hidden datasets.
async fn portal() -> Portal {
    let rivers = Dataset::new("rivers")
        .titled("Rivers")
        .tag("water")
        .extra("theme", "nature")
        .resource("a.csv", "http://files.example/a.csv", "CSV")
        .resource_set("hash", "old")
        .resource("b.csv", "http://files.example/b.csv", "CSV");
    let datasets = Datasets::default()
        .with_user("archiver", TOKEN)
        .with(rivers)
        .with(Dataset::new("secret").private())
        .with(Dataset::new("gone").deleted());
    Portal::start(datasets).await.unwrap()
}

/// Calls an action with a good token.
async fn ask(portal: &Portal, action: &str, params: Value) -> (u16, Value) {
    post(portal, action, params.to_string(), Some(TOKEN)).await
}

/// Calls an action without a token.
async fn ask_anonymously(portal: &Portal, action: &str, params: Value) -> (u16, Value) {
    post(portal, action, params.to_string(), None).await
}

async fn post(portal: &Portal, action: &str, body: String, token: Option<&str>) -> (u16, Value) {
    let mut request = client().post(format!("{}/api/3/action/{action}", portal.url())).body(body);
    if let Some(token) = token {
        request = request.header("Authorization", token);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn id_of(portal: &Portal, resource: &str) -> String {
    portal.resource(resource).unwrap()["id"].as_str().unwrap().to_owned()
}

fn said(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| json!(error.to_string()))
}
