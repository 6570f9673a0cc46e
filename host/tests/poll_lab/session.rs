//! A host that asks the stand-in portal until it has nothing more to tell, as often as a test wants.

use std::time::Duration;

use ckan_worker::Config;
use ckan_worker::services::ckan;
use ckan_worker::source::poll::{self, Start};
use ckan_worker::source::{self, Feed, Settings, Source, SourceError, Way, backfill_queue, outbox};
use rusqlite::{Connection, TransactionBehavior};
use serde_json::Value;

use super::Portal;

/// A queue's file and how it is fed; each opening of it is a start of the host.
pub struct Session {
    pub portal: Portal,
    pub poll: poll::Settings,
    pub has_token: bool,
    /// Whether it empties an outbox instead of asking what has changed.
    pub is_outbox: bool,
    dir: tempfile::TempDir,
}

/// What was told, in order: each as `Package changed ID`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub live: Vec<String>,
    pub backfill: Vec<String>,
}

/// These notifications, live and in the backfill queue.
pub fn told(live: &[&str], backfill: &[&str]) -> Told {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Told { live: owned(live), backfill: owned(backfill) }
}

impl Session {
    /// A host that was never started.
    pub fn new(portal: &Portal) -> Self {
        let poll = poll::Settings {
            interval: Duration::from_millis(5),
            overlap: Duration::from_secs(300),
            sweep: Duration::ZERO,
            rate: 1000,
            start: Start::Everything,
        };
        Self { portal: portal.clone(), poll, has_token: true, is_outbox: false, dir: tempfile::tempdir().unwrap() }
    }

    /// The queue's settings, as they are where nobody feeds it.
    pub fn plain(&self) -> Settings {
        Settings { feed: None, ..self.settings() }
    }

    /// The settings for the portal.
    pub fn ckan(&self) -> ckan::Settings {
        ckan::Settings {
            site_url: Some(self.portal.url.parse().unwrap()),
            api_key: self.has_token.then(|| "token-of-the-test".into()),
            timeout: Duration::from_secs(5),
            ..ckan::Settings::default()
        }
    }

    fn settings(&self) -> Settings {
        let path = self.dir.path().join("queue.db");
        let url = format!("sqlite:{}", path.display());
        let mut settings = Config::from_map([("ckan.site_id", "portal"), ("amqp.url", &url)]).unwrap().queue;
        let way = if self.is_outbox {
            Way::Outbox(outbox::Settings { interval: self.poll.interval })
        } else {
            Way::Poll(self.poll.clone())
        };
        settings.feed = Some(Feed { way, portal: self.ckan() });
        settings
    }

    /// Starts the host.
    pub fn open(&self) -> Box<dyn Source> {
        self.try_open().unwrap()
    }

    /// Starts the host, if it can be.
    pub fn try_open(&self) -> Result<Box<dyn Source>, SourceError> {
        if !self.poll.sweep.is_zero() {
            let long_ago = "UPDATE progress SET text = '0' WHERE name = 'poll.swept'";
            self.file().execute(long_ago, []).unwrap();
        }
        // What is for the lane is to be seen there.
        source::open_without_lane(&self.settings(), 100)
    }

    /// Starts the host, and ends it once everything has been asked for and what is live has been worked on.
    pub async fn run(&self) -> Told {
        let mut source = self.open();
        let live = self.drain(&mut source).await;
        source.close().await;
        Told { live, backfill: self.take_backfill() }
    }

    /// Starts the host, does no work, and has it killed at the n-th call from now on.
    pub async fn run_until_call(&self, number: usize) {
        let mut called = self.portal.called();
        let last = *called.borrow() + number;
        let source = self.open();
        called.wait_for(|called| *called >= last).await.unwrap();
        source.close().await;
    }

    /// Makes a sweep due with each start of the host from now on.
    pub fn sweep_always(&mut self) {
        self.poll.sweep = Duration::from_secs(3600);
    }

    /// Works on what is live until the queue says that it is empty.
    pub async fn drain(&self, source: &mut Box<dyn Source>) -> Vec<String> {
        let mut called = self.portal.called();
        let mut live = Vec::new();
        // While the portal cannot be asked, nobody knows.
        while source.depth().await.map_or(true, |depth| depth > 0) {
            tokio::select! {
                batch = source.next(1000) => {
                    let (words, receipts) = batch.unwrap().into_iter().map(|it| (words(&it.body), it.receipt)).unzip();
                    let words: Vec<String> = words;
                    live.extend(words);
                    source.settle(receipts);
                }
                // The portal is asked on and on.
                changed = called.changed() => changed.unwrap(),
            }
        }
        live
    }

    /// The file as anybody else sees it.
    pub fn file(&self) -> Connection {
        let file = Connection::open(self.dir.path().join("queue.db")).unwrap();
        file.busy_timeout(Duration::from_secs(30)).unwrap();
        file
    }

    /// What is in the backfill queue, which is emptied.
    pub fn take_backfill(&self) -> Vec<String> {
        self.take(&backfill_queue("portal.workerchain"))
    }

    /// What is live and nobody has taken.
    pub fn take_live(&self) -> Vec<String> {
        self.take("portal.workerchain")
    }

    fn take(&self, queue: &str) -> Vec<String> {
        let mut file = self.file();
        let change = file.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let bodies =
            "SELECT bytes FROM message JOIN body ON body.id = message.body WHERE queue = ?1 ORDER BY message.id";
        let mut rows = change.prepare(bodies).unwrap();
        let found = rows.query_map([queue], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        let told = found.map(|body| words(&body.unwrap())).collect();
        change.execute("DELETE FROM message WHERE queue = ?1", [queue]).unwrap();
        drop(rows);
        change.commit().unwrap();
        told
    }
}

fn words(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let state = match body["payload"]["state"].as_str() {
        Some("deleted") => " [deleted]",
        _ => "",
    };
    format!("{} {} {}{state}", text(&body["routing_key"]), text(&body["operation"]), text(&body["payload"]["id"]))
}
