use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Host, Notification, Outcome, Result};

/// Acts on what a CKAN portal announces: the one thing an author writes.
///
/// Its life has four moments: made from its settings by [`create`](Worker::create), checked there, handling in
/// [`consume`](Worker::consume), dropped when the host stops.
pub trait Worker: Send + Sync + Sized + 'static {
    /// The settings of its section `[worker:NAME]`: a struct that derives `Deserialize`, or [`NoSettings`].
    type Config: DeserializeOwned;

    /// Makes the worker from its settings. Unknown settings have already been refused.
    ///
    /// # Errors
    /// Whatever makes work impossible, as a sentence for the operator: the worker is then not started, the others are.
    fn create(config: Self::Config, host: &Host<'_>) -> Result<Self>;

    /// Works on one notification. It is called from several threads at once, never for the same dataset.
    ///
    /// Notifications arrive at least once: doing the same work twice must do no harm.
    ///
    /// # Errors
    /// What `?` passes on is retried; [`Error::permanent`](crate::Error::permanent) is not.
    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome>;
}

/// The settings of a worker that has none.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct NoSettings {}
