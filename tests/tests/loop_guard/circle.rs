//! A portal whose changes come back as notifications, and a worker that writes to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ckan_worker::demo::{Dataset, Datasets, Portal};
use ckan_worker::source::{self, Message, Publisher};
use ckan_worker::store::{self, Store};
use ckan_worker::{Config, config};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use worker_tests::{Broker, WorkerProcess, built, eventually};

/// For what takes its time.
pub const LATER: Duration = Duration::from_secs(60);

/// A portal whose changes come back as notifications, and a worker that writes to it.
pub struct Circle {
    pub portal: Portal,
    pub worker: WorkerProcess,
    dataset: Dataset,
    runtime: Runtime,
    url: String,
    queue: String,
    /// How many notifications were put on the queue.
    published: Arc<AtomicUsize>,
    /// How many the portal has announced, and others.
    announced: Arc<AtomicUsize>,
    publisher: Option<Arc<dyn Publisher>>,
    pump: JoinSet<()>,
}

/// Plays a scene on an SQLite queue, and on RabbitMQ if there is one.
pub fn on_every_queue(name: &str, scene: impl Fn(Circle)) {
    scene(Circle::new(None, "portal", "queue"));
    if let Some(broker) = Broker::shared() {
        let vhost = broker.vhost(name);
        let (site, queue) = (vhost.unique("site"), vhost.unique("queue"));
        vhost.declare_old_topology(&site, &queue);
        scene(Circle::new(Some(vhost.url()), &site, &queue));
    }
}

impl Circle {
    fn new(broker: Option<&str>, site: &str, queue: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let dataset = Dataset::new("trees").resource("a.csv", "https://files.example/a.csv", "CSV");
        let datasets = Datasets::default().with_user("worker", "a-token").with(dataset.clone());
        let portal = runtime.block_on(Portal::start(datasets)).unwrap();
        let worker = WorkerProcess::with_config("");
        let url = broker.map_or_else(|| format!("sqlite:{}", worker.path("queue.db").display()), str::to_owned);
        let mut circle = Self {
            portal,
            worker,
            dataset,
            runtime,
            url,
            queue: format!("ckan.site_id = {site}\nqueue.name = {queue}"),
            published: Arc::default(),
            announced: Arc::default(),
            publisher: None,
            pump: JoinSet::new(),
        };
        circle.scribe("write = nothing");
        let settings = circle.config().queue;
        let publisher = {
            let _entered = circle.runtime.enter();
            Arc::from(source::open_publisher(&settings).unwrap())
        };
        circle.have_pumped(Arc::clone(&publisher));
        circle.publisher = Some(publisher);
        circle
    }

    /// Has what the portal announces put on the queue, as a publisher in the portal would.
    fn have_pumped(&mut self, publisher: Arc<dyn Publisher>) {
        let mut notices = self.portal.notices();
        let (done, announced) = (Arc::clone(&self.published), Arc::clone(&self.announced));
        let pumping = async move {
            while let Some(notice) = notices.recv().await {
                announced.fetch_add(1, Ordering::SeqCst);
                publisher.publish(message(notice.routing_key, notice.body)).await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        self.pump.spawn_on(pumping, self.runtime.handle());
    }

    /// The id of the dataset.
    pub fn id(&self) -> &str {
        self.dataset.id()
    }

    /// Writes the configuration anew, with these settings of the scribe's.
    pub fn scribe(&mut self, settings: &str) {
        let text = format!(
            "[worker]\n{}\namqp.url = {}\nplugin_dir = {}\nckan.site_url = {}\nckan.api_key = a-token\nconcurrency = 4\nretry.delays = 200ms\n\
             journal.path = {}\n[worker:scribe]\njournal = {}\n{settings}\n",
            self.queue,
            self.url,
            built().plugin_dir.display(),
            self.portal.url(),
            self.worker.path("runs-journal").display(),
            self.runs_file().display(),
        );
        std::fs::write(self.worker.path("worker.cfg"), text).unwrap();
    }

    /// Gives the dataset so many resources, as somebody else would.
    pub fn with_resources(&mut self, count: usize) {
        let mut dataset = Dataset::new("shrubs");
        for number in 0..count {
            dataset = dataset.resource(&format!("{number}.csv"), &format!("https://files.example/{number}.csv"), "CSV");
        }
        // Its announcement is not what the scene is about.
        self.dataset = dataset.clone();
        self.portal.create(dataset);
        self.scribe("write = nothing");
        self.run_until_quiet();
        std::fs::remove_file(self.runs_file()).unwrap();
        let _ = std::fs::remove_file(self.store_file());
    }

    /// Announces the dataset as changed.
    pub fn announce(&self) {
        let body = self.portal.notification(self.id(), "changed").unwrap();
        self.put("Package", body);
    }

    /// Puts a notification on the queue.
    pub fn publish(&self, notification: &Value) {
        self.put(notification["routing_key"].as_str().unwrap(), notification.to_string().into_bytes());
    }

    fn put(&self, routing_key: &str, body: Vec<u8>) {
        let publisher = self.publisher.as_ref().expect("it is made with the circle");
        self.runtime.block_on(publisher.publish(message(routing_key, body))).unwrap();
    }

    /// Runs the worker until a point at which it dies.
    pub fn die_at(&mut self, point: &str) {
        let mut command = self.worker.command();
        command.args(["-c", "worker.cfg", "--until-empty", "scribe"]).env("CKAN_WORKER_DIE_AT", point);
        self.worker.spawn(command);
        let status = self.worker.wait(LATER);
        assert!(!status.success(), "it was to die at {point}\n{}", self.worker.report());
    }

    /// Runs the worker until the queue is empty and the portal has nothing more to announce.
    pub fn run_until_quiet(&mut self) {
        for _ in 0..20 {
            self.worker.start(["--until-empty", "scribe"]);
            let status = self.worker.wait(LATER);
            assert!(status.success(), "{status}\n{}", self.worker.report());
            let is_pumped = || self.announced.load(Ordering::SeqCst) == self.published.load(Ordering::SeqCst);
            assert!(eventually(LATER, is_pumped));
            let settings = self.config().queue;
            if self.runtime.block_on(source::look(&settings)).unwrap().unwrap_or(0) == 0 {
                return;
            }
        }
        panic!("it goes on and on\n{}", self.worker.report());
    }

    /// Starts the worker.
    pub fn start(&mut self) {
        self.worker.start(["scribe"]);
    }

    /// Waits until the scribe has begun so many runs on the dataset.
    #[track_caller]
    pub fn has_begun(&self, runs: usize) {
        assert!(eventually(LATER, || self.runs().len() >= runs), "{}", self.worker.report());
    }

    /// Runs the worker until something holds.
    pub fn run_until(&mut self, holds: impl Fn(&Self) -> bool) {
        self.start();
        self.ends_once(holds);
    }

    /// Stops the worker, which runs, once something holds.
    pub fn ends_once(&mut self, holds: impl Fn(&Self) -> bool) {
        let held = eventually(LATER, || holds(self));
        self.worker.terminate();
        self.worker.wait(LATER);
        assert!(held, "{}", self.worker.report());
    }

    /// What another `worker` command says on standard output.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = self.worker.command().args(["-c", "worker.cfg"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The operations of the scribe's runs on the dataset, in order.
    pub fn runs(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.runs_file()).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_suffix(self.id()).map(|line| line.trim().to_owned())).collect()
    }

    /// The ids of the dataset's resources.
    pub fn resources(&self) -> Vec<String> {
        let dataset = self.portal.package(self.id()).unwrap();
        let resources = dataset["resources"].as_array().unwrap().iter();
        resources.map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
    }

    /// How many runs there were on a resource.
    pub fn runs_on_resource(&self, id: &str) -> usize {
        let text = std::fs::read_to_string(self.runs_file()).unwrap_or_default();
        text.lines().filter(|line| *line == format!("resource {id}")).count()
    }

    /// How many runs the scribe remembers in its state.
    pub fn remembered(&self) -> u64 {
        let store = Store::open(&store::Settings { path: self.store_file() }).unwrap();
        store.get("scribe", self.id()).unwrap().map_or(0, |count| count.parse().unwrap())
    }

    fn runs_file(&self) -> PathBuf {
        self.worker.path("runs")
    }

    fn store_file(&self) -> PathBuf {
        self.worker.path("runs-journal.store")
    }

    fn config(&self) -> Config {
        let request = config::Request { file: Some(self.worker.path("worker.cfg")), ..config::Request::default() };
        Config::load(&request).map_or_else(|findings| panic!("{findings}"), |(config, _)| config)
    }
}

fn message(routing_key: &str, body: Vec<u8>) -> Message {
    let id = format!("{:016x}", fastrand::u64(..));
    Message { routing_key: routing_key.to_owned(), id: Some(id), body: body.into(), only: None }
}
