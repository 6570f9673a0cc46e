//! A queue we consume: what both kinds of it have in common.

pub mod amqp;
pub mod settings;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::delivery::{DeadLetter, Delivery, Receipt};

pub use settings::{Address, AmqpAddress, Settings};

/// A queue we consume. What is not settled comes back.
#[async_trait]
pub trait Source: Send {
    /// Waits until something is there and takes what has arrived, at most `max` of it.
    ///
    /// # Errors
    /// The queue cannot be consumed at all; a connection that was lost is rebuilt without a word here.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: the next call answers it.
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, SourceError>;

    /// Settles deliveries: they do not come again. Batched; what cannot be settled any more comes back.
    fn settle(&mut self, receipts: Vec<Receipt>);

    /// Gives deliveries back: they come again, here or elsewhere.
    fn release(&mut self, receipts: Vec<Receipt>);

    /// How many messages wait in the queue, those not counted that were delivered and not yet settled.
    ///
    /// # Errors
    /// The queue cannot be reached.
    async fn depth(&mut self) -> Result<u64, SourceError>;

    /// Where what failed for good is kept.
    fn letters(&self) -> Arc<dyn Letters>;

    /// Settles what is to be settled, gives back the rest, and goes.
    async fn close(self: Box<Self>);
}

/// Where what failed for good is kept.
#[async_trait]
pub trait Letters: Send + Sync {
    /// Keeps a dead letter, durably: when this answers, it has been confirmed.
    ///
    /// # Errors
    /// It may not have been kept.
    async fn keep(&self, letter: &DeadLetter) -> Result<(), SourceError>;
}

/// The way into a queue.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Puts a message on the queue, durably: when this answers, it has been confirmed.
    ///
    /// # Errors
    /// It may not be on the queue.
    async fn publish(&self, message: Message) -> Result<(), SourceError>;
}

/// A message for a queue.
#[derive(Debug, Clone)]
pub struct Message {
    /// The class of what changed; decides which queues get it.
    pub routing_key: String,
    /// The body, as it is to be published.
    pub body: Bytes,
    /// The publisher's name for it.
    pub id: Option<String>,
}

/// Why a queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It does not answer; it may later.
    #[error("{address}: {problem}")]
    Unavailable {
        /// Where, without secrets.
        address: String,
        /// What happened.
        problem: String,
    },
    /// It refuses us; it will until somebody changes something.
    #[error("{address}: {problem}")]
    Refused {
        /// Where, without secrets.
        address: String,
        /// What it said, and what to do.
        problem: String,
    },
    /// It is not what was expected.
    #[error("{0}")]
    Unusable(String),
}
