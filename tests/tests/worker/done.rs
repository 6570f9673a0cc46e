//! What goes well.

use ckan_worker::demo::{Behaviour, Dataset, Datasets, Portal, Web};
use serde_json::Value;
use tokio::runtime::Runtime;
use worker_tests::{Broker, kombu};

use crate::stage::{Stage, package, resource};

/// A portal of three datasets with two files each, and the files.
async fn portal_and_web() -> (Portal, Web) {
    let file = |body: &'static str| Behaviour::File { mimetype: "text/csv".into(), body: body.into() };
    let web = Web::start([("/a.csv".to_owned(), file("a,b\n1,2\n")), ("/b.csv".to_owned(), file("c,d\n3,4\n"))]);
    let web = web.await.unwrap();
    let mut datasets = Datasets::default().with_user("worker", "a-token");
    for name in ["air", "rain", "sun"] {
        let url = |file: &str| format!("{}/{file}", web.url());
        let dataset = Dataset::new(name).resource("a.csv", &url("a.csv"), "CSV");
        datasets = datasets.with(dataset.resource("b.csv", &url("b.csv"), "CSV"));
    }
    (Portal::start(datasets).await.unwrap(), web)
}

/// What echo has logged about a dataset or its resources: class and operation, in order.
fn echoed(stage: &Stage<'_>, package_id: &str) -> Vec<String> {
    let log = stage.log();
    let lines = log.iter().filter(|line| line["worker"] == "echo" && line["target"] == "worker");
    let about = lines.filter_map(|line| {
        let mut words = line["message"].as_str()?.splitn(3, ' ');
        let (routing_key, operation) = (words.next()?, words.next()?);
        let payload: Value = serde_json::from_str(words.next()?).ok()?;
        let id = if routing_key == "Package" { &payload["id"] } else { &payload["package_id"] };
        (id == package_id).then(|| format!("{routing_key} {operation}"))
    });
    about.collect()
}

#[test]
fn what_kombu_publishes_reaches_both_workers_in_order_and_ckan_hears_once_of_each_dataset() {
    let Some(broker) = Broker::shared() else { return };
    let runtime = Runtime::new().unwrap();
    let (portal, web) = runtime.block_on(portal_and_web());
    let mut stage = Stage::old(broker, "kombu", "");
    let dir = stage.worker.path("archive");
    stage.configure(
        stage.vhost.url(),
        &format!(
            "ckan.site_url = {}\nckan.api_key = a-token\nfetch.allow = 127.0.0.0/8\n\
             fetch.host_concurrency = 100\nfetch.host_rate = 0\nconcurrency = 4\n\
             [worker:archive]\ndir = {}",
            portal.url(),
            dir.display()
        ),
    );
    let names = ["air", "rain", "sun"];
    let ids: Vec<String> =
        names.iter().map(|name| portal.package(name).unwrap()["id"].as_str().unwrap().to_owned()).collect();
    let mut notifications: Vec<Value> = Vec::new();
    for operation in ["new", "changed"] {
        for id in &ids {
            notifications.push(serde_json::from_slice(&portal.notification(id, operation).unwrap()).unwrap());
        }
        let resources = portal.backfill().into_iter().filter(|notice| notice.routing_key == "Resource");
        notifications.extend(resources.map(|notice| serde_json::from_slice::<Value>(&notice.body).unwrap()));
    }
    kombu::publish(stage.vhost.url(), &stage.site, &notifications);

    stage.run_until_empty(&["archive", "echo"]);

    for id in &ids {
        let published = notifications.iter().filter(|notification| {
            notification["payload"]["id"] == id.as_str() || notification["payload"]["package_id"] == id.as_str()
        });
        let published = published.map(|notification| {
            format!("{} {}", notification["routing_key"].as_str().unwrap(), notification["operation"].as_str().unwrap())
        });
        assert_eq!(echoed(&stage, id), published.collect::<Vec<_>>(), "{}", stage.worker.report());
    }
    let revised = portal.calls_of("package_revise");
    assert_eq!(revised.len(), 3, "{revised:#?}");
    for id in &ids {
        let package = portal.package(id).unwrap();
        for resource in package["resources"].as_array().unwrap() {
            assert!(resource["hash"].as_str().is_some_and(|hash| !hash.is_empty()), "{resource}");
            assert_eq!(resource["size"], 8, "{resource}");
            let id = resource["id"].as_str().unwrap();
            let kept = dir.join(&id[..2]).join(id);
            assert!(std::fs::read_dir(&kept).is_ok_and(|files| files.count() > 0), "{}", kept.display());
        }
    }
    assert!(stage.dead().is_empty());
    assert_eq!(stage.queue_type(&stage.queue), "classic", "the queue of 2011 stays what it is");
    runtime.block_on(async {
        portal.stop().await;
        web.stop().await;
    });
}

#[test]
fn what_is_missing_is_made_and_receives_what_is_published_to_the_site() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::bare(broker, "missing", "");
    stage.run_until_empty(&["actor"]);
    assert_eq!(stage.queue_type(&stage.queue), "quorum");
    assert_eq!(stage.vhost.ready(&stage.dead_queue()), Some(0));
    stage.publish([package("p1", "done"), resource("r1", "p1", "done")]);
    stage.run_until_empty(&["actor", "actor2"]);
    assert_eq!(stage.done_by("actor"), ["p1", "r1"]);
    assert_eq!(stage.done_by("actor2"), ["p1", "r1"]);
    assert!(stage.dead().is_empty());
}

#[test]
fn a_queue_that_must_not_be_made_is_not_and_the_worker_says_so() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::bare(broker, "not-made", "queue.create = no");
    stage.worker.start(["actor"]);
    assert_eq!(stage.worker.wait(crate::stage::SOON).code(), Some(78), "{}", stage.worker.report());
    assert!(stage.worker.stderr().contains("does not exist"), "{}", stage.worker.report());
    assert_eq!(stage.vhost.ready(&stage.queue), None);
}
