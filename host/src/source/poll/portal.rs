//! The portal as it is asked here: not too often, not for too much at once, and not believed when it repeats itself.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::notices::Dataset;
use crate::services::Failure;
use crate::services::ckan::{Client, Listed, Listing, NOT_AUTHORIZED, NOT_FOUND, Order};

/// How many datasets are listed at once at most; CKAN itself gives no more.
const ROWS_MAX: usize = 1000;
/// How many are listed at once at least.
const ROWS_MIN: usize = 10;
/// How many datasets are fetched from the search at once at most.
const BATCH_MAX: usize = 100;
/// What takes so long and fails may have been too much.
const SLOW: Duration = Duration::from_secs(5);
/// The code of an answer that is longer than we take.
const TOO_LARGE: &str = "ckan.too-large";

/// The portal as it is asked here.
pub struct Portal {
    client: Client,
    /// The turns to ask it.
    turns: Interval,
    rows: Size,
    batch: Size,
}

impl Portal {
    /// A portal that gets so many requests a second at most.
    pub fn new(client: Client, rate: u32) -> Self {
        let mut turns = interval(Duration::from_secs(1) / rate.max(1));
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { client, turns, rows: Size::new(ROWS_MIN, ROWS_MAX), batch: Size::new(1, BATCH_MAX) }
    }

    /// The client, when it is our turn to ask.
    pub async fn turn(&mut self) -> &Client {
        self.turns.tick().await;
        &self.client
    }

    /// A page of a listing. Nothing more is there when it is empty.
    pub async fn list(&mut self, listing: Listing<'_>) -> Result<Vec<Listed>, Failure> {
        let listing = Listing { rows: self.rows.now.min(listing.rows), ..listing };
        let client = self.turn().await;
        let begun = Instant::now();
        let page = client.list(&listing).await;
        self.rows.learn(page.as_ref().err(), begun.elapsed());
        let page = page?;
        if !page.iter().all(|listed| is_behind(&listing.order, listed)) {
            return Err(drops_filters("it lists what it was asked to leave out"));
        }
        Ok(page)
    }

    /// A dataset as it is in the database; `None` if it is not there for us.
    pub async fn shown(&mut self, id: &str) -> Result<Option<Dataset>, Failure> {
        let failure = match self.turn().await.dataset_now(id).await {
            Ok(dataset) => return Ok(Some(dataset)),
            Err(failure) if matches!(failure.code, NOT_FOUND | NOT_AUTHORIZED) => return Ok(None),
            Err(failure) => failure,
        };
        if failure.code != "ckan.server" {
            return Err(failure);
        }
        // CKAN fails at some datasets for ever. The search has a copy; if it has none, CKAN is not well altogether.
        let copies = self.turn().await.datasets(&[id]).await?;
        copies.into_iter().find_map(object).map(Some).ok_or(failure)
    }

    /// How many datasets are fetched at once at most.
    pub fn batch(&self) -> usize {
        self.batch.now
    }

    /// Datasets as the search knows them, without those that it does not.
    pub async fn copies(&mut self, ids: &[&str]) -> Result<Vec<Dataset>, Failure> {
        let client = self.turn().await;
        let begun = Instant::now();
        let copies = client.datasets(ids).await;
        self.batch.learn(copies.as_ref().err(), begun.elapsed());
        Ok(copies?.into_iter().filter_map(object).collect())
    }

    /// Makes sure that the portal still knows the token: to one that it does not know it shows less, without a word.
    pub async fn introduce_us(&mut self) -> Result<(), Failure> {
        let report = self.turn().await.check().await;
        report.failure().cloned().map_or(Ok(()), Err)
    }
}

fn object(value: Value) -> Option<Dataset> {
    if let Value::Object(dataset) = value { Some(dataset) } else { None }
}

fn is_behind(order: &Order<'_>, listed: &Listed) -> bool {
    match order {
        Order::ById(Some(id)) => listed.id.as_str() > *id,
        Order::ByStamp(Some(behind)) => (listed.stamp.as_str(), listed.id.as_str()) > *behind,
        Order::ById(None) | Order::ByStamp(None) | Order::Newest => true,
    }
}

/// What is to be said of a portal whose search does not look at `fq`.
pub fn drops_filters(seen: &str) -> Failure {
    Failure::permanent(
        "ckan.incompatible",
        format!(
            "package_search: {seen}: the filter `fq` does not arrive, so changes cannot be found. A proxy in front of \
             CKAN may drop it, or an extension rewrite it: let `fq` pass for the host's user, or name CKAN's own address"
        ),
    )
}

/// How much is asked for at once: less when that was too much, more again little by little.
#[derive(Debug, PartialEq, Eq)]
struct Size {
    now: usize,
    min: usize,
    max: usize,
}

impl Size {
    fn new(min: usize, max: usize) -> Self {
        Self { now: max, min, max }
    }

    /// Learns from how a request ended, and how long that took.
    fn learn(&mut self, failure: Option<&Failure>, took: Duration) {
        self.now = match failure {
            None => (self.now + self.now / 10 + 1).min(self.max),
            Some(failure) if took >= SLOW || failure.code == TOO_LARGE => (self.now / 2).max(self.min),
            // Whoever is away would not have answered less either.
            Some(_) => self.now,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_asked_for_when_it_was_too_much_and_more_again_little_by_little() {
        let mut size = Size::new(10, 1000);
        let failure = Failure::retryable("ckan.unavailable", "no answer");
        size.learn(Some(&failure), Duration::from_millis(20));
        assert_eq!(size.now, 1000, "it was away");
        size.learn(Some(&Failure::permanent(TOO_LARGE, "too much")), Duration::ZERO);
        assert_eq!(size.now, 500);
        for expected in [250, 125, 62, 31, 15, 10, 10] {
            size.learn(Some(&failure), SLOW);
            assert_eq!(size.now, expected);
        }
        let steps = (1..100).find(|_| {
            size.learn(None, Duration::ZERO);
            size.now == 1000
        });
        assert!(steps.is_some_and(|steps| (20..60).contains(&steps)), "{steps:?}");
        size.learn(None, Duration::ZERO);
        assert_eq!(size.now, 1000);
    }
}
