//! The live look: what has changed since a while before the newest stamp that was reached.
//!
//! A change is dated when it begins and may be seen minutes later, so each look goes back by the overlap; what was seen
//! already is known by its stamp and what is listed of it. The cursor moves when a look has ended, and never into the
//! future of the search's own clock; it goes back when it finds itself there.

use std::time::Duration;

use tokio::time::Instant;

use super::notices::{Change, is_as_listed};
use super::portal::Shown;
use super::progress::is_seen;
use super::{Poll, Trouble};
use crate::services::ckan::{Listed, Listing, Order};
use crate::source::sqlite::Intake;

/// How much is found, or how long it is looked for, before it is written down.
const FOUND_MAX: usize = 100;
const LOOKED_MAX: Duration = Duration::from_secs(1);

/// How many datasets that the portal fails at are asked for again by looks; the others are left to the sweep.
const OWED_MAX: usize = 1000;

impl Poll {
    /// Looks once for all that has changed.
    pub(super) async fn look(&mut self) -> Result<(), Trouble> {
        self.introduce_us_if_due().await?;
        let past = Listing { query: None, since: None, until: Some("NOW"), order: Order::Newest, rows: 1 };
        let newest = self.portal.list(past).await?.into_iter().next().map(|listed| listed.stamp);
        if newest.as_ref().is_some_and(|newest| *newest < self.progress.cursor) {
            // The portal's clock was ahead and is right again, or the newest dataset is gone.
            self.move_cursor(newest.clone().unwrap_or_default()).await?;
        }
        let since = self.progress.since(self.settings.overlap);
        let until = self.until();
        let mut reached: Option<Listed> = None;
        loop {
            let behind = reached.as_ref().map(|last| (last.stamp.as_str(), last.id.as_str()));
            let listing = Listing {
                query: None,
                since: since.as_deref(),
                until: Some(&until),
                order: Order::ByStamp(behind),
                rows: usize::MAX,
            };
            let page = self.portal.list(listing).await?;
            let Some(last) = page.last() else { break };
            self.bring_changed(&page).await?;
            reached = Some(last.clone());
        }
        let owed: Vec<Listed> = self.owed.values().cloned().collect();
        self.bring_changed(&owed).await?;
        // The newest that was reached and is not in the future.
        let cursor = reached.map(|last| last.stamp).min(newest).unwrap_or_default();
        if cursor > self.progress.cursor { self.move_cursor(cursor).await } else { Ok(()) }
    }

    /// Puts on the queue what nobody has seen of a page.
    async fn bring_changed(&mut self, page: &[Listed]) -> Result<(), Trouble> {
        let ids = page.iter().map(|listed| listed.id.clone()).collect();
        let known = self.book.seen(ids).await?;
        let (mut intake, mut begun) = (Intake::default(), Instant::now());
        for listed in page {
            let known = known.get(&listed.id);
            if is_seen(known, listed) || self.progress.is_for_the_first_sweep(known, listed) {
                continue;
            }
            let dataset = match self.portal.shown(&listed.id).await? {
                Shown::Dataset(dataset) if is_as_listed(&dataset, listed) => dataset,
                Shown::Failure => {
                    self.owe(listed);
                    continue;
                }
                Shown::Dataset(_) | Shown::Nothing => {
                    self.owed.remove(&listed.id);
                    tracing::debug!("dataset {} is listed and not saved yet", listed.id);
                    continue;
                }
            };
            self.owed.remove(&listed.id);
            let change = Change { listed, dataset: &dataset, known, is_young: listed.created > self.progress.begin };
            let queue = &self.queue;
            intake.messages.extend(change.messages(&self.site_url).into_iter().map(|message| (queue.clone(), message)));
            intake.seen.push(change.seen());
            if intake.seen.len() >= FOUND_MAX || begun.elapsed() >= LOOKED_MAX {
                self.book.take_in(std::mem::take(&mut intake)).await?;
                begun = Instant::now();
            }
        }
        if intake.seen.is_empty() { Ok(()) } else { Ok(self.book.take_in(intake).await?) }
    }

    /// Notes that a change is to be told of when the portal can show it.
    fn owe(&mut self, listed: &Listed) {
        if self.owed.len() < OWED_MAX || self.owed.contains_key(&listed.id) {
            self.owed.insert(listed.id.clone(), listed.clone());
        }
    }

    async fn move_cursor(&mut self, cursor: String) -> Result<(), Trouble> {
        self.introduce_us_if_due().await?;
        self.progress.cursor = cursor;
        Ok(self.book.take_in(Intake { progress: self.progress.write(), ..Intake::default() }).await?)
    }

    /// Whoever shows us less because the token has died must not carry the cursor further than a look goes back.
    async fn introduce_us_if_due(&mut self) -> Result<(), Trouble> {
        let every = self.settings.overlap / 2;
        if self.introduced.is_none_or(|introduced| introduced.elapsed() >= every) {
            let asked = Instant::now();
            self.portal.introduce_us().await?;
            self.introduced = Some(asked);
        }
        Ok(())
    }
}
