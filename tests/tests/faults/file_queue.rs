//! A queue in a file, as an outsider sees it.

use std::path::{Path, PathBuf};

use ckan_worker::Config;
use ckan_worker::source::{self, Message, Settings, sqlite};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use worker_tests::{Dead, Ledger};

/// How many notifications are put in before the next are written into the ledger.
const WINDOW: usize = 50;

pub struct FileQueue {
    path: PathBuf,
    /// Gone with this, if it is our own.
    _dir: Option<TempDir>,
    runtime: Runtime,
}

impl FileQueue {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("queue-").tempdir().unwrap();
        Self { path: dir.path().join("queue.db"), _dir: Some(dir), runtime: runtime() }
    }

    pub fn on(dir: &Path) -> Self {
        Self { path: dir.join("queue.db"), _dir: None, runtime: runtime() }
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    fn settings(&self) -> Settings {
        let settings = [("ckan.site_id", "portal"), ("queue.name", "portal.queue"), ("amqp.url", &self.url())];
        Config::from_map(settings).expect("these settings are good").queue
    }

    /// How messages are put in, also from another thread.
    pub fn way_in(&self) -> WayIn {
        WayIn(self.settings())
    }

    pub fn dead(&self) -> Vec<Dead> {
        let letters = sqlite::letters(&self.path, &self.settings()).unwrap_or_default();
        let dead = letters.into_iter().map(|letter| Dead {
            worker: letter.worker.unwrap_or_default(),
            reason: letter.reason,
            body: letter.body,
        });
        dead.collect()
    }

    pub fn dead_count(&self) -> usize {
        self.dead().len()
    }

    pub fn left(&self) -> usize {
        let looked = self.runtime.block_on(source::look(&self.settings()));
        looked.ok().flatten().and_then(|left| left.try_into().ok()).unwrap_or(usize::MAX)
    }
}

pub struct WayIn(Settings);

impl WayIn {
    /// Puts notifications in until so many are confirmed.
    pub fn publish(&self, ledger: &mut Ledger, count: usize, mut message: impl FnMut(usize) -> (String, Vec<u8>)) {
        let publisher = source::open_publisher(&self.0).expect("the file can be opened");
        let (runtime, target, mut next) = (runtime(), ledger.confirmed() + count, 0);
        while ledger.confirmed() < target {
            let messages: Vec<_> = (next..next + WINDOW.min(target - ledger.confirmed())).map(&mut message).collect();
            next += messages.len();
            ledger.attempt(&messages);
            let confirmed = messages.into_iter().enumerate().filter_map(|(index, (name, body))| {
                let id = (index % 2 == 0).then(|| name.clone());
                let message = Message { routing_key: "Package".to_owned(), body: body.into(), id, only: None };
                runtime.block_on(publisher.publish(message)).ok().map(|()| name)
            });
            let confirmed: Vec<String> = confirmed.collect();
            ledger.acknowledged(confirmed);
        }
        runtime.block_on(publisher.close());
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
