//! Reads what the portal has, page by page: less at once where that is too much for it, and past what it cannot show.

use std::time::Duration;

use ckan_worker_abi::Status;
use serde_json::Value;
use tokio::sync::watch;

use super::Trouble;
use super::again::{Again, goes_on_after, stopped};
use crate::services::Failure;
use crate::services::ckan::{Client, Listed, Listing, NOT_AUTHORIZED, RATE_LIMITED};
use crate::source::Size;

/// How many datasets are asked for at once at most; any portal answers that many.
pub const PAGE: usize = 100;

/// How often a dataset is asked for alone, while the portal shows others, before it is left out.
const TRIES: u32 = 3;

/// A dataset that was listed.
pub struct Entry {
    pub id: String,
    pub shown: Shown,
}

/// What the portal shows of a dataset.
pub enum Shown {
    Dataset(Value),
    /// It is gone meanwhile.
    Gone,
    /// It fails at this one, and shows others.
    NotReadable,
}

/// Reads what the portal has.
pub struct Reader<'a> {
    client: &'a Client,
    stopping: watch::Receiver<bool>,
    /// How many are listed at once, and how many are fetched.
    rows: Size,
    batch: Size,
    /// The one that was shown last.
    witness: Option<String>,
}

/// What is to be done after a failure.
enum Next {
    Wait(Duration),
    LeaveOut,
    GiveUp,
}

impl<'a> Reader<'a> {
    /// A reader that has read nothing yet.
    pub fn new(client: &'a Client, stopping: watch::Receiver<bool>) -> Self {
        Self { client, stopping, rows: Size::new(1, PAGE), batch: Size::new(1, PAGE), witness: None }
    }

    /// The next datasets, none at the end; `None` if it was told to stop.
    pub async fn page(&mut self, listing: Listing<'_>, say: &dyn Fn(&str)) -> Result<Option<Vec<Entry>>, Trouble> {
        let Some(listed) = self.list(listing, say).await? else { return Ok(None) };
        let ids: Vec<&str> = listed.iter().map(|listed| listed.id.as_str()).collect();
        let (mut page, mut again, mut tries) = (Vec::with_capacity(ids.len()), Again::new(), 0);
        while page.len() < ids.len() {
            let rest = &ids[page.len()..];
            let some = &rest[..self.batch.now().min(rest.len())];
            let Some(answer) = unless_stopped(&self.stopping, self.client.datasets(some)).await else {
                return Ok(None);
            };
            let failure = match answer {
                Ok(datasets) => {
                    self.batch.learn(None, Duration::ZERO);
                    page.extend(entries(some, datasets));
                    self.witness = some.last().map(|id| (*id).to_owned());
                    (again, tries) = (Again::new(), 0);
                    continue;
                }
                Err(failure) => failure,
            };
            let Some(next) = self.after(&failure, some, &ids, &mut again, &mut tries).await else { return Ok(None) };
            match next {
                Next::GiveUp => return Err(Trouble::Ckan(failure)),
                Next::LeaveOut => {
                    say(&format!("dataset {} is not readable, and is left out: {}", some[0], failure.message));
                    page.push(Entry { id: some[0].to_owned(), shown: Shown::NotReadable });
                    (again, tries) = (Again::new(), 0);
                }
                Next::Wait(wait) => {
                    let (count, seconds) = (self.batch.now().min(some.len()), wait.as_secs_f64());
                    say(&format!("{}; trying again with {count} at once in {seconds:.1} s", failure.message));
                    if !goes_on_after(wait, &self.stopping).await {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(page))
    }

    async fn list(&mut self, listing: Listing<'_>, say: &dyn Fn(&str)) -> Result<Option<Vec<Listed>>, Trouble> {
        let (client, rows) = (self.client, &mut self.rows);
        let list = async || loop {
            let count = rows.now();
            let failure = match client.list(&Listing { rows: count, ..listing }).await {
                Ok(page) => {
                    rows.learn(None, Duration::ZERO);
                    return Ok(page);
                }
                Err(failure) => failure,
            };
            if failure.code != RATE_LIMITED {
                rows.less_than(count);
            }
            if failure.code != "ckan.too-large" || count == 1 {
                return Err(failure);
            }
        };
        asked(&self.stopping, say, list).await
    }

    /// Decides how to go on when `some` of the ids of a page could not be fetched; `None` if it was told to stop.
    async fn after(
        &mut self,
        failure: &Failure,
        some: &[&str],
        page: &[&str],
        again: &mut Again,
        tries: &mut u32,
    ) -> Option<Next> {
        let is_passing = failure.status == Status::RETRY;
        if failure.code == NOT_AUTHORIZED {
            return Some(Next::GiveUp);
        }
        // Who asks for fewer asks more often, which is no answer to that.
        if failure.code != RATE_LIMITED {
            if some.len() > 1 {
                self.batch.less_than(some.len());
                let wait =
                    if is_passing { Again::new().wait(failure.retry_after, fastrand::f64()) } else { Duration::ZERO };
                return Some(Next::Wait(wait));
            }
            if self.shows_another(some[0], page).await? {
                *tries += 1;
                if *tries >= TRIES || !is_passing {
                    return Some(Next::LeaveOut);
                }
            }
        }
        Some(if is_passing { Next::Wait(again.wait(failure.retry_after, fastrand::f64())) } else { Next::GiveUp })
    }

    /// Whether the portal shows another dataset than this one just now; `None` if it was told to stop.
    async fn shows_another(&self, id: &str, page: &[&str]) -> Option<bool> {
        let others: Vec<&str> = page.iter().copied().filter(|other| *other != id).collect();
        let other = match (&self.witness, others.len()) {
            (Some(witness), _) => witness,
            // It has listed it just now, and there is no other.
            (None, 0) => return Some(true),
            (None, count) => others[fastrand::usize(..count)],
        };
        Some(unless_stopped(&self.stopping, self.client.datasets(&[other])).await?.is_ok())
    }
}

/// What came of the datasets that were asked for.
fn entries(ids: &[&str], mut datasets: Vec<Value>) -> Vec<Entry> {
    let mut shown = |id: &str| match datasets.iter().position(|dataset| dataset["id"] == *id) {
        Some(index) => Shown::Dataset(datasets.swap_remove(index)),
        None => Shown::Gone,
    };
    ids.iter().map(|id| Entry { id: (*id).to_owned(), shown: shown(id) }).collect()
}

/// Asks the portal until it answers; `None` if it was told to stop meanwhile.
pub async fn asked<T>(
    stopping: &watch::Receiver<bool>,
    say: &dyn Fn(&str),
    mut ask: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<Option<T>, Trouble> {
    let mut again = Again::new();
    loop {
        let failure = match unless_stopped(stopping, ask()).await {
            None => return Ok(None),
            Some(Ok(answer)) => return Ok(Some(answer)),
            Some(Err(failure)) => failure,
        };
        if failure.status != Status::RETRY || failure.code == NOT_AUTHORIZED {
            return Err(Trouble::Ckan(failure));
        }
        let wait = again.wait(failure.retry_after, fastrand::f64());
        say(&format!("{}; trying again in {:.1} s", failure.message, wait.as_secs_f64()));
        if !goes_on_after(wait, stopping).await {
            return Ok(None);
        }
    }
}

/// What comes of it; `None` if it was told to stop before.
async fn unless_stopped<T>(stopping: &watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    let mut stopping = stopping.clone();
    tokio::select! {
        biased;
        () = stopped(&mut stopping) => None,
        done = work => Some(done),
    }
}
