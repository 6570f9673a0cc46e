//! A queue in an SQLite file: the embedded default, for when no broker is named.
//!
//! One thread owns the file. What is claimed is leased, so that it comes back when this process dies.

mod file;
mod holder;
mod statements;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc as async_mpsc, oneshot};

use super::{Letters, Message, Publisher, Settings, Source, SourceError};
use crate::delivery::{Delivery, Letter, Receipt};

use file::QueueFile;
pub use file::StoredLetter;

/// How often an empty queue is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long to wait when the file cannot be used just now.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How often leases are renewed.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// A queue in an SQLite file.
pub struct SqliteSource {
    orders: Sender<Order>,
    batches: async_mpsc::UnboundedReceiver<Result<Vec<Delivery>, SourceError>>,
    /// A claim was ordered and has not been answered.
    is_claiming: bool,
    thread: Option<JoinHandle<()>>,
}

/// What the thread that owns the file is told.
enum Order {
    Claim(usize),
    Stop,
    Settle(Vec<Receipt>),
    Release(Vec<Receipt>),
    Depth(oneshot::Sender<Result<u64, SourceError>>),
    Publish(Message, Answer),
    Keep(Box<Letter>, Answer),
    Close,
}

type Batches = async_mpsc::UnboundedSender<Result<Vec<Delivery>, SourceError>>;

type Answer = oneshot::Sender<Result<(), SourceError>>;

impl SqliteSource {
    /// Opens the queue, making the file if there is none.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(path: &Path, settings: &Settings) -> Result<Self, SourceError> {
        let (batches, delivered) = async_mpsc::unbounded_channel();
        let (orders, thread) = start(path, settings, batches)?;
        tracing::info!("consuming queue {} at {}", settings.name, settings.address);
        Ok(Self { orders, batches: delivered, is_claiming: false, thread: Some(thread) })
    }

    /// The way into the queue.
    pub fn publisher(&self) -> SqlitePublisher {
        SqlitePublisher { orders: self.orders.clone() }
    }
}

#[async_trait]
impl Source for SqliteSource {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        if !self.is_claiming {
            self.is_claiming = self.orders.send(Order::Claim(max)).is_ok();
        }
        // If this future is dropped, the claim's answer waits for the next call.
        let batch = self.batches.recv().await;
        self.is_claiming = false;
        batch.unwrap_or_else(|| Err(thread_ended()))
    }

    fn settle(&mut self, receipts: Vec<Receipt>) {
        let _ = self.orders.send(Order::Settle(receipts));
    }

    fn release(&mut self, receipts: Vec<Receipt>) {
        let _ = self.orders.send(Order::Release(receipts));
    }

    fn stop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        while let Ok(batch) = self.batches.try_recv() {
            self.release(batch.unwrap_or_default().into_iter().map(|delivery| delivery.receipt).collect());
        }
    }

    fn pause(&mut self) {
        self.stop();
    }

    fn resume(&mut self) {
        self.is_claiming = false;
    }

    async fn depth(&mut self) -> Result<u64, SourceError> {
        ask(&self.orders, Order::Depth).await
    }

    fn letters(&self) -> Arc<dyn Letters> {
        Arc::new(self.publisher())
    }

    async fn close(mut self: Box<Self>) {
        let _ = self.orders.send(Order::Close);
        // Closed once the thread has let go of its end.
        while self.batches.recv().await.is_some() {}
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The way into a queue in an SQLite file.
#[derive(Clone)]
pub struct SqlitePublisher {
    orders: Sender<Order>,
}

impl SqlitePublisher {
    /// Opens the queue, making the file if there is none.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(path: &Path, settings: &Settings) -> Result<Self, SourceError> {
        let (batches, _) = async_mpsc::unbounded_channel();
        // The thread ends when the last way into the queue is dropped.
        let (orders, _thread) = start(path, settings, batches)?;
        Ok(Self { orders })
    }
}

#[async_trait]
impl Publisher for SqlitePublisher {
    async fn publish(&self, message: Message) -> Result<(), SourceError> {
        ask(&self.orders, |answer| Order::Publish(message, answer)).await
    }

    async fn close(&self) {
        // The file is let go when the last way into it is dropped.
    }
}

#[async_trait]
impl Letters for SqlitePublisher {
    async fn keep(&self, letter: &Letter) -> Result<(), SourceError> {
        ask(&self.orders, |answer| Order::Keep(Box::new(letter.clone()), answer)).await
    }

    fn blocked(&self) -> Option<String> {
        None
    }
}

/// Opens the file and starts the thread that owns it from then on.
fn start(path: &Path, settings: &Settings, batches: Batches) -> Result<(Sender<Order>, JoinHandle<()>), SourceError> {
    let (orders, inbox) = channel();
    let file = QueueFile::open(path, &settings.name, &settings.routing_key)?;
    let thread = std::thread::Builder::new()
        .name("worker-queue".to_owned())
        .spawn(move || keep_file(file, &inbox, &batches))
        .map_err(|error| SourceError::Unusable(format!("no thread for the queue: {error}")))?;
    Ok((orders, thread))
}

/// How many messages wait in a queue file.
///
/// # Errors
/// The file cannot be used.
pub fn depth(path: &Path, settings: &Settings) -> Result<u64, SourceError> {
    QueueFile::open(path, &settings.name, &settings.routing_key)?.depth()
}

/// The dead letters in a queue file, oldest first.
///
/// # Errors
/// The file cannot be read.
pub fn letters(path: &Path, settings: &Settings) -> Result<Vec<StoredLetter>, SourceError> {
    QueueFile::open(path, &settings.name, &settings.routing_key)?.letters()
}

/// Deletes what waits in a queue; answers how many messages that were.
///
/// # Errors
/// The file cannot be used.
pub fn purge(path: &Path, settings: &Settings) -> Result<u64, SourceError> {
    QueueFile::open(path, &settings.name, &settings.routing_key)?.purge()
}

fn thread_ended() -> SourceError {
    SourceError::Unavailable { address: "the queue".to_owned(), problem: "its thread has ended".to_owned() }
}

async fn ask<T>(
    orders: &Sender<Order>,
    order: impl FnOnce(oneshot::Sender<Result<T, SourceError>>) -> Order,
) -> Result<T, SourceError> {
    let (answer, answered) = oneshot::channel();
    orders.send(order(answer)).map_err(|_| thread_ended())?;
    answered.await.map_err(|_| thread_ended())?
}

/// The life of the thread that owns the file: does what it is told, and looks for messages while a claim is open.
fn keep_file(mut file: QueueFile, inbox: &Receiver<Order>, batches: &Batches) {
    let mut claim = None;
    let mut ended = Ended::default();
    let (mut renewed, mut again) = (Instant::now(), Instant::now());
    loop {
        let mut goes_on = true;
        match inbox.recv_timeout(LOOK_EVERY) {
            Ok(first) => {
                // What was told meanwhile is done together: one transaction for many settlements.
                let orders = std::iter::once(first).chain(inbox.try_iter()).collect();
                goes_on = obey(&mut file, orders, &mut claim, &mut ended);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => goes_on = false,
        }
        if again > Instant::now() && goes_on {
            continue;
        }
        if let Err(error) = ended.write(&mut file) {
            // What is done would come again if this were forgotten, so it is kept and tried again.
            tracing::error!("the queue could not be written, trying again in {AGAIN_AFTER:?}: {error}");
            again = Instant::now() + AGAIN_AFTER;
        }
        if !goes_on {
            break;
        }
        if let Some(max) = claim {
            match file.claim(max) {
                Ok(batch) if batch.is_empty() => {}
                Err(error @ SourceError::Unavailable { .. }) => {
                    tracing::warn!("the queue could not be read, trying again in {AGAIN_AFTER:?}: {error}");
                    again = Instant::now() + AGAIN_AFTER;
                }
                batch => {
                    claim = None;
                    let _ = batches.send(batch);
                }
            }
        }
        if renewed.elapsed() >= RENEW_EVERY {
            renewed = Instant::now();
            if let Err(error) = file.renew() {
                tracing::warn!("leases could not be renewed: {error}");
            }
        }
    }
    if let Err(error) = file.release_all() {
        tracing::warn!("what was claimed could not be given back, it comes back by itself: {error}");
    }
}

/// Deliveries that are through and not yet taken off the file.
#[derive(Default)]
struct Ended {
    settled: Vec<Receipt>,
    released: Vec<Receipt>,
}

impl Ended {
    /// Writes them down; what could not be written stays for the next time.
    fn write(&mut self, file: &mut QueueFile) -> Result<(), SourceError> {
        file.settle(&self.settled)?;
        self.settled.clear();
        file.release(&self.released)?;
        self.released.clear();
        Ok(())
    }
}

/// Does what was told; `false` when the thread is to end.
fn obey(file: &mut QueueFile, orders: Vec<Order>, claim: &mut Option<usize>, ended: &mut Ended) -> bool {
    let (mut goes_on, mut published, mut publishers) = (true, Vec::new(), Vec::new());
    for order in orders {
        match order {
            Order::Claim(max) => *claim = Some(max),
            Order::Stop => *claim = None,
            Order::Settle(receipts) => ended.settled.extend(receipts),
            Order::Release(receipts) => ended.released.extend(receipts),
            Order::Depth(answer) => {
                // What was settled before no longer counts.
                let depth = ended.write(file).and_then(|()| file.depth());
                let _ = answer.send(depth);
            }
            Order::Publish(message, answer) => {
                published.push(message);
                publishers.push(answer);
            }
            Order::Keep(letter, answer) => drop(answer.send(file.keep(&letter))),
            Order::Close => goes_on = false,
        }
    }
    publish(file, &published, publishers);
    goes_on
}

/// Publishes together what came together.
fn publish(file: &mut QueueFile, messages: &[Message], publishers: Vec<Answer>) {
    let is_all_there = !messages.is_empty() && file.publish(messages).is_ok();
    for (message, publisher) in messages.iter().zip(publishers) {
        // If all could not be written at once, each is tried alone and told what is wrong with it.
        let answer = if is_all_there { Ok(()) } else { file.publish(std::slice::from_ref(message)) };
        let _ = publisher.send(answer);
    }
}
