//! A portal that publishes nothing: it is asked, and its workers come to rest.

use std::time::Duration;

use ckan_worker::demo::{Behaviour, Web};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use worker_tests::ckan::{self, Ckan, Site};
use worker_tests::{WorkerProcess, built};

/// Nothing here takes longer.
const SOON: Duration = Duration::from_secs(60);

fn file(body: &'static str) -> Behaviour {
    Behaviour::File { mimetype: "text/csv".into(), body: body.into() }
}

/// Runs until all that the portal has to say is worked on.
fn work(worker: &mut WorkerProcess, name: &str) {
    worker.start(["--until-empty", name]);
    assert!(worker.wait(SOON).success(), "{}", worker.report());
}

#[test]
fn with_an_address_and_a_token_alone_everything_is_archived_and_then_only_what_changes() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let site = ckan.site("asked").start();
        let runtime = Runtime::new().unwrap();
        let paths = ["/a.csv", "/b.csv", "/c.csv", "/d.csv", "/new.csv"];
        let web = runtime.block_on(Web::start(paths.map(|path| (path.to_owned(), file(path))))).unwrap();
        let resource = |path: &str| json!({"name": path, "url": format!("{}{path}", web.url())});
        for (name, paths) in [("trees", &paths[..2]), ("shrubs", &paths[2..4])] {
            let resources: Vec<Value> = paths.iter().map(|path| resource(path)).collect();
            site.call("package_create", &json!({"name": name, "owner_org": "test-org", "resources": resources}));
        }
        let mut worker = WorkerProcess::with_config(&format!(
            "[worker]\nqueue.url = poll:{}\nckan.api_key = {}\nplugin_dir = {}\nfetch.allow = 127.0.0.0/8\n\
             [worker:archive]\ndir = copies\n",
            site.url(),
            site.token(),
            built().plugin_dir.display(),
        ));
        let fetched = || {
            let mut paths: Vec<String> = web.requests().iter().map(|request| request.path.clone()).collect();
            paths.sort();
            paths
        };

        work(&mut worker, "archive");
        assert_eq!(fetched(), paths[..4], "{version}: {}", worker.report());
        let shown = site.call("package_show", &json!({"id": "trees"}));
        assert_eq!(shown["resources"][0]["size"], paths[0].len(), "{version}: {}", worker.report());

        // What archive has written has a new date, and is found; there is nothing new in it.
        for _ in 0..2 {
            work(&mut worker, "archive");
            assert_eq!(fetched(), paths[..4], "{version}: {}", worker.report());
        }
        assert_eq!(site.call("package_show", &json!({"id": "trees"})), shown, "{version}");

        let changed = &shown["resources"][1];
        site.call("resource_patch", &json!({"id": changed["id"], "url": format!("{}/new.csv", web.url())}));
        work(&mut worker, "archive");
        work(&mut worker, "archive");
        assert_eq!(fetched(), paths, "{version}: {}", worker.report());
    }
}

/// CKAN 2.12 announces each write of such a dataset's resources, also one that changes nothing.
fn dataset_that_once_lost_a_tag(site: &Site) -> Value {
    let resources = json!([{"name": "a", "url": "http://files.example/a.csv"}]);
    let dataset = json!({
        "name": "tagged", "owner_org": "test-org", "tags": [{"name": "one"}, {"name": "two"}], "resources": resources,
    });
    let id = site.call("package_create", &dataset)["id"].clone();
    site.call("package_patch", &json!({"id": id, "tags": [{"name": "one"}]}))
}

#[test]
fn a_worker_that_writes_to_a_dataset_that_once_lost_a_tag_goes_quiet() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        for route in ["poll", "outbox"] {
            for write in ["stable", "resource"] {
                let site = ckan.site(route);
                let site = if route == "outbox" { site.plugin("worker") } else { site }.start();
                let id = dataset_that_once_lost_a_tag(&site)["id"].clone();
                let mut worker = WorkerProcess::with_config("");
                let runs = worker.path("runs");
                let config = |write: &str| {
                    format!(
                        "[worker]\nqueue.url = {route}:{}\nckan.api_key = {}\nplugin_dir = {}\n\
                         [worker:scribe]\nwrite = {write}\njournal = {}\n",
                        site.url(),
                        site.token(),
                        built().plugin_dir.display(),
                        runs.display(),
                    )
                };
                let times = || std::fs::read_to_string(&runs).unwrap_or_default().matches(id.as_str().unwrap()).count();
                std::fs::write(worker.path("worker.cfg"), config("nothing")).unwrap();
                work(&mut worker, "scribe");
                let _ = std::fs::remove_file(&runs);

                std::fs::write(worker.path("worker.cfg"), config(write)).unwrap();
                site.call("package_patch", &json!({"id": id, "title": "Something new"}));
                for _ in 0..3 {
                    work(&mut worker, "scribe");
                }
                let first = times();
                for _ in 0..3 {
                    work(&mut worker, "scribe");
                }
                // Where nobody says who wrote it, a resource that a worker has changed is something new to it, once.
                let allowed = if route == "poll" && write == "resource" { 2 } else { 1 };
                let report = format!("{version}, {route}, {write}: {}", worker.report());
                assert!((1..=allowed).contains(&first) && times() == first, "{first} and then {}, {report}", times());
            }
        }
    }
}
