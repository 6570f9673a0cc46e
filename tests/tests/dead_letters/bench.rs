//! A queue with dead letters, and a worker to look at them with.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use ckan_worker::Config;
use ckan_worker::delivery::{DeadReason, Delivery, Fate, Letter};
use ckan_worker::source::{self, Message, Settings};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;
use worker_tests::{Broker, Consumed, Vhost, WorkerProcess, built, consumed};

/// Nothing here takes longer.
pub const SOON: Duration = Duration::from_secs(30);

/// A queue, and a worker that is set up for it.
pub struct Bench {
    pub settings: Settings,
    pub worker: WorkerProcess,
    pub vhost: Option<Box<Vhost<'static>>>,
    _dir: TempDir,
    journal: PathBuf,
}

impl Bench {
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("queue.db").display());
        Self::new("portal", &url, "portal.queue", None, dir)
    }

    pub fn amqp() -> Option<Self> {
        let vhost = Broker::shared()?.vhost("dead");
        let (site, queue) = (vhost.unique("site"), vhost.unique("queue"));
        let url = vhost.url().to_owned();
        Some(Self::new(&site, &url, &queue, Some(Box::new(vhost)), tempfile::tempdir().unwrap()))
    }

    fn new(site: &str, url: &str, queue: &str, vhost: Option<Box<Vhost<'static>>>, dir: TempDir) -> Self {
        let journal = dir.path().join("runs");
        let mut text = format!(
            "[worker]\nckan.site_id = {site}\namqp.url = {url}\nqueue.name = {queue}\nretry.delays = 1h, 2h\n\
             plugin_dir = {}\n",
            built().plugin_dir.display()
        );
        for actor in ["actor", "actor2"] {
            text.extend(["[worker:", actor, "]\njournal = ", &journal.display().to_string(), "\n"]);
        }
        let map = [("ckan.site_id", site), ("amqp.url", url), ("queue.name", queue), ("retry.delays", "1h, 2h")];
        let settings = Config::from_map(map).unwrap().queue;
        Self { settings, worker: WorkerProcess::with_config(&text), vhost, _dir: dir, journal }
    }

    /// Makes dead letters, each of an id, the worker it died for and what becomes of it when it runs again.
    pub fn bury<'a>(&self, letters: impl IntoIterator<Item = (&'a str, &'a str, DeadReason)>) {
        let letters: Vec<_> = letters.into_iter().collect();
        self.bury_as(&letters.iter().map(|(id, worker, reason)| Grave::of(id, worker, *reason)).collect::<Vec<_>>());
    }

    /// Makes dead letters, the oldest first.
    pub fn bury_as(&self, graves: &[Grave]) {
        runtime().block_on(async {
            let publisher = source::open_publisher(&self.settings).unwrap();
            for grave in graves {
                let id = Some(grave.id.clone());
                let message =
                    Message { routing_key: "Package".to_owned(), body: grave.body.clone().into(), id, only: None };
                publisher.publish(message).await.unwrap();
            }
            publisher.close().await;
            let mut source = source::open(&self.settings, graves.len()).unwrap();
            let (letters, mut left) = (source.letters(), graves.iter());
            while left.len() > 0 {
                let batch = timeout(SOON, source.next(left.len())).await.unwrap().unwrap();
                for delivery in &batch {
                    letters.keep(&left.next().unwrap().letter(delivery)).await.unwrap();
                }
                source.settle(batch.into_iter().map(|delivery| delivery.receipt).collect());
            }
            while source.depth().await.unwrap() > 0 {}
            source.close().await;
        });
    }

    /// Runs `worker -c worker.cfg ARGUMENTS…` to its end: its status, and what it says on both streams.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = self.worker.command();
        command.arg("-c").arg(self.worker.path("worker.cfg")).args(arguments).stdin(Stdio::null());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    /// Expects a status; answers what stands on standard output and on standard error.
    #[track_caller]
    pub fn expect(&self, status: i32, arguments: &[&str]) -> (String, String) {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, status, "{arguments:?}\n--- stdout\n{stdout}--- stderr\n{stderr}");
        (stdout, stderr)
    }

    /// What a command prints with `--format json`.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let (stdout, stderr) = self.expect(0, &[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{stdout}\n{stderr}"))
    }

    /// The ids and workers of the dead letters that a list shows, with flags.
    #[track_caller]
    pub fn listed(&self, flags: &[&str]) -> Vec<String> {
        let document = self.json(&[&["dead", "list"], flags].concat());
        let name = |letter: &Value| {
            let worker = letter["worker"].as_str().unwrap_or("-");
            format!("{} {worker}", letter["id"].as_str().unwrap())
        };
        document["letters"].as_array().unwrap().iter().map(name).collect()
    }

    /// Takes all that is on the queue.
    pub fn take(&self, count: usize) -> Vec<Delivery> {
        runtime().block_on(async {
            let mut source = source::open(&self.settings, count.max(1)).unwrap();
            let mut taken = Vec::new();
            while taken.len() < count {
                taken.extend(timeout(SOON, source.next(count - taken.len())).await.unwrap().unwrap());
            }
            assert_eq!(source.depth().await.unwrap(), count as u64);
            source.close().await;
            taken
        })
    }

    /// How many are ready on the queue.
    pub fn ready(&self) -> u64 {
        self.json(&["queue", "status"])["ready"].as_u64().unwrap()
    }

    /// The runs of the actors so far.
    pub fn runs(&self) -> Vec<Consumed> {
        consumed(&self.journal)
    }
}

/// A dead letter to be.
pub struct Grave {
    pub id: String,
    pub worker: Option<String>,
    pub reason: DeadReason,
    pub error: String,
    pub body: Vec<u8>,
}

impl Grave {
    /// One about a dataset that is called like the letter.
    pub fn of(id: &str, worker: &str, reason: DeadReason) -> Self {
        let error = format!("error of {id}");
        Self { id: id.to_owned(), worker: Some(worker.to_owned()), reason, error, body: package(id).into_bytes() }
    }

    fn letter(&self, delivery: &Delivery) -> Letter {
        Letter {
            delivery: delivery.id.clone(),
            worker: self.worker.as_deref().map(Into::into),
            fate: Fate::Dead(self.reason),
            error: self.error.clone(),
            attempts: 3,
            hops: 4,
            first_seen: SystemTime::now() - Duration::from_secs(7200),
            held_since: None,
            body: delivery.body.clone(),
            origin: delivery.origin.clone(),
        }
    }
}

/// A notification about the dataset `id`, which is done when it runs.
pub fn package(id: &str) -> String {
    format!(r#"{{"routing_key":"Package","operation":"changed","payload":{{"id":"{id}","act":"done"}}}}"#)
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
