//! What workers noted is written at once, and only where it is new: against the sample portal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ckan_worker::demo::{Dataset, Datasets, Portal};
use ckan_worker::services::Failure;
use ckan_worker::services::ckan::{Announced, Client, OwnWrites, Revision, Settings, flush};
use ckan_worker_plugin::{Delta, Written};
use serde_json::{Map, Value, json};

const TOKEN: &str = "a-token";
const LOST: &str = r#"{"success": false, "error": {"__type": "Validation Error", "match": ["notes"]}}"#;
const NOT_FOUND: &str = r#"{"success": false, "error": {"__type": "Not Found Error", "message": "Not found"}}"#;

async fn portal(resources: usize) -> Portal {
    let dataset = (0..resources).fold(Dataset::new("rivers"), |dataset, number| {
        dataset.resource(&format!("{number}.csv"), &format!("http://files.example/{number}.csv"), "CSV")
    });
    Portal::start(Datasets::default().with_user("worker", TOKEN).with(dataset)).await.unwrap()
}

fn settings(portal: &Portal) -> Settings {
    Settings { site_url: Some(portal.url().parse().unwrap()), api_key: Some(TOKEN.into()), ..Settings::default() }
}

fn client(portal: &Portal) -> Client {
    Client::new(settings(portal)).unwrap()
}

fn id_of(portal: &Portal, resource: &str) -> String {
    portal.resource(resource).unwrap()["id"].as_str().unwrap().to_owned()
}

fn rivers(portal: &Portal) -> String {
    portal.package("rivers").unwrap()["id"].as_str().unwrap().to_owned()
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { Map::new() }
}

fn of_resource(id: &str, fields: Value) -> Delta {
    Delta { resource: Some(id.to_owned()), fields: object(fields), ..Delta::default() }
}

fn of_package(fields: Value) -> Delta {
    Delta { fields: object(fields), ..Delta::default() }
}

/// The actions that were called, in order.
fn actions(portal: &Portal) -> Vec<String> {
    portal.calls().into_iter().map(|call| call.action).collect()
}

/// Keeps what it is told.
#[derive(Default)]
struct Ledger {
    before: Mutex<Vec<Revision>>,
    after: Mutex<Vec<Value>>,
    refuses: bool,
}

impl OwnWrites for Ledger {
    fn before(&self, revision: &Revision, _: &Value, _: bool) -> Result<(), Failure> {
        if self.refuses {
            return Err(Failure::retryable("ledger", "the disk is full"));
        }
        self.before.lock().unwrap().push(revision.clone());
        Ok(())
    }

    fn after(&self, package: &Value) {
        self.after.lock().unwrap().push(package.clone());
    }
}

async fn flushed(
    portal: &Portal,
    deltas: Vec<Delta>,
    known: &mut HashMap<String, Arc<Value>>,
) -> Result<Written, Failure> {
    flush(&client(portal), deltas, Some("rivers"), known, &Ledger::default()).await
}

#[tokio::test]
async fn fifty_changed_resources_become_one_revision() {
    let portal = portal(50).await;
    let deltas: Vec<Delta> = (0..50)
        .map(|number| {
            of_resource(&id_of(&portal, &format!("{number}.csv")), json!({"hash": format!("{number}"), "size": number}))
        })
        .collect();
    let mut known = HashMap::new();
    let written = flushed(&portal, deltas.clone(), &mut known).await.unwrap();
    assert_eq!(written, Written { datasets: vec![rivers(&portal)], changed: 50, unchanged: 0 });
    assert_eq!(actions(&portal), ["resource_show", "package_show", "package_revise"]);
    assert_eq!(portal.resource("49.csv").unwrap()["size"], 49);

    let again = flushed(&portal, deltas, &mut known).await.unwrap();
    assert_eq!(again, Written { datasets: vec![], changed: 0, unchanged: 50 });
    assert_eq!(portal.calls().len(), 3);
}

#[tokio::test]
async fn what_is_equal_is_not_written() {
    let portal = portal(2).await;
    let resource = id_of(&portal, "0.csv");
    portal.edit("rivers", |dataset| dataset["resources"][0]["size"] = json!(7));
    let equal = vec![
        of_resource(&resource, json!({"size": "7", "mimetype": null, "format": "CSV"})),
        of_package(json!({"notes": "", "no_such_field": null})),
    ];
    let written = flushed(&portal, equal, &mut HashMap::new()).await.unwrap();
    assert_eq!(written, Written { datasets: vec![], changed: 0, unchanged: 2 });
    assert_eq!(portal.calls_of("package_revise"), []);
}

#[tokio::test]
async fn a_dataset_that_was_read_in_this_run_is_not_read_again() {
    let portal = portal(1).await;
    let mut known = HashMap::from([(rivers(&portal), Arc::new(portal.package("rivers").unwrap()))]);
    let deltas = vec![of_package(json!({"notes": "n"})), of_resource(&id_of(&portal, "0.csv"), json!({"hash": "h"}))];
    flushed(&portal, deltas, &mut known).await.unwrap();
    assert_eq!(actions(&portal), ["package_revise"]);
    assert_eq!(*known[&rivers(&portal)], portal.package("rivers").unwrap());
}

#[tokio::test]
async fn each_dataset_has_a_revision_of_its_own() {
    let portal = portal(1).await;
    portal.create(Dataset::new("lakes").resource("l.csv", "http://files.example/l.csv", "CSV"));
    let deltas = vec![
        of_resource(&id_of(&portal, "l.csv"), json!({"hash": "l"})),
        of_package(json!({"notes": "n"})),
        Delta { package: Some("lakes".to_owned()), ..of_package(json!({"notes": "l"})) },
    ];
    let written = flushed(&portal, deltas, &mut HashMap::new()).await.unwrap();
    assert_eq!((written.datasets.len(), written.changed), (2, 3));
    assert_eq!(portal.calls_of("package_revise").len(), 2);
    assert_eq!(portal.package("lakes").unwrap()["notes"], "l");
}

#[tokio::test]
async fn a_lost_race_is_read_again_and_applied() {
    let portal = portal(1).await;
    let resource = id_of(&portal, "0.csv");
    let mut known = HashMap::from([(rivers(&portal), Arc::new(portal.package("rivers").unwrap()))]);
    portal.edit("rivers", |dataset| dataset["resources"][0]["description"] = json!("by a person"));
    let expect = object(json!({"checked": null}));
    let delta = Delta { expect, ..of_resource(&resource, json!({"checked": "yes"})) };
    flushed(&portal, vec![delta], &mut known).await.unwrap();
    let statuses: Vec<_> = portal.calls().iter().map(|call| (call.action.clone(), call.status)).collect();
    let call = |action: &str, status| (action.to_owned(), status);
    assert_eq!(statuses, [call("package_revise", 409), call("package_show", 200), call("package_revise", 200)]);
    let resource = portal.resource("0.csv").unwrap();
    assert_eq!((&resource["checked"], &resource["description"]), (&json!("yes"), &json!("by a person")));
}

#[tokio::test]
async fn what_is_not_as_expected_is_not_written() {
    let portal = portal(1).await;
    let resource = id_of(&portal, "0.csv");
    let mut known = HashMap::from([(rivers(&portal), Arc::new(portal.package("rivers").unwrap()))]);
    portal.edit("rivers", |dataset| dataset["resources"][0]["hash"] = json!("by another"));
    let delta = Delta { expect: object(json!({"hash": ""})), ..of_resource(&resource, json!({"hash": "mine"})) };
    let failure = flushed(&portal, vec![delta.clone()], &mut known).await.unwrap_err();
    assert_eq!(failure.code, "ckan.lost-race");
    assert_eq!(portal.resource("0.csv").unwrap()["hash"], "by another");

    // What was read before may be what is wrong.
    portal.edit("rivers", |dataset| dataset["resources"][0]["hash"] = json!(""));
    flushed(&portal, vec![delta], &mut known).await.unwrap();
    assert_eq!(portal.resource("0.csv").unwrap()["hash"], "mine");
}

#[tokio::test]
async fn a_race_that_is_lost_five_times_is_given_up() {
    let portal = portal(1).await;
    for _ in 0..9 {
        portal.fail_next("package_revise", 409, LOST);
    }
    let failure = flushed(&portal, vec![of_package(json!({"notes": "n"}))], &mut HashMap::new()).await.unwrap_err();
    assert_eq!(failure.code, "ckan.lost-race");
    assert_eq!(portal.calls_of("package_revise").len(), 5);
}

#[tokio::test]
async fn a_resource_that_is_gone_is_not_found() {
    let portal = portal(2).await;
    let resource = id_of(&portal, "1.csv");
    let mut known = HashMap::from([(rivers(&portal), Arc::new(portal.package("rivers").unwrap()))]);
    portal.edit("rivers", |dataset| drop(dataset["resources"].as_array_mut().unwrap().pop()));
    let delta = of_resource(&resource, json!({"hash": "h"}));
    let failure = flushed(&portal, vec![delta], &mut known).await.unwrap_err();
    assert_eq!(failure.code, "ckan.not-found", "{}", failure.message);
    assert_eq!(actions(&portal), ["package_revise", "package_show"]);
}

#[tokio::test]
async fn lists_are_replaced() {
    let portal = portal(0).await;
    portal.edit("rivers", |dataset| dataset["tags"] = json!([{"name": "a"}, {"name": "b"}]));
    let delta = of_package(json!({"tags": [{"name": "c"}]}));
    flushed(&portal, vec![delta], &mut HashMap::new()).await.unwrap();
    assert_eq!(portal.package("rivers").unwrap()["tags"], json!([{"name": "c"}]));
}

#[tokio::test]
async fn the_ledger_hears_of_a_write_before_and_after_it() {
    let portal = portal(1).await;
    let (client, ledger) = (client(&portal), Ledger::default());
    let deltas = vec![of_package(json!({"notes": "n"}))];
    flush(&client, deltas.clone(), Some("rivers"), &mut HashMap::new(), &ledger).await.unwrap();
    let before = ledger.before.lock().unwrap().clone();
    assert_eq!(
        (before[0].package.as_str(), before[0].paths.as_slice()),
        (&*rivers(&portal), &["notes".to_owned()][..])
    );
    assert_eq!(*ledger.after.lock().unwrap(), [portal.package("rivers").unwrap()]);

    let full = Ledger { refuses: true, ..Ledger::default() };
    let deltas = vec![of_package(json!({"notes": "other"}))];
    let failure = flush(&client, deltas, Some("rivers"), &mut HashMap::new(), &full).await.unwrap_err();
    assert_eq!((failure.code, portal.calls_of("package_revise").len()), ("ledger", 1));
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let portal = portal(1).await;
    let before = portal.package("rivers").unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let client = Client::new(Settings { dry_run: true, ..settings(&portal) }).unwrap();
    let client = client.telling(Box::new(move |action, parameters| {
        hears.lock().unwrap().push((action.to_owned(), parameters.clone()));
    }));
    let resource = id_of(&portal, "0.csv");
    let (deltas, ledger, mut known) =
        (vec![of_resource(&resource, json!({"hash": "h", "size": 1}))], Ledger::default(), HashMap::new());
    let written = flush(&client, deltas.clone(), Some("rivers"), &mut known, &ledger).await.unwrap();
    assert_eq!(written.changed, 1);
    // The run goes on as if it were written.
    assert_eq!(flush(&client, deltas, Some("rivers"), &mut known, &ledger).await.unwrap().unchanged, 1);

    let patched = client.action("package_patch", r#"{"id":"rivers","notes":"n"}"#).await.unwrap();
    assert_eq!(patched, r#"{"id":"rivers","notes":"n"}"#);
    let revised = client.action("package_revise", r#"{"match__id":"rivers","update":{"notes":"n"}}"#).await.unwrap();
    assert_eq!(revised, r#"{"package":{"id":"rivers"}}"#);
    assert_eq!(client.action("package_delete", r#"{"id":"rivers"}"#).await.unwrap(), "{}");
    let file = json!({"field": "upload", "path": "/no/such/file", "filename": "a.csv", "mimetype": "text/csv"});
    client.upload("resource_patch", br#"{"id":"x"}"#, file.to_string().as_bytes()).await.unwrap();
    client.get("package_show", br#"{"id":"rivers"}"#).await.unwrap();

    assert_eq!(actions(&portal), ["resource_show", "package_show", "package_show"]);
    assert_eq!(portal.package("rivers").unwrap(), before);
    assert!(ledger.before.lock().unwrap().is_empty() && ledger.after.lock().unwrap().is_empty());
    let told = told.lock().unwrap().clone();
    let names: Vec<&str> = told.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(names, ["package_revise", "package_patch", "package_revise", "package_delete", "resource_patch"]);
    let changes = json!([
        {"resource": resource, "field": "hash", "from": "", "to": "h"},
        {"resource": resource, "field": "size", "from": null, "to": 1},
    ]);
    assert_eq!(told[0].1, json!({"id": rivers(&portal), "changes": changes}));
}

#[tokio::test]
async fn a_dataset_that_is_announced_before_it_is_there_is_waited_for() {
    let portal = portal(0).await;
    portal.fail_next("package_show", 404, NOT_FOUND);
    portal.fail_next("package_show", 404, NOT_FOUND);
    let dataset = client(&portal).dataset("rivers", &Announced::default()).await.unwrap();
    assert_eq!((&dataset["name"], portal.calls().len()), (&json!("rivers"), 3));
}

#[tokio::test]
async fn a_dataset_that_never_comes_to_be_is_not_found_and_one_that_stays_as_it_was_is_answered() {
    let portal = portal(0).await;
    let client = client(&portal);
    let announced =
        Announced::by("Package", "changed", br#"{"id": "x", "metadata_modified": "2999-01-01T00:00:00.000000"}"#);
    let (missing, stale) = tokio::join!(client.dataset("nowhere", &announced), client.dataset("rivers", &announced));
    assert_eq!(missing.unwrap_err().code, "ckan.not-found");
    assert_eq!(stale.unwrap()["name"], "rivers");
    assert_eq!(portal.calls_of("package_show").len(), 12);
}
