//! Where a source is examined: a queue of its own, and what an outsider sees of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ckan_worker::Config;
use ckan_worker::delivery::{Delivery, Receipt};
use ckan_worker::source::{self, Message, Publisher, Settings, Source, sqlite};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use worker_tests::{Broker, Vhost};

/// Nothing here takes longer.
pub const SOON: Duration = Duration::from_secs(20);

/// The shortest waits of the retry ladder.
pub const FIRST_RUNG: Duration = Duration::from_millis(300);
pub const SECOND_RUNG: Duration = Duration::from_millis(900);

/// A queue of its own for one question.
pub struct Lab<'a> {
    pub settings: Settings,
    place: Place<'a>,
}

enum Place<'a> {
    File(TempDir),
    Vhost(Box<Vhost<'a>>),
}

/// A dead letter as an outsider finds it.
#[derive(Debug, PartialEq, Eq)]
pub struct Letter {
    pub delivery: String,
    pub worker: Option<String>,
    pub reason: String,
    pub error: String,
    pub attempts: String,
    pub body: Vec<u8>,
}

impl<'a> Lab<'a> {
    #[expect(clippy::unnecessary_wraps, reason = "other sources can be left out")]
    pub fn sqlite() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings("portal", &format!("sqlite:{}", dir.path().join("queue.db").display()), "portal.queue");
        Some(Self { settings, place: Place::File(dir) })
    }

    pub fn amqp() -> Option<Self> {
        Some(Self::at(Broker::shared()?.vhost("suite")))
    }

    /// In a virtual host of one's own.
    pub fn at(vhost: Vhost<'a>) -> Self {
        let settings = settings(&vhost.unique("site"), vhost.url(), &vhost.unique("queue"));
        Self { settings, place: Place::Vhost(Box::new(vhost)) }
    }

    /// The queue's file.
    pub fn file(&self) -> PathBuf {
        let Place::File(dir) = &self.place else { panic!("a broker has no file") };
        dir.path().join("queue.db")
    }

    /// Its virtual host.
    pub fn vhost(&self) -> &Vhost<'a> {
        let Place::Vhost(vhost) = &self.place else { panic!("a file has no virtual host") };
        vhost
    }

    /// Begins to consume.
    pub fn open(&self, in_hand_max: usize) -> Consumer {
        Consumer::open(&self.settings, in_hand_max)
    }

    pub fn publisher(&self) -> Box<dyn Publisher> {
        source::open_publisher(&self.settings).unwrap()
    }

    /// Publishes and waits for the confirms.
    pub async fn publish<B: AsRef<[u8]>>(&self, bodies: impl IntoIterator<Item = B>) {
        let publisher = self.publisher();
        for body in bodies {
            publisher.publish(message(body.as_ref())).await.unwrap();
        }
        publisher.close().await;
    }

    /// Ends the session of a consumer; what it had in hand is handed out again, to whoever is answered.
    pub async fn interrupt(&self, consumer: Consumer) -> Consumer {
        match &self.place {
            Place::File(_) => {
                let in_hand_max = consumer.in_hand_max;
                consumer.close().await;
                self.open(in_hand_max)
            }
            Place::Vhost(vhost) => {
                assert!(vhost.close_all_connections("a test says so") > 0);
                Consumer { in_hand: 0, ..consumer }
            }
        }
    }

    /// The dead letters, oldest first.
    pub fn letters(&self) -> Vec<Letter> {
        match &self.place {
            Place::File(_) => file_letters(&self.file(), &self.settings),
            Place::Vhost(vhost) => vhost.drain(&format!("{}.dead", self.settings.name)).iter().map(letter).collect(),
        }
    }
}

fn settings(site: &str, url: &str, queue: &str) -> Settings {
    let settings = [("ckan.site_id", site), ("amqp.url", url), ("queue.name", queue), ("retry.delays", "300ms, 900ms")];
    Config::from_map(settings).unwrap().queue
}

fn file_letters(file: &Path, settings: &Settings) -> Vec<Letter> {
    let letters = sqlite::letters(file, settings).unwrap().into_iter().map(|letter| Letter {
        delivery: letter.delivery,
        worker: letter.worker,
        reason: letter.reason,
        error: letter.error,
        attempts: letter.attempts.to_string(),
        body: letter.body,
    });
    letters.collect()
}

fn letter(message: &worker_tests::Message) -> Letter {
    let header = |name: &str| message.header(&format!("x-ckan-worker-{name}"));
    Letter {
        delivery: header("id").unwrap(),
        worker: header("only"),
        reason: header("reason").unwrap(),
        error: header("error").unwrap(),
        attempts: header("attempt").unwrap(),
        body: message.body.clone(),
    }
}

/// A notification on its way into the queue.
pub fn message(body: &[u8]) -> Message {
    Message { routing_key: "Package".to_owned(), body: body.to_vec().into(), id: None, only: None }
}

/// A runtime as the host's.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A source, used as the dispatcher does: never asked for more than there is room for.
pub struct Consumer {
    pub source: Box<dyn Source>,
    in_hand_max: usize,
    in_hand: usize,
}

impl Consumer {
    /// Begins to consume.
    pub fn open(settings: &Settings, in_hand_max: usize) -> Self {
        Self { source: source::open(settings, in_hand_max).unwrap(), in_hand_max, in_hand: 0 }
    }

    pub fn room(&self) -> usize {
        self.in_hand_max - self.in_hand
    }

    /// Takes exactly so many.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let next = timeout(SOON, self.source.next(self.room())).await;
            let batch = next.unwrap_or_else(|_| panic!("{} came of {count}", taken.len())).unwrap();
            self.note(&batch);
            taken.extend(batch);
        }
        assert_eq!(taken.len(), count, "{:?}", bodies(&taken));
        taken
    }

    /// Notes what was taken by hand.
    pub fn note(&mut self, batch: &[Delivery]) {
        assert!(!batch.is_empty(), "an answer has something in it");
        self.in_hand += batch.len();
        assert!(self.in_hand <= self.in_hand_max, "{} in hand of {}", self.in_hand, self.in_hand_max);
    }

    pub fn settle(&mut self, deliveries: impl IntoIterator<Item = Delivery>) {
        let receipts: Vec<Receipt> = deliveries.into_iter().map(|delivery| delivery.receipt).collect();
        self.in_hand -= receipts.len();
        self.source.settle(receipts);
    }

    pub fn release(&mut self, deliveries: impl IntoIterator<Item = Delivery>) {
        let receipts: Vec<Receipt> = deliveries.into_iter().map(|delivery| delivery.receipt).collect();
        self.in_hand -= receipts.len();
        self.source.release(receipts);
    }

    /// Takes exactly so many, settles them as they come, and waits until the queue has nothing more.
    pub async fn work_off(&mut self, mut count: usize) {
        while count > 0 {
            let batch = timeout(SOON, self.source.next(self.room())).await.expect("more is to come").unwrap();
            self.note(&batch);
            count = count.checked_sub(batch.len()).expect("no more than that comes");
            self.settle(batch);
        }
        self.depth_becomes(0).await;
    }

    /// Waits until the depth is this.
    pub async fn depth_becomes(&mut self, expected: u64) {
        let mut depth = None;
        let settled = timeout(SOON, async {
            while depth != Some(expected) {
                // While there is no session yet, or none any more, nobody can say.
                match self.source.depth().await {
                    Ok(waiting) => depth = Some(waiting),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        assert!(settled.await.is_ok(), "the depth is {depth:?}, expected {expected}");
    }

    pub async fn close(self) {
        timeout(SOON, self.source.close()).await.expect("a source closes soon");
    }
}

/// What was delivered, as text, in the order it came.
pub fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8_lossy(&delivery.body).into_owned()).collect()
}

/// What was delivered, in the order of the alphabet: what comes back may come in any order.
pub fn sorted(deliveries: &[Delivery]) -> Vec<String> {
    let mut bodies = bodies(deliveries);
    bodies.sort();
    bodies
}
