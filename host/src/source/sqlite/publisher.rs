//! The way into a queue in an SQLite file.

use std::path::Path;
use std::sync::mpsc::Sender;

use async_trait::async_trait;
use tokio::sync::mpsc as async_mpsc;

use super::keeper::{Order, ask, start};
use crate::delivery::Letter;
use crate::seed;
use crate::source::{Letters, Message, Publisher, Settings, SourceError};

/// The way into a queue in an SQLite file.
#[derive(Clone)]
pub struct SqlitePublisher {
    pub(super) orders: Sender<Order>,
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
        ask(&self.orders, |answer| Order::Keep(Box::new(letter.clone()), answer)).await?;
        seed::point("letter-confirmed");
        Ok(())
    }

    fn blocked(&self) -> Option<String> {
        // While the file cannot be written, nothing can be claimed either.
        None
    }
}
