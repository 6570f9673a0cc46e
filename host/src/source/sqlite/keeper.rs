//! The thread that owns the file: does what it is told, and looks for messages while somebody waits for them.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc as async_mpsc, oneshot};

use super::file::QueueFile;
use super::intake::Intake;
use crate::delivery::{Delivery, Letter, Receipt};
use crate::source::{Message, Settings, SourceError};

/// How often an empty queue is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long to wait when the file cannot be used just now.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How often leases are renewed.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// What the thread is told.
pub enum Order {
    /// Claim at most so many.
    Claim(usize),
    /// Claim nothing; whatever else is claimed goes this way.
    Stop(Batches),
    /// Take these off the queue.
    Settle(Vec<Receipt>),
    /// Give these back.
    Release(Vec<Receipt>),
    /// How many wait or are in hand?
    Depth(oneshot::Sender<Result<u64, SourceError>>),
    /// Put this on the queue.
    Publish(Message, Answer),
    /// Send this on.
    Keep(Box<Letter>, Answer),
    /// Take in what a feed has found.
    Intake(Box<Intake>, Answer),
    /// Answer this.
    Ask(Question),
    /// Settle what is to be settled, give back the rest, and go.
    Close,
}

/// Where claimed deliveries go.
pub type Batches = async_mpsc::UnboundedSender<Result<Vec<Delivery>, SourceError>>;

/// A question to the file, which carries its own way to answer.
pub type Question = Box<dyn FnOnce(&QueueFile) + Send>;

type Answer = oneshot::Sender<Result<(), SourceError>>;

/// Opens the file and starts the thread that owns it from then on.
pub fn start(
    path: &Path,
    settings: &Settings,
    batches: Batches,
) -> Result<(Sender<Order>, JoinHandle<()>), SourceError> {
    let (orders, inbox) = channel();
    let file = QueueFile::open(path, settings)?;
    let now = Instant::now();
    let keeper = Keeper { file, batches, claim: None, ended: Ended::default(), renewed: now, again: now };
    let thread = std::thread::Builder::new()
        .name("worker-queue".to_owned())
        .spawn(move || keeper.run(&inbox))
        .map_err(|error| SourceError::Unusable(format!("no thread for the queue: {error}")))?;
    Ok((orders, thread))
}

/// Asks the thread and waits for its answer.
pub async fn ask<T>(
    orders: &Sender<Order>,
    order: impl FnOnce(oneshot::Sender<Result<T, SourceError>>) -> Order,
) -> Result<T, SourceError> {
    let (answer, answered) = oneshot::channel();
    orders.send(order(answer)).map_err(|_| thread_ended())?;
    answered.await.map_err(|_| thread_ended())?
}

/// What is to be said when nobody answers.
pub fn thread_ended() -> SourceError {
    SourceError::Unavailable { address: "the queue".to_owned(), problem: "its thread has ended".to_owned() }
}

struct Keeper {
    file: QueueFile,
    batches: Batches,
    /// How many somebody waits for.
    claim: Option<usize>,
    ended: Ended,
    renewed: Instant,
    /// When the file may be tried again.
    again: Instant,
}

impl Keeper {
    fn run(mut self, inbox: &Receiver<Order>) {
        let mut goes_on = true;
        while goes_on {
            match inbox.recv_timeout(self.patience()) {
                Ok(first) => {
                    // What was told meanwhile is done together: one transaction for many settlements.
                    goes_on = self.obey(std::iter::once(first).chain(inbox.try_iter()).collect());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => goes_on = false,
            }
            if self.again > Instant::now() && goes_on {
                continue;
            }
            let is_written = self.write();
            if goes_on {
                self.look(is_written);
            }
        }
        if let Err(error) = self.file.release_all() {
            tracing::warn!("what was claimed could not be given back, it comes back by itself: {error}");
        }
    }

    /// How long it can wait for orders: no longer than until there is something to do without one.
    fn patience(&self) -> Duration {
        let renew = RENEW_EVERY.saturating_sub(self.renewed.elapsed());
        let look = match self.claim {
            _ if !self.ended.is_empty() => Duration::ZERO,
            Some(_) => LOOK_EVERY.min(self.file.rest()),
            None => renew,
        };
        look.min(renew).max(self.again.saturating_duration_since(Instant::now()))
    }

    /// Writes down what is through; answers whether that could be done.
    fn write(&mut self) -> bool {
        let Err(error) = self.ended.write(&mut self.file) else { return true };
        // What is done would come again if this were forgotten, so it is kept and tried again.
        tracing::error!("the queue could not be written, trying again in {AGAIN_AFTER:?}: {error}");
        self.again = Instant::now() + AGAIN_AFTER;
        false
    }

    /// Looks for what somebody waits for, if there is use in it, and after the leases: others would take what is in
    /// hand, also if it is through and that cannot be written.
    fn look(&mut self, is_of_use: bool) {
        if let Some(max) = self.claim.filter(|_| is_of_use) {
            match self.file.bring_what_is_due().and_then(|()| self.file.claim(max)) {
                Ok(batch) if batch.is_empty() => {}
                Err(error @ SourceError::Unavailable { .. }) => {
                    tracing::warn!("the queue could not be read, trying again in {AGAIN_AFTER:?}: {error}");
                    self.again = Instant::now() + AGAIN_AFTER;
                }
                batch => self.hand_over(batch),
            }
        }
        if self.renewed.elapsed() >= RENEW_EVERY {
            self.renewed = Instant::now();
            if let Err(error) = self.file.renew() {
                tracing::warn!("leases could not be renewed: {error}");
            }
        }
    }

    fn hand_over(&mut self, batch: Result<Vec<Delivery>, SourceError>) {
        self.claim = None;
        // Whoever waited has been told to stop meanwhile.
        if let Err(async_mpsc::error::SendError(Ok(batch))) = self.batches.send(batch) {
            self.ended.released.extend(batch.into_iter().map(|delivery| delivery.receipt));
        }
    }

    /// Does what was told; `false` when the thread is to end.
    fn obey(&mut self, orders: Vec<Order>) -> bool {
        let (mut goes_on, mut published, mut publishers) = (true, Vec::new(), Vec::new());
        for order in orders {
            match order {
                Order::Claim(max) => self.claim = Some(max),
                Order::Stop(batches) => (self.claim, self.batches) = (None, batches),
                Order::Settle(receipts) => self.ended.settled.extend(receipts),
                Order::Release(receipts) => self.ended.released.extend(receipts),
                Order::Depth(answer) => {
                    // What was settled before no longer counts.
                    let depth = self.ended.write(&mut self.file).and_then(|()| self.file.depth());
                    let _ = answer.send(depth);
                }
                Order::Publish(message, answer) => {
                    published.push(message);
                    publishers.push(answer);
                }
                Order::Keep(letter, answer) => drop(answer.send(self.file.keep(&letter))),
                Order::Intake(intake, answer) => drop(answer.send(self.file.take_in(&intake))),
                Order::Ask(question) => question(&self.file),
                Order::Close => goes_on = false,
            }
        }
        publish(&mut self.file, &published, publishers);
        goes_on
    }
}

/// Deliveries that are through and not yet taken off the file.
#[derive(Default)]
struct Ended {
    settled: Vec<Receipt>,
    released: Vec<Receipt>,
}

impl Ended {
    fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.released.is_empty()
    }

    /// Writes them down; what could not be written stays for the next time.
    fn write(&mut self, file: &mut QueueFile) -> Result<(), SourceError> {
        file.settle(&self.settled)?;
        self.settled.clear();
        file.release(&self.released)?;
        self.released.clear();
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn while_nothing_can_be_settled_what_is_in_hand_stays_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queue.db");
        let url = format!("sqlite:{}", path.display());
        let settings = Config::from_map([("ckan.site_id", "portal"), ("amqp.url", &url)]).unwrap().queue;
        let mut file = QueueFile::open(&path, &settings).unwrap();
        file.publish(&[Message { routing_key: "Package".to_owned(), body: "{}".into(), id: None, only: None }])
            .unwrap();
        let claimed = file.claim(1).unwrap().remove(0);
        let outside = rusqlite::Connection::open(&path).unwrap();
        outside
            .execute_batch(
                "UPDATE message SET held_until_ms = 1;
                 CREATE TRIGGER broken BEFORE DELETE ON message BEGIN SELECT RAISE(ABORT, 'broken'); END;",
            )
            .unwrap();
        let now = Instant::now();
        let Some(renewed) = now.checked_sub(RENEW_EVERY) else { return };
        let ended = Ended { settled: vec![claimed.receipt], released: Vec::new() };
        let mut keeper =
            Keeper { file, batches: async_mpsc::unbounded_channel().0, claim: None, ended, renewed, again: now };
        let is_written = keeper.write();
        assert!(!is_written);
        keeper.look(is_written);
        let until: i64 = outside.query_row("SELECT held_until_ms FROM message", [], |row| row.get(0)).unwrap();
        assert!(until > 1, "it was renewed");
        outside.execute_batch("DROP TRIGGER broken").unwrap();
        assert!(keeper.write(), "and is settled once that can be written");
        assert_eq!(keeper.file.depth().unwrap(), 0);
    }
}
