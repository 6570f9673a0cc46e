//! What comes back of the work: runs that have ended are written down, what failed is sent on, and a delivery all of
//! whose runs have ended is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::{Id, JoinError};

use super::{DispatchError, Dispatcher, InHand};
use crate::delivery::{Fate, Letter};
use crate::journal::Told;
use crate::seed;
use crate::task::Event;

/// How long to wait before a letter that could not be kept is tried again: twice as long each time, up to the second.
const KEEP_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// After so many tries in vain, nothing new is started until it works again.
const TRIES_IN_VAIN: u32 = 3;

/// How a letter fared.
pub(super) struct Kept {
    ticket: usize,
    /// The key of the worker it is for.
    worker: u64,
    fate: Fate,
    /// It tells another worker how a run ended.
    is_outcome: bool,
    arrived: bool,
}

impl Dispatcher {
    /// Hears what the threads have told.
    pub(super) fn hear(&mut self) -> Result<(), DispatchError> {
        let mut groups = Vec::new();
        while let Some(event) = self.board.events.pop() {
            match event {
                Event::Ended(ticket, member) => self.note_ended(ticket, self.members[member].key),
                Event::Letter(ticket, member, letter) => self.keep(ticket, self.members[member].key, *letter),
                Event::Outcome(ticket, member, letter) => self.tell_outcome(ticket, self.members[member].key, *letter),
                Event::Superseded { ticket, member, by } => {
                    self.in_hand[ticket].waits += 1;
                    self.in_hand[by].heirs.push((ticket, self.members[member].key));
                }
                Event::Unsettled(ticket) => self.in_hand[ticket].is_unsettled = true,
                Event::Over(ticket, lane) => {
                    groups.extend(lane.and_then(|lane| self.lanes.leave(lane).map(|jobs| (Some(lane), jobs))));
                    self.running -= 1;
                    if self.alone_in_hand == Some(ticket) {
                        self.alone_in_hand = None;
                    }
                    self.over(ticket);
                }
            }
        }
        self.write_down();
        if !groups.is_empty() {
            self.start(groups)?;
        }
        self.start_alone()
    }

    /// Notes that all workers have had a notification.
    pub(super) fn over(&mut self, ticket: usize) {
        self.in_hand[ticket].is_over = true;
        self.close_if_ended(ticket);
    }

    /// Notes that a run has ended, durably but for the journal.
    fn note_ended(&mut self, ticket: usize, worker: u64) {
        let InHand { key, hops, ref receipt, .. } = self.in_hand[ticket];
        if self.settings.dry_run {
            // It is to be done all the same.
            return;
        }
        self.journal.note(key, worker, hops, receipt.session);
    }

    /// A delivery whose runs have all ended is settled once that is on file; one that a run of which did not end comes
    /// back.
    fn close_if_ended(&mut self, ticket: usize) {
        let delivery = &self.in_hand[ticket];
        if !delivery.is_over || delivery.letters > 0 || delivery.waits > 0 {
            return;
        }
        if !delivery.is_unsettled {
            self.unwritten.push(ticket);
            return;
        }
        let InHand { receipt, heirs, wake, .. } = self.in_hand.remove(ticket);
        self.wake_over(wake, false);
        self.released.push(receipt);
        for (heir, _) in heirs {
            self.in_hand[heir].is_unsettled = true;
            self.in_hand[heir].waits -= 1;
            self.close_if_ended(heir);
        }
    }

    /// Hands to the journal what has come together since it got the last batch.
    pub(super) fn write_down(&mut self) {
        let has_something = |this: &Self| !this.unwritten.is_empty() || !this.journal.is_handed_over();
        while !self.journal.is_writing() && has_something(self) {
            self.writing = std::mem::take(&mut self.unwritten);
            if self.journal.is_handed_over() {
                self.settle_written();
            } else {
                self.journal.write();
            }
        }
    }

    /// Hears what the journal says.
    ///
    /// # Errors
    /// Nothing will be written any more.
    pub(super) fn journal_told(&mut self, told: Told) -> Result<(), DispatchError> {
        match told {
            Told::Lost => return Err(DispatchError::JournalLost),
            Told::Written => {
                seed::point("journal-written");
                if self.journal_trouble.take().is_some() {
                    tracing::info!("the journal can be written again");
                }
                self.settle_written();
                seed::point("before-settle");
            }
            Told::Trouble(trouble) => {
                if self.journal_trouble.as_ref() != Some(&trouble) {
                    tracing::error!("{trouble}");
                }
                self.journal_trouble = Some(trouble);
            }
        }
        Ok(())
    }

    /// Settles what is on file, and ends with it what it superseded.
    fn settle_written(&mut self) {
        for ticket in std::mem::take(&mut self.writing) {
            let InHand { receipt, heirs, wake, .. } = self.in_hand.remove(ticket);
            self.wake_over(wake, true);
            self.settled.push(receipt);
            for (heir, worker) in heirs {
                self.note_ended(heir, worker);
                self.in_hand[heir].waits -= 1;
                self.close_if_ended(heir);
            }
        }
    }

    /// Has another worker hear how a run ended; the delivery is not settled before that is on its way.
    pub(super) fn tell_outcome(&mut self, ticket: usize, worker: u64, letter: Letter) {
        self.send(ticket, worker, letter, true);
    }

    /// Sends a letter on, however often that has to be tried; the delivery is not settled before.
    pub(super) fn keep(&mut self, ticket: usize, worker: u64, mut letter: Letter) {
        // A publisher may send the same message again: its copy is a later one than those of its earlier life.
        letter.hops = letter.hops.max(self.journal.hops_beyond(self.in_hand[ticket].key.run_hashed(worker)));
        self.send(ticket, worker, letter, false);
    }

    fn send(&mut self, ticket: usize, worker: u64, letter: Letter, is_outcome: bool) {
        if self.settings.dry_run {
            return;
        }
        self.in_hand[ticket].letters += 1;
        let (letters, mut give_up) = (Arc::clone(&self.letters), self.give_up.subscribe());
        let failing = Arc::clone(&self.failing);
        let task = self.keeping.spawn(async move {
            let fate = letter.fate;
            let mut tries = Tries { failing, count: 0 };
            while let Err(error) = letters.keep(&letter).await {
                tries.one_more();
                tracing::error!(delivery = %letter.delivery, %error, "what failed could not be sent on; trying again");
                tokio::select! {
                    _ = give_up.wait_for(|given_up| *given_up) => return Kept { ticket, worker, fate, is_outcome, arrived: false },
                    () = tokio::time::sleep(tries.wait()) => {}
                }
            }
            Kept { ticket, worker, fate, is_outcome, arrived: true }
        });
        self.kept_for.insert(task.id(), ticket);
    }

    /// Hears how a letter fared.
    pub(super) fn letter_ended(&mut self, kept: Result<(Id, Kept), JoinError>) {
        let (ticket, arrived) = match kept {
            Ok((id, Kept { ticket, worker, fate, is_outcome, arrived })) => {
                self.kept_for.remove(&id);
                if arrived && !is_outcome {
                    self.note_ended(ticket, worker);
                    match fate {
                        Fate::Retry(_) => self.summary.retried += 1,
                        Fate::Dead(_) => self.summary.dead += 1,
                    }
                }
                (ticket, arrived)
            }
            Err(error) => {
                tracing::error!("sending a letter on ended with a bug; its notification comes back: {error}");
                let Some(ticket) = self.kept_for.remove(&error.id()) else { return };
                (ticket, false)
            }
        };
        let delivery = &mut self.in_hand[ticket];
        delivery.letters -= 1;
        delivery.is_unsettled |= !arrived;
        self.close_if_ended(ticket);
    }
}

/// How often a letter was tried in vain; counts among the failing ones from a certain number on.
struct Tries {
    failing: Arc<AtomicUsize>,
    count: u32,
}

impl Tries {
    fn wait(&self) -> Duration {
        KEEP_AGAIN.0.saturating_mul(1 << self.count.saturating_sub(1).min(8)).min(KEEP_AGAIN.1)
    }

    fn one_more(&mut self) {
        self.count += 1;
        if self.count == TRIES_IN_VAIN {
            self.failing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Tries {
    fn drop(&mut self) {
        if self.count >= TRIES_IN_VAIN {
            self.failing.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
