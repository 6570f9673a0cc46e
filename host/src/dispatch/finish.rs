//! How the work stops: nothing new is started, what is in hand may end, the rest goes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Dispatcher, LOOK_EVERY, Summary};

/// How long the source may take to go, once all that can be settled has been.
const CLOSE_MAX: Duration = Duration::from_millis(1500);

impl Dispatcher {
    /// Stops: lets work in hand end, settles it, and sends source and threads home.
    pub(super) async fn finish(mut self) -> Summary {
        self.drain().await;
        let _ = tokio::time::timeout(CLOSE_MAX, self.finish_wakes()).await;
        if self.settings.dry_run {
            self.summary.looked_at = self.looked_at.len() as u64;
            self.source.release(std::mem::take(&mut self.looked_at));
        }
        let Self { source, pool, journal, summary, .. } = self;
        // From here on an end is no crash.
        journal.running().forgive();
        if tokio::time::timeout(CLOSE_MAX, source.close()).await.is_err() {
            tracing::warn!("the queue did not let go within {CLOSE_MAX:?}; what is not settled comes back");
        }
        journal.close();
        // Threads that are still in a run would not come.
        if summary.left_running == 0 {
            pool.close();
        }
        summary
    }

    /// Nothing new is started, work in hand has `drain` to end, the rest comes back.
    async fn drain(&mut self) {
        self.board.stopping.store(true, Ordering::Release);
        self.source.stop();
        // What was told before may be about what is given back.
        let _ = self.hear();
        self.give_back_unstarted();
        // Both waits together take no longer than `drain`: whoever asked us to stop waits no longer either.
        let grace = self.settings.grace.min(self.settings.drain / 5);
        let to_end = self.settings.drain.saturating_sub(grace);
        let drained = tokio::time::timeout(to_end, self.wind_up()).await;
        if drained.is_err() {
            tracing::warn!("work in hand does not end within {to_end:?} and is broken off");
            self.give_up.send_replace(true);
            let _ = tokio::time::timeout(grace, self.wind_up()).await;
        }
        self.summary.left_running = self.in_hand.len();
        self.settle();
    }

    /// Gives back what no thread has begun.
    pub(super) fn give_back_unstarted(&mut self) {
        let mut tickets: Vec<usize> = self.lanes.drain().into_iter().map(|job| job.ticket).collect();
        let gathered: Vec<_> = self.gathering.drain().collect();
        for (lane, jobs) in gathered {
            tickets.extend(jobs.iter().map(|job| job.ticket));
            self.lanes.leave(lane);
        }
        for task in self.pool.drain() {
            let first = task.turn() / self.members.len();
            tickets.extend(task.jobs.iter().skip(first).map(|job| job.ticket));
            task.lane.map(|lane| self.lanes.leave(lane));
        }
        self.running -= tickets.len();
        self.alone_in_hand.take_if(|alone| tickets.contains(alone));
        tickets.extend(self.alone.drain(..).map(|(_, job)| job.ticket));
        for ticket in tickets {
            self.in_hand[ticket].is_unsettled = true;
            self.over(ticket);
        }
        self.settle();
    }

    /// Waits until nothing is in hand any more.
    async fn wind_up(&mut self) {
        let board = Arc::clone(&self.board);
        let mut look = tokio::time::interval(LOOK_EVERY);
        // Errors are of no interest any more: what cannot be ended comes back.
        let _ = self.hear();
        while !self.in_hand.is_empty() {
            tokio::select! {
                () = board.ready.notified() => {}
                told = self.journal.told() => { let _ = self.journal_told(told); }
                Some(kept) = self.keeping.join_next_with_id() => self.letter_ended(kept),
                _ = look.tick() => { let _ = self.look_after(); }
            }
            let _ = self.hear();
            self.settle();
        }
    }
}
