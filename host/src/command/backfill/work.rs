//! Lists datasets page by page, and puts them into the lane lot by lot.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Trouble;
use super::again::{Again, goes_on_after};
use super::read::{self, Entry, PAGE, Reader, asked};
use super::shown::Shown;
use crate::cli::Rate;
use crate::config::Config;
use crate::notification::published;
use crate::services::Failure;
use crate::services::ckan::{Client, Listing, Order};
use crate::source::{self, Message, Publisher, SourceError};
use crate::store::{Backfill, Store};

/// How many notifications may wait in the lane. A portal of a million datasets is not to fill a disk, or a broker's
/// memory.
const WAITING_MAX: u64 = 10_000;

/// The code of a search that is asked for in words that it does not know.
pub const BAD_QUERY: &str = "backfill.query";

/// How often it is looked whether there is room again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a backfill needs.
pub struct Work<'a> {
    pub config: &'a Config,
    pub client: &'a Client,
    pub store: &'a Store,
    pub publisher: &'a dyn Publisher,
    pub workers: &'a [String],
    pub query: Option<&'a str>,
    pub rate: Option<Rate>,
    pub stopping: watch::Receiver<bool>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All is through.
    Done,
    /// It was told to stop.
    Stopped,
}

impl Work<'_> {
    /// Begins: counts the datasets; `None` if it was told to stop.
    pub async fn begin(
        &self,
        place: &str,
        arguments: &str,
        since: Option<String>,
    ) -> Result<Option<Backfill>, Trouble> {
        let listing = self.listing(since.as_deref(), None);
        let said = |text: &str| crate::command::say(text);
        let count = async || match self.client.count(&listing).await {
            Err(failure) if failure.code == "ckan.search" => Err(self.explained(failure).await),
            counted => counted,
        };
        let Some(total) = asked(&self.stopping, &said, count).await? else { return Ok(None) };
        let begun = Backfill::begin(place, arguments, since, total);
        self.store.keep_backfill(&begun)?;
        Ok(Some(begun))
    }

    /// Why a search has failed: if it answers without the query, that is what is wrong, and trying again is of no use.
    async fn explained(&self, failure: Failure) -> Failure {
        let Some(query) = self.query else { return failure };
        let of_all = Listing { query: None, since: None, until: None, order: Order::ById(None), rows: 1 };
        if self.client.count(&of_all).await.is_err() {
            return failure;
        }
        let message = format!("the portal's search does not understand --query {query:?}: {}", failure.message);
        Failure::permanent(BAD_QUERY, message)
    }

    /// Goes on until all is through, or it is told to stop.
    pub async fn run(&self, progress: &mut Backfill, shown: &mut Shown) -> Result<Ended, Trouble> {
        let (together, pause) = self.rate.map_or((usize::MAX, Duration::ZERO), Rate::lots);
        let at_once = (together / self.workers.len()).clamp(1, PAGE);
        // How many wait in the lane at most, as far as is known: it is full until somebody has looked.
        let (mut waiting, mut due) = (WAITING_MAX, Instant::now());
        let mut reader = Reader::new(self.client, self.stopping.clone());
        loop {
            let listing = self.listing(progress.since.as_deref(), progress.last.as_deref());
            let page = reader.page(listing, &|text: &str| shown.say(text)).await?;
            let Some(page) = page else { return Ok(Ended::Stopped) };
            if page.is_empty() {
                return Ok(Ended::Done);
            }
            for lot in page.chunks(at_once) {
                let has_room = self.room(&mut waiting, progress, shown).await?;
                let pause_left = due.saturating_duration_since(Instant::now());
                if !has_room || !goes_on_after(pause_left, &self.stopping).await {
                    return Ok(Ended::Stopped);
                }
                let Some(published) = self.put(lot, progress, shown).await? else { return Ok(Ended::Stopped) };
                waiting += published;
                #[expect(clippy::cast_precision_loss, reason = "a lot is small")]
                let lots = published as f64 / together as f64;
                due = Instant::now() + pause.mul_f64(lots);
                self.store.keep_backfill(progress)?;
                shown.update(progress, "");
            }
        }
    }

    fn listing<'l>(&'l self, since: Option<&'l str>, last: Option<&'l str>) -> Listing<'l> {
        Listing { query: self.query, since, until: None, order: Order::ById(last), rows: PAGE }
    }

    /// Waits while too much waits in the lane; answers whether to go on.
    async fn room(&self, waiting: &mut u64, progress: &Backfill, shown: &mut Shown) -> Result<bool, Trouble> {
        let lane = self.config.queue.lane();
        while *waiting >= WAITING_MAX {
            match source::look(&lane).await {
                Ok(ready) => *waiting = ready.unwrap_or_default(),
                Err(error @ SourceError::Unavailable { .. }) => shown.say(&format!("{error}; trying again")),
                Err(error) => return Err(error.into()),
            }
            if *waiting < WAITING_MAX {
                break;
            }
            shown.update(progress, &format!("{waiting} wait to be worked on, going on when there are fewer"));
            if !goes_on_after(LOOK_EVERY, &self.stopping).await {
                return Ok(false);
            }
        }
        Ok(!*self.stopping.borrow())
    }

    /// Publishes a lot, all of it confirmed when this answers how many that were; `None` if it was told to stop before.
    async fn put(&self, lot: &[Entry], progress: &mut Backfill, shown: &Shown) -> Result<Option<u64>, Trouble> {
        let names = source::names_in_lane(&self.config.queue)?.unwrap_or_default();
        let there: HashSet<&str> = names.iter().filter_map(|name| about(name)).collect();
        let datasets = lot.iter().filter_map(|entry| match &entry.shown {
            read::Shown::Dataset(dataset) => Some(dataset),
            read::Shown::Gone | read::Shown::NotReadable => None,
        });
        let messages = datasets.flat_map(|dataset| self.messages(dataset, progress));
        let is_there =
            |message: &Message| message.id.as_deref().and_then(about).is_some_and(|about| there.contains(about));
        let (skipped, mut left): (Vec<_>, Vec<_>) = messages.partition(is_there);
        let (published, mut again) = (left.len() as u64, Again::new());
        while !left.is_empty() {
            let tried = join_all(left.iter().map(|message| self.publisher.publish(message.clone()))).await;
            let mut failed = None;
            let mut tried = tried.into_iter();
            left.retain(|_| match tried.next() {
                Some(Err(error)) => {
                    failed = Some(error);
                    true
                }
                _ => false,
            });
            match failed {
                None => {}
                Some(error @ SourceError::Unavailable { .. }) => {
                    let wait = again.wait(None, fastrand::f64());
                    shown.say(&format!("{error}; trying again in {:.1} s", wait.as_secs_f64()));
                    if !goes_on_after(wait, &self.stopping).await {
                        return Ok(None);
                    }
                }
                Some(error) => return Err(error.into()),
            }
        }
        progress.last = lot.last().map(|entry| entry.id.clone());
        let is_not_readable = |entry: &&Entry| matches!(entry.shown, read::Shown::NotReadable);
        progress.unreadable += lot.iter().filter(is_not_readable).count() as u64;
        progress.datasets += lot.len() as u64;
        progress.notifications += published;
        progress.waiting += skipped.len() as u64;
        Ok(Some(published))
    }

    /// The notifications about a dataset, one for each worker.
    fn messages(&self, dataset: &Value, progress: &Backfill) -> Vec<Message> {
        let site_url = self.config.ckan.site_url.as_ref().map_or("", |url| url.as_str()).trim_end_matches('/');
        let (Some(map), Some(id)) = (dataset.as_object(), dataset["id"].as_str()) else { return Vec::new() };
        let body = bytes::Bytes::from(published::body("Package", "changed", &published::package(map, site_url)));
        let message = |worker: &String| Message {
            routing_key: "Package".to_owned(),
            body: body.clone(),
            id: Some(format!("backfill/{}/{worker}/{id}", progress.run)),
            only: Some(worker.clone()),
        };
        self.workers.iter().map(message).collect()
    }
}

/// The worker and the dataset that a notification of a backfill is about, of whichever backfill.
fn about(name: &str) -> Option<&str> {
    name.strip_prefix("backfill/")?.split_once('/').map(|(_, about)| about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_notification_of_another_backfill_is_known() {
        assert_eq!(about("backfill/67a-01/archive/d-1"), Some("archive/d-1"));
        assert_eq!(about("backfill/67b-02/archive/d-1"), about("backfill/67a-01/archive/d-1"));
        assert_eq!(about("poll/archive/d-1"), None);
    }
}
