//! A worker that does what its payload says, a queue for it, and somebody who watches.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ckan_worker::app::AppError;
use ckan_worker::delivery::{DeliveryId, Fate, Letter};
use ckan_worker::dispatch::Summary;
use ckan_worker::observe::{LogLine, Observer, RunEnded};
use ckan_worker::source::{self, Message, sqlite};
use ckan_worker::{App, Config};
use ckan_worker_plugin::prelude::*;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Does what the payload says, for all workers in `act` or for each in `acts`.
pub struct Script {
    part: Option<String>,
}

/// Its settings.
#[derive(Deserialize)]
#[serde(crate = "ckan_worker_plugin::serde")]
pub struct Casting {
    /// Which of the `acts` are its own.
    part: Option<String>,
}

impl Worker for Script {
    type Config = Casting;

    fn create(casting: Casting, _: &Host<'_>) -> Result<Self> {
        Ok(Self { part: casting.part })
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        host.info("begin");
        let result = self.act(*notification, host);
        host.info("end");
        result
    }
}

impl Script {
    fn act(&self, notification: Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        let payload: Value = notification.json()?;
        let act = self
            .part
            .as_deref()
            .and_then(|part| payload["acts"][part].as_str())
            .or_else(|| payload["act"].as_str())
            .unwrap();
        match act {
            "done" => {}
            "first_time_until_cancelled" if notification.redelivered() => {}
            "first_time_until_cancelled" | "until_cancelled" => host.sleep(Duration::MAX)?,
            "skip" => return Ok(Outcome::skipped("told to skip")),
            "fail" => return Err(Error::retryable("told to fail")),
            "permanent" => return Err(Error::permanent("told to fail for good")),
            "panic" => panic!("told to panic"),
            "hang" => loop {
                std::thread::park();
            },
            "sleep_1ms" => std::thread::sleep(Duration::from_millis(1)),
            "sleep_20ms" => std::thread::sleep(Duration::from_millis(20)),
            other => panic!("no act {other:?}"),
        }
        Ok(Outcome::done())
    }
}

/// A dataset has changed; every worker is to do this.
pub fn notification(id: &str, act: &str) -> String {
    format!(r#"{{"routing_key":"Package","operation":"changed","payload":{{"id":"{id}","act":"{act}"}}}}"#)
}

/// A dataset has changed; each worker is to do something else.
pub fn doing(id: &str, acts: &[(&str, &str)]) -> String {
    let acts: Vec<_> = acts.iter().map(|(worker, act)| format!(r#""{worker}":"{act}""#)).collect();
    let acts = acts.join(",");
    format!(r#"{{"routing_key":"Package","operation":"changed","payload":{{"id":"{id}","acts":{{{acts}}}}}}}"#)
}

/// A queue and somebody who watches what is done with it.
pub struct Workshop {
    config: Config,
    watcher: Arc<Watcher>,
    runtime: Runtime,
    _dir: TempDir,
}

/// Writes down what happens.
struct Watcher {
    runs: Mutex<Vec<Run>>,
    marks: Mutex<Vec<Mark>>,
    stop: watch::Sender<bool>,
    stops_at_begin: Mutex<bool>,
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Run {
    pub worker: String,
    pub id: String,
    pub outcome: &'static str,
    message: String,
    attempts: u32,
}

/// A worker has begun or ended, on its own word.
#[derive(Debug, Clone)]
pub struct Mark {
    pub id: String,
    pub is_begin: bool,
    pub thread: String,
}

impl Observer for Watcher {
    fn run_ended(&self, run: &RunEnded<'_>) {
        self.runs.lock().unwrap().push(Run {
            worker: run.worker.to_owned(),
            id: run.entity_id.unwrap().to_owned(),
            outcome: run.outcome,
            message: run.message.to_owned(),
            attempts: run.attempts,
        });
    }

    fn logged(&self, line: &LogLine<'_>) {
        if !matches!(line.message, "begin" | "end") {
            return;
        }
        let thread = format!("{:?}", std::thread::current().id());
        let (id, is_begin) = (line.delivery.unwrap().to_owned(), line.message == "begin");
        self.marks.lock().unwrap().push(Mark { id, is_begin, thread });
        if *self.stops_at_begin.lock().unwrap() {
            self.stop.send_replace(true);
        }
    }
}

impl Workshop {
    /// With these settings and an empty queue.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("queue.db").display());
        let own = [
            ("ckan.site_id", "portal"),
            ("amqp.url", url.as_str()),
            ("worker:first.part", "first"),
            ("worker:second.part", "second"),
            ("worker:third.part", "third"),
        ];
        let config = Config::from_map(own.into_iter().chain(settings.iter().copied())).unwrap();
        let watcher = Arc::new(Watcher {
            runs: Mutex::default(),
            marks: Mutex::default(),
            stop: watch::Sender::new(false),
            stops_at_begin: Mutex::new(false),
        });
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { config, watcher, runtime, _dir: dir }
    }

    /// The same, with times too short for people.
    pub fn with_short_times(settings: &[(&str, &str)]) -> Self {
        let mut workshop = Self::new(settings);
        let run = &mut workshop.config.run;
        (run.deadline, run.grace, run.drain) =
            (Duration::from_millis(300), Duration::from_millis(100), Duration::from_millis(100));
        workshop
    }

    /// The same with ten seconds for what is in hand.
    pub fn with_long_drain(mut self) -> Self {
        self.config.run.drain = Duration::from_secs(10);
        self
    }

    /// Puts notifications on the queue, each named after its entity.
    pub fn publish(&self, bodies: impl IntoIterator<Item = String>) {
        let way_in = source::open_publisher(&self.config.queue).unwrap();
        let published = bodies.into_iter().map(|body| {
            let id = serde_json::from_str::<Value>(&body).unwrap()["payload"]["id"].as_str().map(str::to_owned);
            way_in.publish(Message { routing_key: "Package".to_owned(), body: body.into(), id, only: None })
        });
        for confirmed in self.runtime.block_on(join_all(published)) {
            confirmed.unwrap();
        }
    }

    /// Sends copies of one notification to wait, one for each of these workers.
    pub fn send_to_wait(&self, body: &str, workers: &[&str]) {
        let _entered = self.runtime.enter();
        let source = source::open(&self.config.queue, 1).unwrap();
        let letters = source.letters();
        self.runtime.block_on(async {
            for worker in workers {
                let letter = Letter {
                    delivery: DeliveryId::Named("one".into()),
                    worker: Some((*worker).into()),
                    fate: Fate::Retry(Duration::from_millis(50)),
                    error: "503".to_owned(),
                    attempts: 1,
                    hops: 1,
                    first_seen: SystemTime::now(),
                    held_since: None,
                    body: body.to_owned().into(),
                    origin: None,
                };
                letters.keep(&letter).await.unwrap();
            }
            source.close().await;
        });
    }

    pub fn app(&self) -> App {
        App::new(self.config.clone()).observer(Arc::clone(&self.watcher) as Arc<dyn Observer>)
    }

    /// The first run that begins stops the work.
    pub fn stop_when_first_begins(&self) {
        *self.watcher.stops_at_begin.lock().unwrap() = true;
    }

    pub fn run_until_stopped(&self, app: App) -> std::result::Result<Summary, AppError> {
        app.run(self.watcher.stop.subscribe())
    }

    /// The runs that have ended, in the order they did.
    pub fn runs(&self) -> Vec<Run> {
        self.watcher.runs.lock().unwrap().clone()
    }

    /// The same, a sentence each.
    pub fn ended(&self) -> Vec<String> {
        let sentence = |run: &Run| {
            let message = run.message.split(" at ").next().unwrap_or_default();
            format!("{} {} {}: {} ({})", run.worker, run.outcome, run.id, message, run.attempts)
        };
        self.runs().iter().map(sentence).collect()
    }

    pub fn marks(&self) -> Vec<Mark> {
        self.watcher.marks.lock().unwrap().clone()
    }

    pub fn letters(&self) -> Vec<sqlite::StoredLetter> {
        let source::Address::Sqlite(path) = &self.config.queue.address else { panic!("the queue is a file") };
        sqlite::letters(path, &self.config.queue).unwrap()
    }

    /// How many messages are on the queue.
    pub fn left(&self) -> u64 {
        self.runtime.block_on(source::look(&self.config.queue)).unwrap().unwrap()
    }
}

/// Works until the queue is empty.
pub fn until_empty(app: App) -> std::result::Result<Summary, AppError> {
    let (_stop, never) = watch::channel(false);
    app.until_empty(true).run(never)
}
