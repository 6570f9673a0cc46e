//! A queue in an SQLite file: the embedded default, for when no broker is named.
//!
//! One thread owns the file. What is claimed is leased, so that it comes back when this process dies.

mod clock;
mod file;
mod graves;
mod holder;
mod intake;
mod keeper;
mod leases;
mod owner;
mod publisher;
mod schema;
mod statements;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod waiting;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::mpsc as async_mpsc;

use super::{Letters, Settings, Source, SourceError};
use crate::delivery::{Delivery, Receipt};

use file::QueueFile;
pub use graves::{SqliteGraveyard, StoredLetter, letters};
pub use intake::{Book, Intake, Pulled, Seen};
use keeper::{Order, ask, start, thread_ended};
pub use owner::give_to;
pub use publisher::SqlitePublisher;
pub use status::{is_used, names, status};

/// A queue in an SQLite file.
pub struct SqliteSource {
    orders: Sender<Order>,
    batches: async_mpsc::UnboundedReceiver<Result<Vec<Delivery>, SourceError>>,
    /// A claim was ordered and has not been answered.
    is_claiming: bool,
    thread: Option<JoinHandle<()>>,
}

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

    /// Where a feed writes down what it finds.
    pub fn book(&self) -> Book {
        Book { orders: self.orders.clone() }
    }

    /// Takes nothing more until the next claim. What is claimed meanwhile the thread cannot hand over on the old way, and
    /// gives back itself.
    fn claim_no_more(&mut self) {
        let (batches, delivered) = async_mpsc::unbounded_channel();
        let _ = self.orders.send(Order::Stop(batches));
        let mut arrived = std::mem::replace(&mut self.batches, delivered);
        arrived.close();
        while let Ok(batch) = arrived.try_recv() {
            self.release(batch.unwrap_or_default().into_iter().map(|delivery| delivery.receipt).collect());
        }
        self.is_claiming = false;
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
        self.claim_no_more();
    }

    fn pause(&mut self) {
        self.claim_no_more();
    }

    fn resume(&mut self) {
        // The next call claims again.
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

/// How many messages wait in a queue file.
///
/// # Errors
/// The file cannot be used.
pub fn depth(path: &Path, settings: &Settings) -> Result<u64, SourceError> {
    QueueFile::open(path, settings)?.depth()
}

/// Deletes what waits in a queue; answers how many messages that were.
///
/// # Errors
/// The file cannot be used.
pub fn purge(path: &Path, settings: &Settings) -> Result<u64, SourceError> {
    QueueFile::open(path, settings)?.purge()
}
