//! The worker `qa` behind `archive`, as an operator runs them: the binary, a queue file, a portal and a web.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ckan_worker::Config;
use ckan_worker::demo::{Behaviour, Dataset, Datasets, Notice, Portal, Web};
use ckan_worker::source::{self, sqlite};
use ckan_worker::store::{self, Store};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;
use worker_tests::{WorkerProcess, built};

/// Nothing here takes longer.
const SOON: Duration = Duration::from_secs(60);

/// What the three resources score, and why, by their names.
const SCORES: &[(&str, u8, &str)] = &[
    ("trees", 3, "By its content it is CSV, which scores 3."),
    ("report", 1, "By its content it is PDF, which scores 1."),
    ("gone", 0, "The file cannot be obtained: Server reported status error: 404 Not Found"),
];

/// A portal with one dataset under an open licence, the web with its files, and the two workers.
struct Scene {
    portal: Portal,
    notices: UnboundedReceiver<Notice>,
    dataset: Dataset,
    worker: WorkerProcess,
    runtime: Runtime,
    _web: Web,
}

impl Scene {
    /// With these settings of qa's beside `archive_dir`.
    fn new(qa: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let csv = Behaviour::File { mimetype: "text/csv".into(), body: "name,height\noak,20\nash,18\n".into() };
        let pdf = Behaviour::File { mimetype: "text/csv".into(), body: "%PDF-1.4\n%%EOF\n".into() };
        let files = [("/trees.csv".to_owned(), csv), ("/report.csv".to_owned(), pdf)];
        let web = runtime.block_on(Web::start(files)).unwrap();
        let address = |name: &str| format!("{}/{name}.csv", web.url());
        let dataset = Dataset::new("trees").set("license_id", "cc-by").set("isopen", true);
        let dataset = SCORES.iter().fold(dataset, |dataset, (name, ..)| dataset.resource(name, &address(name), "CSV"));
        let datasets = Datasets::default().with_user("worker", "a-token").with(dataset.clone());
        let portal = runtime.block_on(Portal::start(datasets)).unwrap();
        let notices = portal.notices();
        let worker = WorkerProcess::with_config(&format!(
            "[worker]\nckan.site_id = portal\namqp.url = sqlite:queue.db\njournal.path = journal\nstore.path = store\n\
             plugin_dir = {}\nckan.site_url = {}\nckan.api_key = a-token\nfetch.allow = 127.0.0.0/8\n\
             fetch.host_rate = 0\n[worker:archive]\ndir = copies\n[worker:qa]\narchive_dir = copies\n{qa}\n",
            built().plugin_dir.display(),
            portal.url(),
        ));
        Self { portal, notices, dataset, worker, runtime, _web: web }
    }

    /// Announces the dataset as changed, and has both workers do what there is to do.
    fn announce(&mut self) {
        let body = self.portal.notification(self.dataset.id(), "changed").unwrap();
        self.work_on(&[body]);
    }

    /// Has both workers work on notifications; none may be left, or become a dead letter.
    fn work_on(&mut self, notifications: &[Vec<u8>]) {
        std::fs::write(self.worker.path("lines"), notifications.join(&b'\n')).unwrap();
        for arguments in [&["send", "lines"][..], &["archive", "qa", "--until-empty"]] {
            self.worker.start(arguments);
            assert!(self.worker.wait(SOON).success(), "{}", self.worker.report());
        }
        let queue = self.worker.path("queue.db");
        let url = format!("sqlite:{}", queue.display());
        let settings = Config::from_map([("ckan.site_id", "portal"), ("amqp.url", url.as_str())]).unwrap().queue;
        assert_eq!(self.runtime.block_on(source::look(&settings)).unwrap(), Some(0), "{}", self.worker.report());
        assert_eq!(sqlite::letters(&queue, &settings).unwrap().len(), 0, "{}", self.worker.report());
    }

    /// What the portal has announced since this was last asked.
    fn announced(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.notices.try_recv().ok()).map(|notice| notice.body).collect()
    }

    /// How many revisions set a score, and how many others there were.
    fn revisions(&self) -> (usize, usize) {
        let calls = self.portal.calls_of("package_revise");
        let scoring = calls.iter().filter(|call| call.params.to_string().contains("openness_score")).count();
        (scoring, calls.len() - scoring)
    }

    /// The dataset's resources, with their names.
    fn resources(&self) -> Vec<Value> {
        self.portal.package(self.dataset.id()).unwrap()["resources"].as_array().unwrap().clone()
    }

    /// What qa remembers under a key.
    fn remembered(&self, key: &str) -> Value {
        let store = Store::open(&store::Settings { path: self.worker.path("store") }).unwrap();
        let text = store.get("qa", key).unwrap();
        serde_json::from_str(&text.unwrap_or_else(|| panic!("nothing is under {key}\n{}", self.worker.report())))
            .unwrap()
    }
}

#[test]
fn scores_and_reasons_are_written_to_the_resources_once() {
    let mut scene = Scene::new("write = resource");
    scene.announce();
    for (resource, (name, score, reason)) in scene.resources().iter().zip(SCORES) {
        assert_eq!(resource["name"], *name);
        assert_eq!((&resource["openness_score"], &resource["openness_score_reason"]), (&json!(score), &json!(reason)));
    }
    assert_eq!(scene.revisions(), (1, 1), "one by each worker\n{}", scene.worker.report());

    // What they have written comes back to them, and somebody announces the dataset once more.
    let echo = scene.announced();
    assert!(!echo.is_empty());
    scene.work_on(&echo);
    scene.announce();
    assert_eq!(scene.revisions(), (1, 1), "{}", scene.worker.report());
    assert_eq!(scene.announced(), Vec::<Vec<u8>>::new());
}

#[test]
fn where_the_portal_takes_no_task_status_results_are_kept_in_the_store() {
    let mut scene = Scene::new("write = task_status");
    scene.announce();
    let refused = scene.portal.calls_of("task_status_update");
    assert_eq!(refused.iter().map(|call| call.status).collect::<Vec<_>>(), [400], "it is not asked again");
    assert!(scene.worker.stderr().contains("CKAN does not take task statuses"), "{}", scene.worker.report());
    for (resource, (_, score, reason)) in scene.resources().iter().zip(SCORES) {
        let record = scene.remembered(&format!("resource/{}", resource["id"].as_str().unwrap()));
        assert_eq!((&record["openness_score"], &record["openness_score_reason"]), (&json!(score), &json!(reason)));
        assert_eq!(record["told"], false);
        assert!(resource.get("openness_score").is_none());
    }
    assert_eq!(scene.remembered(&format!("dataset/{}", scene.dataset.id()))["openness_score"], 3);
}
