//! A dataset's way through everything: created in CKAN, announced, fetched from the web, told to CKAN.

use std::time::Duration;

use ckan_worker::demo::{Behaviour, Web};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use worker_tests::ckan::{self, Ckan, Site};
use worker_tests::{Broker, WorkerProcess, built, sha256};

/// Nothing here takes longer.
const SOON: Duration = Duration::from_secs(60);

/// The files of the dataset's two resources: their names, what the server says that they are, and what is in them.
const FILES: [(&str, &str, &str); 2] =
    [("trees.csv", "text/csv", "name,height\noak,20\nash,18\n"), ("note.txt", "text/plain", "Counted in June.\n")];

/// What CKAN publishes of a dataset: not in the shape of `package_show`.
fn notification(site: &Site, operation: &str) -> String {
    let mut payload = site.call("package_show", &json!({"id": "trees"}));
    let names = |list: &Value| list.as_array().unwrap().iter().map(|item| item["name"].clone()).collect::<Value>();
    (payload["tags"], payload["groups"]) = (names(&payload["tags"]), json!(["test-org"]));
    payload["extras"] = json!({});
    payload.as_object_mut().unwrap().remove("organization");
    json!({"routing_key": "Package", "operation": operation, "payload": payload}).to_string()
}

/// Puts a notification on the worker's queue.
type Put<'a> = &'a dyn Fn(&mut WorkerProcess, &str);

/// With `worker send`.
fn send(worker: &mut WorkerProcess, notification: &str) {
    std::fs::write(worker.path("lines"), notification).unwrap();
    worker.start(["send", "lines"]);
    assert!(worker.wait(SOON).success(), "{}", worker.report());
}

/// Has archive work on a notification until the queue is empty.
fn work_on(worker: &mut WorkerProcess, put: Put<'_>, notification: &str) {
    put(worker, notification);
    worker.start(["--until-empty", "archive"]);
    assert!(worker.wait(SOON).success(), "{}", worker.report());
}

/// Creates a dataset in the CKAN and has the worker, with this queue, hear of it twice.
fn archive_once(site: &Site, queue: &str, put: Put<'_>) {
    let runtime = Runtime::new().unwrap();
    let version = site.version();
    let files = FILES.map(|(name, mimetype, body)| {
        (format!("/{name}"), Behaviour::File { mimetype: mimetype.into(), body: body.into() })
    });
    let web = runtime.block_on(Web::start(files)).unwrap();
    let resources = FILES.map(|(name, ..)| json!({"name": name, "url": format!("{}/{name}", web.url())}));
    site.call("package_create", &json!({"name": "trees", "owner_org": "test-org", "resources": resources}));
    let mut worker = WorkerProcess::with_config(&format!(
        "[worker]\n{queue}\njournal.path = journal\nstore.path = store\nplugin_dir = {}\nckan.site_url = {}\n\
         ckan.api_key = {}\nfetch.allow = 127.0.0.0/8\nfetch.host_rate = 0\n[worker:archive]\ndir = copies\n",
        built().plugin_dir.display(),
        site.url(),
        site.token(),
    ));

    work_on(&mut worker, put, &notification(site, "new"));
    let archived = site.call("package_show", &json!({"id": "trees"}));
    for (resource, (name, mimetype, body)) in archived["resources"].as_array().unwrap().iter().zip(FILES) {
        let found = ["name", "mimetype", "size", "hash"].map(|field| resource[field].clone());
        let expected = [json!(name), json!(mimetype), json!(body.len()), json!(sha256(body.as_bytes()))];
        assert_eq!(found, expected, "{version}: {}", worker.report());
    }
    assert_eq!(web.requests().len(), FILES.len(), "{version}: {}", worker.report());

    // CKAN announces what archive itself has written.
    work_on(&mut worker, put, &notification(site, "changed"));
    assert_eq!(web.requests().len(), FILES.len(), "{version}: {}", worker.report());
    assert_eq!(site.call("package_show", &json!({"id": "trees"})), archived, "{version}: {}", worker.report());
}

#[test]
fn a_new_dataset_is_archived_and_what_was_found_is_seen_in_ckan_and_not_done_again() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        archive_once(&ckan.site("archive").start(), "ckan.site_id = portal\namqp.url = sqlite:queue.db", &send);
    }
}

#[test]
fn what_a_broker_brings_is_archived_once_too() {
    for version in ckan::versions() {
        let (Some(ckan), Some(broker)) = (Ckan::shared(version), Broker::shared()) else { return };
        let vhost = broker.vhost("archive");
        let (exchange, queue) = (vhost.unique("site"), vhost.unique("queue"));
        vhost.declare_old_topology(&exchange, &queue);
        let settings = format!("ckan.site_id = {exchange}\nqueue.url = {}\nqueue.name = {queue}", vhost.url());
        let publish = |_: &mut WorkerProcess, notification: &str| vhost.publish(&exchange, "Package", [notification]);
        archive_once(&ckan.site("broker").start(), &settings, &publish);
        assert_eq!(vhost.ready(&queue), Some(0), "{version}");
    }
}
