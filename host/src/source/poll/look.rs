//! The live look: what has changed since a while before the newest stamp that was reached.
//!
//! A change is dated when it begins and may be seen minutes later, so each look goes back by the overlap; what was seen
//! already is known by its stamp and what is listed of it. The cursor moves when a look has ended, and never into the
//! future of the search's own clock.

use std::time::Duration;

use tokio::time::Instant;

use super::notices::{Change, is_as_listed};
use super::progress::is_seen;
use super::{Poll, Trouble};
use crate::services::ckan::{Listed, Listing, Order};
use crate::source::sqlite::Intake;

/// How much is found, or how long it is looked for, before it is written down.
const FOUND_MAX: usize = 100;
const LOOKED_MAX: Duration = Duration::from_secs(1);

/// How often it is asked whether the portal still knows the token.
const INTRODUCE_EVERY: Duration = Duration::from_secs(600);

impl Poll {
    /// Looks once for all that has changed.
    pub(super) async fn look(&mut self) -> Result<(), Trouble> {
        if self.introduced.elapsed() >= INTRODUCE_EVERY {
            self.portal.introduce_us().await?;
            self.introduced = Instant::now();
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
        match reached {
            Some(last) if last.stamp > self.progress.cursor => self.move_cursor(last.stamp).await,
            _ => Ok(()),
        }
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
            let shown = self.portal.shown(&listed.id).await?;
            let Some(dataset) = shown.filter(|dataset| is_as_listed(dataset, listed)) else {
                tracing::debug!("dataset {} is listed and not saved yet", listed.id);
                continue;
            };
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

    /// Moves the cursor to a stamp that was reached, or to the newest that is not in the future.
    async fn move_cursor(&mut self, reached: String) -> Result<(), Trouble> {
        let past = Listing { query: None, since: None, until: Some("NOW"), order: Order::Newest, rows: 1 };
        let newest = self.portal.list(past).await?.into_iter().next().map(|listed| listed.stamp);
        let cursor = newest.unwrap_or_default().min(reached);
        if cursor > self.progress.cursor {
            self.progress.cursor = cursor;
            self.book.take_in(Intake { progress: self.progress.write(), ..Intake::default() }).await?;
        }
        Ok(())
    }
}
