//! A queue that is fed: a task asks a portal for notifications and puts them on the queue, while it is consumed.

mod alone;
mod outage;
mod size;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::sqlite::{self, Book, SqliteSource};
use super::{Feed, Letters, Settings, Source, SourceError, Way};
use crate::delivery::{Delivery, Receipt};
use crate::services::ckan;

use alone::alone;
pub use outage::{Outage, Trouble};
pub use size::Size;

/// A queue and the task that feeds it.
pub struct FedSource {
    queue: SqliteSource,
    feed: JoinSet<()>,
    /// Whether the feed has asked for everything once since it began.
    has_looked: watch::Receiver<bool>,
    /// Why the portal cannot be asked just now.
    trouble: watch::Receiver<Option<String>>,
    site_url: String,
}

/// What a feed works with.
pub struct Ground {
    /// The portal. A breaker of its own tells whether it is away.
    pub client: ckan::Client,
    /// The portal's address, without a slash at its end.
    pub site_url: String,
    /// Where what is found is written down.
    pub book: Book,
    /// The queue that what is found is put on.
    pub queue: String,
    /// To be set once everything has been asked for once and is in the file: until then the queue does not count as
    /// empty.
    pub has_looked: watch::Sender<bool>,
    /// To be set while the portal cannot be asked: why.
    pub trouble: watch::Sender<Option<String>>,
}

impl FedSource {
    /// Begins to feed the queue in the file at `path`. Needs a runtime around.
    ///
    /// # Errors
    /// The portal cannot be asked with these settings, or the queue is another portal's, or its file cannot be used.
    pub fn open(path: &Path, settings: &Settings, feed: &Feed) -> Result<Self, SourceError> {
        let client =
            ckan::Client::new(feed.portal.clone()).map_err(|error| SourceError::Unusable(error.to_string()))?;
        let site_url = feed.portal.site_url.as_ref().map(ToString::to_string).unwrap_or_default();
        let site_url = site_url.trim_end_matches('/').to_owned();
        sqlite::give_to(path, settings, &site_url)?;
        let queue = SqliteSource::open(path, settings)?;
        let (tell, has_looked) = watch::channel(false);
        let (tell_trouble, trouble) = watch::channel(None);
        let ground = Ground {
            client,
            site_url: site_url.clone(),
            book: queue.book(),
            queue: settings.name.clone(),
            has_looked: tell,
            trouble: tell_trouble,
        };
        let mut task = JoinSet::new();
        let (way, path) = (feed.way.clone(), path.to_owned());
        task.spawn(async move {
            let _lock = alone(&path, &ground.queue, &ground.has_looked).await;
            match way {
                Way::Poll(settings) => super::poll::run(ground, settings).await,
                Way::Outbox(settings) => super::outbox::run(ground, settings).await,
            }
        });
        Ok(Self { queue, feed: task, has_looked, trouble, site_url })
    }
}

#[async_trait]
impl Source for FedSource {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        tokio::select! {
            batch = self.queue.next(max) => batch,
            Some(ended) = self.feed.join_next() => Err(SourceError::Unusable(match ended {
                Ok(()) => "the feed of the queue has ended".to_owned(),
                Err(error) => format!("the feed of the queue has failed: {error}"),
            })),
        }
    }

    fn settle(&mut self, receipts: Vec<Receipt>) {
        self.queue.settle(receipts);
    }

    fn release(&mut self, receipts: Vec<Receipt>) {
        self.queue.release(receipts);
    }

    fn stop(&mut self) {
        // What a feed finds is written down in one piece, so it can be left anywhere.
        self.feed.abort_all();
        self.queue.stop();
    }

    fn pause(&mut self) {
        // The feed goes on: what it brings is kept in the file.
        self.queue.pause();
    }

    fn resume(&mut self) {
        self.queue.resume();
    }

    async fn depth(&mut self) -> Result<u64, SourceError> {
        // Asked before the queue: what the first look found is in the queue by then.
        let has_looked = *self.has_looked.borrow();
        let depth = self.queue.depth().await?;
        match self.trouble.borrow().clone() {
            // What waits can be worked on; only then does it matter that nobody knows whether that is all.
            Some(problem) if depth == 0 => Err(SourceError::Unavailable { address: self.site_url.clone(), problem }),
            _ => Ok(depth + u64::from(!has_looked)),
        }
    }

    fn letters(&self) -> Arc<dyn Letters> {
        self.queue.letters()
    }

    async fn close(mut self: Box<Self>) {
        self.feed.shutdown().await;
        Box::new(self.queue).close().await;
    }
}
