//! The sweep: all datasets in the order of their ids, compared with what is known of them. It finds what a new stamp does
//! not tell of: what is deleted, purged or hidden, resources that went, other owners and groups; the first time it finds
//! everything. It goes on where it was, a page at a time, so that it never keeps a look waiting for long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::notices::{Change, Dataset, deleted, is_as_listed, is_deleted, vanished};
use super::portal::Shown;
use super::progress::{Sweep, is_seen};
use super::{Poll, Start, Trouble, now_ms};
use crate::services::ckan::{Listed, Listing, Order};
use crate::source::backfill_queue;
use crate::source::sqlite::{Intake, Seen};

/// While so many messages wait, no more are added.
const WAITING_MAX: u64 = 10_000;

/// How many datasets of which something is known are compared in one step at most.
const KNOWN_MAX: usize = 2000;

/// When more of a page are unseen, the search's copies of them are taken, which costs the portal a hundredth.
const SHOWN_MAX: usize = 20;

/// How many datasets that are no longer listed are asked for in one step at most.
const MISSING_MAX: usize = 20;

/// How many datasets may be there and not listed, before that is said and the rest of them is left to the next sweep.
const UNLISTED_MAX: u64 = 100;

/// How long it is known of a dataset that it is gone.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Poll {
    /// Whether so much waits that the sweep should, too.
    pub(super) async fn is_enough_waiting(&self) -> Result<bool, Trouble> {
        Ok(self.book.ready(backfill_queue(&self.queue)).await? >= WAITING_MAX)
    }

    /// Takes the sweep on by a page.
    pub(super) async fn sweep(&mut self) -> Result<(), Trouble> {
        if self.progress.sweep.is_none() {
            // Who is not known is shown less, and the rest would seem to be deleted.
            self.portal.introduce_us().await?;
            self.progress.sweep = Some(Sweep { began_ms: now_ms(), ..Sweep::default() });
        }
        let behind = self.sweep_so_far().behind.clone();
        let order = Order::ById(Some(behind.as_str()).filter(|id| !id.is_empty()));
        let all = Listing { query: None, since: None, until: None, order, rows: usize::MAX };
        let mut page = self.portal.list(all).await?;
        let up_to = page.last().map(|last| last.id.clone());
        let known = self.book.seen_between(behind, up_to.clone(), KNOWN_MAX).await?;
        let is_cut = known.len() >= KNOWN_MAX;
        let up_to = if is_cut { known.last().map(|last| last.dataset.clone()) } else { up_to };
        let mut missing = self.missing(&page, known);
        let is_cut = missing.len() > MISSING_MAX;
        missing.truncate(MISSING_MAX);
        let up_to = if is_cut { missing.last().map(|last| last.dataset.clone()) } else { up_to };
        page.retain(|listed| Some(&listed.id) <= up_to.as_ref());
        if page.iter().any(|listed| listed.stamp > self.progress.cursor) {
            // What is newer is told of by a look, if it is not dated in the future.
            self.look().await?;
        }
        self.bring_unseen(&page).await?;
        self.bring_gone(missing).await?;
        let mut sweep = self.sweep_so_far().clone();
        sweep.listed += page.len() as u64;
        match up_to {
            Some(up_to) => sweep.behind = up_to,
            None => return self.end_sweep(&sweep).await,
        }
        self.progress.sweep = Some(sweep);
        self.keep_progress().await
    }

    fn sweep_so_far(&mut self) -> &mut Sweep {
        self.progress.sweep.get_or_insert_default()
    }

    async fn end_sweep(&mut self, sweep: &Sweep) -> Result<(), Trouble> {
        let now = now_ms();
        self.progress.missing_from = sweep.stopped_at.clone().unwrap_or_default();
        (self.progress.sweep, self.progress.swept_ms, self.has_swept) = (None, Some(now), true);
        let (progress, forget_gone) = (self.progress.write(), Some(FORGET_AFTER));
        self.book.take_in(Intake { forget_gone, progress, ..Intake::default() }).await?;
        let Sweep { listed, new, changed, gone, uncommitted, .. } = sweep;
        let seconds = now.saturating_sub(sweep.began_ms).max(0) / 1000;
        tracing::info!(
            "all {listed} datasets of {} compared in {seconds} s: new {new}, changed {changed}, gone {gone}, listed \
             otherwise than they are {uncommitted}",
            self.site_url
        );
        Ok(())
    }

    async fn keep_progress(&self) -> Result<(), Trouble> {
        Ok(self.book.take_in(Intake { progress: self.progress.write(), ..Intake::default() }).await?)
    }

    /// Puts on the queue what of a page is not as it is known.
    async fn bring_unseen(&mut self, page: &[Listed]) -> Result<(), Trouble> {
        let ids = page.iter().map(|listed| listed.id.clone()).collect();
        let known = self.book.seen(ids).await?;
        let unseen: Vec<&Listed> = page.iter().filter(|listed| !is_seen(known.get(&listed.id), listed)).collect();
        let copies_will_do = unseen.len() > SHOWN_MAX;
        let mut rest = unseen.as_slice();
        while !rest.is_empty() {
            let size = if copies_will_do { self.portal.batch() } else { SHOWN_MAX };
            let (now, later) = rest.split_at(size.min(rest.len()));
            let datasets = if copies_will_do { self.copies(now).await? } else { self.shown(now).await? };
            self.bring(now, &known, &datasets).await?;
            rest = later;
        }
        Ok(())
    }

    async fn copies(&mut self, listed: &[&Listed]) -> Result<BTreeMap<String, Dataset>, Trouble> {
        let ids: Vec<&str> = listed.iter().map(|listed| listed.id.as_str()).collect();
        let copies = self.portal.copies(&ids).await?.into_iter();
        Ok(copies.filter_map(|dataset| Some((dataset.get("id")?.as_str()?.to_owned(), dataset))).collect())
    }

    async fn shown(&mut self, listed: &[&Listed]) -> Result<BTreeMap<String, Dataset>, Trouble> {
        let mut shown = BTreeMap::new();
        for listed in listed {
            if let Shown::Dataset(dataset) = self.portal.shown(&listed.id).await? {
                shown.insert(listed.id.clone(), dataset);
            }
        }
        Ok(shown)
    }

    async fn bring(
        &mut self,
        listed: &[&Listed],
        known: &BTreeMap<String, Seen>,
        datasets: &BTreeMap<String, Dataset>,
    ) -> Result<(), Trouble> {
        let mut sweep = self.sweep_so_far().clone();
        let queue = backfill_queue(&self.queue);
        // The first time, what was there already is told to those who want to hear everything.
        let all_are_told = self.progress.swept_ms.is_some() || self.settings.start == Start::Everything;
        let mut intake = Intake::default();
        for listed in listed {
            let Some(dataset) = datasets.get(&listed.id).filter(|dataset| is_as_listed(dataset, listed)) else {
                sweep.uncommitted += 1;
                continue;
            };
            let known = known.get(&listed.id);
            let change = Change { listed, dataset, known, is_young: listed.created > self.progress.begin };
            *(if known.is_none() { &mut sweep.new } else { &mut sweep.changed }) += 1;
            if all_are_told || listed.stamp > self.progress.begin {
                let messages = change.messages(&self.site_url).into_iter();
                intake.messages.extend(messages.map(|message| (queue.clone(), message)));
            }
            intake.seen.push(change.seen());
            self.owed.remove(&listed.id);
        }
        self.progress.sweep = Some(sweep);
        intake.progress = self.progress.write();
        Ok(self.book.take_in(intake).await?)
    }

    /// Which of the known datasets are not on a page and are to be asked for.
    fn missing(&mut self, page: &[Listed], mut known: Vec<Seen>) -> Vec<Seen> {
        let from = self.progress.missing_from.clone();
        if self.sweep_so_far().stopped_at.is_some() {
            return Vec::new();
        }
        let listed: BTreeSet<&str> = page.iter().map(|listed| listed.id.as_str()).collect();
        known.retain(|seen| seen.dataset > from && !listed.contains(seen.dataset.as_str()));
        known
    }

    /// Puts on the queue which of the known datasets that are no longer listed are gone.
    async fn bring_gone(&mut self, missing: Vec<Seen>) -> Result<(), Trouble> {
        if missing.is_empty() {
            return Ok(());
        }
        self.portal.introduce_us().await?;
        for seen in missing {
            let message = match self.portal.shown(&seen.dataset).await? {
                Shown::Nothing => vanished(&seen),
                Shown::Dataset(dataset) if is_deleted(&dataset) => deleted(&seen, &dataset, &self.site_url),
                Shown::Dataset(_) | Shown::Failure => {
                    if self.is_still_there(&seen.dataset) {
                        return Ok(());
                    }
                    continue;
                }
            };
            self.sweep_so_far().gone += 1;
            // They are few and urgent.
            let messages = vec![(self.queue.clone(), message)];
            let (gone, progress) = (vec![seen.dataset], self.progress.write());
            self.book.take_in(Intake { messages, gone, progress, ..Intake::default() }).await?;
        }
        Ok(())
    }

    /// Notes that a dataset is there and not listed; answers whether there have been too many of them.
    fn is_still_there(&mut self, id: &str) -> bool {
        let sweep = self.sweep_so_far();
        sweep.unlisted += 1;
        let is_too_many = sweep.unlisted == UNLISTED_MAX;
        if is_too_many {
            sweep.stopped_at = Some(id.to_owned());
            tracing::warn!(
                "{} lists {UNLISTED_MAX} datasets no longer that are there: its search index seems incomplete, rebuild it \
                 with `ckan search-index rebuild`. The next sweep looks on from there for what was deleted",
                self.site_url
            );
        }
        is_too_many
    }
}
