//! The portal as it is asked here: not too often and not for too much at once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::notices::Dataset;
use crate::services::Failure;
use crate::services::ckan::{Client, Listed, Listing, NOT_AUTHORIZED, NOT_FOUND, Order, RATE_LIMITED, SERVER};
use crate::source::fed::Size;

/// How many datasets are listed at once at most; CKAN itself gives no more.
const ROWS_MAX: usize = 1000;
/// How many are listed at once at least.
const ROWS_MIN: usize = 10;
/// How many datasets are fetched from the search at once at most.
const BATCH_MAX: usize = 100;

/// How long the portal is not asked again for a dataset that it fails at.
const BROKEN_FOR: Duration = Duration::from_secs(300);
/// Of how many datasets it is remembered at most that the portal fails at them.
const BROKEN_MAX: usize = 10_000;

/// What the portal shows of a dataset.
pub enum Shown {
    /// This.
    Dataset(Dataset),
    /// Nothing: it is not there for us.
    Nothing,
    /// Nothing, for it fails at this dataset. It is well otherwise.
    Failure,
}

/// The portal as it is asked here.
pub struct Portal {
    client: Client,
    /// The turns to ask it.
    turns: Interval,
    rows: Size,
    batch: Size,
    /// The datasets that it fails at, and when it may be asked for them again.
    broken: BTreeMap<String, Instant>,
}

impl Portal {
    /// A portal that gets so many requests a second at most.
    pub fn new(client: Client, rate: u32) -> Self {
        let mut turns = interval(Duration::from_secs(1) / rate.max(1));
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (rows, batch) = (Size::new(ROWS_MIN, ROWS_MAX), Size::new(1, BATCH_MAX));
        Self { client, turns, rows, batch, broken: BTreeMap::new() }
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

    /// A dataset as it is in the database.
    ///
    /// # Errors
    /// The portal is not well. When it fails at this dataset alone, that is an answer.
    pub async fn shown(&mut self, id: &str) -> Result<Shown, Failure> {
        if self.broken.get(id).is_some_and(|again| *again > Instant::now()) {
            return Ok(Shown::Failure);
        }
        let mut tried = self.show(id).await;
        if let Err(failure) = &tried {
            self.is_well(failure).await?;
            tried = self.show(id).await;
        }
        let Err(failure) = tried else {
            self.broken.remove(id);
            return tried;
        };
        if failure.code == RATE_LIMITED {
            return Err(failure);
        }
        let is_known = self.broken.contains_key(id);
        if !is_known {
            tracing::warn!("the portal fails at the dataset {id}, which is left for later: {}", failure.message);
        }
        if is_known || self.broken.len() < BROKEN_MAX {
            self.broken.insert(id.to_owned(), Instant::now() + BROKEN_FOR);
        }
        Ok(Shown::Failure)
    }

    async fn show(&mut self, id: &str) -> Result<Shown, Failure> {
        let failure = match self.turn().await.dataset_now(id).await {
            Ok(dataset) => return Ok(Shown::Dataset(dataset)),
            Err(failure) if matches!(failure.code, NOT_FOUND | NOT_AUTHORIZED) => return Ok(Shown::Nothing),
            Err(failure) => failure,
        };
        if failure.code != SERVER {
            return Err(failure);
        }
        // CKAN fails at some datasets for ever, and mostly the search has a copy.
        let copies = self.turn().await.datasets(&[id]).await.unwrap_or_default();
        copies.into_iter().find_map(object).map(Shown::Dataset).ok_or(failure)
    }

    /// Whether the portal is well although it has just failed: it knows us, and its search answers.
    ///
    /// # Errors
    /// It is not: the failure.
    async fn is_well(&mut self, failure: &Failure) -> Result<(), Failure> {
        if failure.code == RATE_LIMITED || self.introduce_us().await.is_err() {
            return Err(failure.clone());
        }
        let newest = Listing { query: None, since: None, until: None, order: Order::Newest, rows: 1 };
        self.turn().await.list(&newest).await.map(drop).map_err(|_| failure.clone())
    }

    /// How many datasets are fetched at once at most.
    pub fn batch(&self) -> usize {
        self.batch.now()
    }

    /// Datasets as the search knows them, without those that it does not. What it fails at is asked for in halves, and
    /// what it fails at alone is asked of the database.
    pub async fn copies(&mut self, ids: &[&str]) -> Result<Vec<Dataset>, Failure> {
        let (mut parts, mut copies) = (vec![ids], Vec::new());
        while let Some(ids) = parts.pop() {
            let client = self.turn().await;
            let begun = Instant::now();
            let answer = client.datasets(ids).await;
            self.batch.learn(answer.as_ref().err(), begun.elapsed());
            match (answer, ids) {
                (Ok(found), _) => copies.extend(found.into_iter().filter_map(object)),
                (Err(failure), [id]) => {
                    self.is_well(&failure).await?;
                    if let Shown::Dataset(dataset) = self.shown(id).await? {
                        copies.push(dataset);
                    }
                }
                (Err(failure), _) => {
                    self.is_well(&failure).await?;
                    let (first, second) = ids.split_at(ids.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(copies)
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
