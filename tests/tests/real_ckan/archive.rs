//! A dataset's way through everything: created in CKAN, announced, fetched from the web, told to CKAN.

use std::time::Duration;

use ckan_worker::demo::{Behaviour, Web};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use worker_tests::ckan::{self, Ckan, Site};
use worker_tests::{WorkerProcess, built, sha256};

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

/// Puts a notification on the queue and has archive work until the queue is empty.
fn work_on(worker: &mut WorkerProcess, notification: &str) {
    std::fs::write(worker.path("lines"), notification).unwrap();
    for arguments in [&["send", "lines"][..], &["--until-empty", "archive"]] {
        worker.start(arguments);
        assert!(worker.wait(SOON).success(), "{}", worker.report());
    }
}

#[test]
fn a_new_dataset_is_archived_and_what_was_found_is_seen_in_ckan_and_not_done_again() {
    let runtime = Runtime::new().unwrap();
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let site = ckan.site("archive").start();
        let files = FILES.map(|(name, mimetype, body)| {
            (format!("/{name}"), Behaviour::File { mimetype: mimetype.into(), body: body.into() })
        });
        let web = runtime.block_on(Web::start(files)).unwrap();
        let resources = FILES.map(|(name, ..)| json!({"name": name, "url": format!("{}/{name}", web.url())}));
        let dataset = json!({"name": "trees", "owner_org": "test-org", "resources": resources});
        site.call("package_create", &dataset);

        let mut worker = WorkerProcess::with_config(&format!(
            "[worker]\nckan.site_id = portal\namqp.url = sqlite:queue.db\njournal.path = journal\nstore.path = store\n\
             plugin_dir = {}\nckan.site_url = {}\nckan.api_key = {}\nfetch.allow = 127.0.0.0/8\nfetch.host_rate = 0\n\
             [worker:archive]\ndir = copies\n",
            built().plugin_dir.display(),
            site.url(),
            site.token(),
        ));
        work_on(&mut worker, &notification(&site, "new"));
        let archived = site.call("package_show", &json!({"id": "trees"}));
        for (resource, (name, mimetype, body)) in archived["resources"].as_array().unwrap().iter().zip(FILES) {
            let found = ["name", "mimetype", "size", "hash"].map(|field| resource[field].clone());
            let expected = [json!(name), json!(mimetype), json!(body.len()), json!(sha256(body.as_bytes()))];
            assert_eq!(found, expected, "{version}: {}", worker.report());
        }
        assert_eq!(web.requests().len(), FILES.len(), "{version}: {}", worker.report());

        // CKAN announces what archive itself has written.
        work_on(&mut worker, &notification(&site, "changed"));
        assert_eq!(web.requests().len(), FILES.len(), "{version}: {}", worker.report());
        assert_eq!(site.call("package_show", &json!({"id": "trees"})), archived, "{version}: {}", worker.report());
    }
}
