//! The portal as it is asked here: not too often and not for too much at once.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::notices::Dataset;
use crate::services::Failure;
use crate::services::ckan::{Client, Listed, Listing, NOT_AUTHORIZED, NOT_FOUND};
use crate::source::fed::Size;

/// How many datasets are listed at once at most; CKAN itself gives no more.
const ROWS_MAX: usize = 1000;
/// How many are listed at once at least.
const ROWS_MIN: usize = 10;
/// How many datasets are fetched from the search at once at most.
const BATCH_MAX: usize = 100;

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
        let listing = Listing { rows: self.rows.now().min(listing.rows), ..listing };
        let client = self.turn().await;
        let begun = Instant::now();
        let page = client.list(&listing).await;
        self.rows.learn(page.as_ref().err(), begun.elapsed());
        page
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
        self.batch.now()
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
