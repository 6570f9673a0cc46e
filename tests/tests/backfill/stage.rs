//! A portal, a queue, and workers on it: the queue in a file or at a broker.

use std::path::PathBuf;
use std::time::Duration;

use ckan_worker::Config;
use ckan_worker::source::{self, Settings};
use ckan_worker::store::{self, Store};
use serde_json::Value;
use tempfile::TempDir;
use worker_tests::{Broker, Consumed, Vhost, WorkerProcess, built, consumed, eventually};

use crate::portal::Portal;

/// Nothing here takes longer, on a machine that has a lot to do besides.
pub const SOON: Duration = Duration::from_secs(240);

/// Where a backfill is seen from outside.
pub struct Stage {
    pub portal: Portal,
    dir: TempDir,
    vhost: Option<Vhost<'static>>,
}

impl Stage {
    /// A queue in a file.
    #[expect(clippy::unnecessary_wraps, reason = "a broker can be left out")]
    pub fn file(portal: Portal) -> Option<Self> {
        Some(Self { portal, dir: tempfile::tempdir().unwrap(), vhost: None })
    }

    /// A queue at a broker; none, aloud, where there is no broker.
    pub fn broker(portal: Portal) -> Option<Self> {
        let vhost = Broker::shared()?.vhost("backfill");
        Some(Self { portal, dir: tempfile::tempdir().unwrap(), vhost: Some(vhost) })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn queue_url(&self) -> String {
        match &self.vhost {
            Some(vhost) => vhost.url().to_owned(),
            None => format!("sqlite:{}", self.path("queue.db").display()),
        }
    }

    /// A worker process on this queue, not yet started.
    pub fn worker(&self) -> WorkerProcess {
        let journal = self.path("runs").display().to_string();
        WorkerProcess::with_config(&format!(
            "[worker]\nckan.site_id = portal\nckan.site_url = {}\namqp.url = {}\nqueue.name = q\nplugin_dir = {}\n\
             journal.path = {}\nstore.path = {}\nretry.delays = 300ms\nconcurrency = 2\n\
             [worker:actor]\njournal = {journal}\n[worker:actor2]\njournal = {journal}\n",
            self.portal.url(),
            self.queue_url().replace('%', "%%"),
            built().plugin_dir.display(),
            self.path("worker.journal").display(),
            self.path("worker.store").display(),
        ))
    }

    /// Runs a command to its end; answers its status and what it said on both streams.
    pub fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut worker = self.worker();
        worker.start(arguments);
        let status = worker.wait(SOON).code().expect("nobody killed it");
        (status, worker.stderr() + &worker.stdout())
    }

    /// Runs a command that ends well; answers what it said.
    pub fn done(&self, arguments: &[&str]) -> String {
        let (status, said) = self.run(arguments);
        assert_eq!(status, 0, "{arguments:?}: {said}");
        said
    }

    /// Runs a command that ends well; answers what it printed, as JSON.
    pub fn worker_json(&self, arguments: &[&str]) -> Value {
        let mut worker = self.worker();
        worker.start(arguments);
        assert!(worker.wait(SOON).success(), "{}", worker.report());
        serde_json::from_str(&worker.stdout()).unwrap_or_else(|_| panic!("{}", worker.report()))
    }

    /// What the actors did.
    pub fn consumed(&self) -> Vec<Consumed> {
        consumed(&self.path("runs"))
    }

    /// How many runs have begun, without reading them all.
    pub fn runs(&self) -> usize {
        std::fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count() / 2
    }

    pub fn settings(&self) -> Settings {
        let url = self.queue_url();
        Config::from_map([("ckan.site_id", "portal"), ("amqp.url", url.as_str()), ("queue.name", "q")]).unwrap().queue
    }

    /// How many wait in the queue itself and in its lane; `None` for what is not there.
    pub fn waiting(&self) -> (Option<u64>, Option<u64>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (queue, lane) = (self.settings(), self.settings().lane());
        runtime.block_on(async { (source::look(&queue).await.unwrap(), source::look(&lane).await.unwrap()) })
    }

    /// Waits until the unfinished backfill is through with so many datasets.
    pub fn wait_until_through(&self, datasets: u64) {
        let place = format!("{}/ {} q", self.portal.url(), self.settings().address);
        let store = Store::open(&store::Settings { path: self.path("worker.store") }).unwrap();
        let reached = || store.backfills(&place).unwrap().iter().any(|backfill| backfill.datasets >= datasets);
        assert!(eventually(SOON, reached), "{:?}", store.backfills(&place));
    }
}
