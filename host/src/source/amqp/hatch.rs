//! Where the session hands deliveries over to the source: open, shut for a while, or closed for good.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::mpsc::error::SendError;

use crate::delivery::Delivery;
use crate::source::SourceError;

/// A batch of deliveries, or why there will be none.
pub type Batch = Result<Vec<Delivery>, SourceError>;

/// The session's end of the way to the source.
pub struct Hatch {
    batches: UnboundedSender<Batch>,
    /// Held while something is handed over, so that nothing comes behind a shutting.
    is_shut: Mutex<bool>,
}

impl Hatch {
    /// An open one.
    pub fn new(batches: UnboundedSender<Batch>) -> Self {
        Self { batches, is_shut: Mutex::new(false) }
    }

    /// Hands deliveries over; once it is shut or closed they are answered instead, and go back to the broker.
    pub fn hand_over(&self, batch: Vec<Delivery>) -> Result<(), Vec<Delivery>> {
        if *self.lock() {
            return Err(batch);
        }
        self.batches.send(Ok(batch)).map_err(|SendError(batch)| batch.unwrap_or_default())
    }

    /// Says why there will be no deliveries.
    pub fn fail(&self, error: SourceError) {
        // Whoever has gone does not ask.
        let _ = self.batches.send(Err(error));
    }

    /// From here on nothing is handed over, until it is opened.
    pub fn shut(&self) {
        *self.lock() = true;
    }

    /// Lets deliveries through again.
    pub fn open(&self) {
        *self.lock() = false;
    }

    /// Whether nobody takes anything any more.
    pub fn is_closed(&self) -> bool {
        self.batches.is_closed()
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_shut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
