//! A lane beside a queue: what waits in it is handed out only while nothing waits in the queue itself.
//!
//! `worker backfill` puts a whole portal into it, and a change that somebody makes meanwhile overtakes all of that. The
//! lane is a queue of its own beside the first one, in the same place; nobody who consumes makes it. It is looked for now
//! and then, so who never backfills pays for a look and no more. What fails in it goes to the ladder of the queue itself,
//! and so it is a change like others from then on.

mod held;
mod lookout;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Letters, Source, SourceError};
use crate::delivery::{Delivery, Receipt};
use held::Held;
pub use lookout::{Find, Found, Lookout};

/// How long nothing must have come from the queue itself, while it was asked, before the lane has its turn. A file
/// answers in less if it has something, and what a broker has sent is here already.
const QUIET: Duration = Duration::from_millis(10);

/// The same, once as much was in hand as may be: a broker sends more only when it has heard that something is settled,
/// and what is settled out of order it hears later.
const QUIET_WHEN_FULL: Duration = Duration::from_millis(250);

/// Marks receipts of the lane. No source counts its sessions so far.
const OF_LANE: u64 = 1 << 63;

/// A queue and the lane beside it.
pub struct WithBackfill {
    live: Side,
    /// The lane, once there is something in it.
    lane: Option<Side>,
    /// How many deliveries may be in hand: of both, and of the lane.
    in_hand_max: usize,
    lane_in_hand_max: usize,
    lookout: Lookout,
    /// Since when the queue itself is asked and has answered nothing.
    quiet_since: Option<Instant>,
    /// Before then the lane has no turn.
    not_before: Instant,
    is_stopped: bool,
}

/// One of the two queues.
struct Side {
    source: Box<dyn Source>,
    /// What it has delivered beyond what there was room for.
    surplus: VecDeque<Delivery>,
    /// What was handed out and not yet settled.
    held: Held,
}

impl WithBackfill {
    /// A queue with a lane that `lookout` looks for. Of `in_hand_max` deliveries in hand half may be the lane's, so that
    /// a change finds room, and a thread soon.
    pub fn new(live: Box<dyn Source>, lookout: Lookout, in_hand_max: usize) -> Self {
        Self {
            live: Side::new(live),
            lane: None,
            in_hand_max: in_hand_max.max(1),
            lane_in_hand_max: lane_in_hand_max(in_hand_max),
            lookout,
            quiet_since: None,
            not_before: Instant::now(),
            is_stopped: false,
        }
    }

    fn open_lane(&mut self, source: Box<dyn Source>) {
        let mut lane = Side::new(source);
        if self.is_stopped {
            lane.source.stop();
        }
        self.lane = Some(lane);
    }

    /// Hands out what the queue itself has delivered.
    fn hand_out(&mut self, max: usize) -> Vec<Delivery> {
        self.quiet_since = None;
        self.live.hand_out(max, self.lane.is_some())
    }

    /// Lets go of a lane that cannot be consumed; it is looked for again.
    fn lose_lane(&mut self, error: &SourceError) {
        tracing::warn!("what is to be worked on besides cannot be taken for now: {error}");
        self.lane = None;
        // Without a lane nobody notes what is settled, and to the next it would seem to be in hand still.
        self.live.held = Held::default();
        self.lookout.rest();
    }

    /// Takes the receipts of the lane out of `receipts`.
    fn lanes(&mut self, receipts: &mut Vec<Receipt>) -> Vec<Receipt> {
        let Some(lane) = &mut self.lane else {
            // Of a lane that was lost: its source has given them back.
            receipts.retain(|receipt| receipt.session & OF_LANE == 0);
            return Vec::new();
        };
        let is_full = self.live.held.len() >= self.in_hand_max;
        let (of_lane, of_live): (Vec<_>, Vec<_>) =
            std::mem::take(receipts).into_iter().partition(|receipt| receipt.session & OF_LANE != 0);
        if is_full && !of_live.is_empty() {
            self.not_before = Instant::now() + QUIET_WHEN_FULL;
        }
        self.live.held.give(&of_live);
        lane.held.give(&of_lane);
        *receipts = of_live;
        of_lane.into_iter().map(unmarked).collect()
    }

    /// Gives back what was not handed out.
    fn give_back_surplus(&mut self) {
        let of_live: Vec<_> = self.live.surplus.drain(..).map(|delivery| delivery.receipt).collect();
        if !of_live.is_empty() {
            self.live.source.release(of_live);
        }
        if let Some(lane) = &mut self.lane {
            let of_lane = lane.surplus.drain(..).map(|delivery| unmarked(delivery.receipt)).collect::<Vec<_>>();
            if !of_lane.is_empty() {
                lane.source.release(of_lane);
            }
        }
        self.quiet_since = None;
    }
}

/// How many deliveries of a lane may be in hand, of so many in all.
pub fn lane_in_hand_max(in_hand_max: usize) -> usize {
    (in_hand_max / 2).max(1)
}

fn unmarked(mut receipt: Receipt) -> Receipt {
    receipt.session &= !OF_LANE;
    receipt
}

impl Side {
    fn new(source: Box<dyn Source>) -> Self {
        Self { source, surplus: VecDeque::new(), held: Held::default() }
    }

    /// Hands out at most `max` of what was delivered.
    fn hand_out(&mut self, max: usize, is_noted: bool) -> Vec<Delivery> {
        let count = self.surplus.len().min(max.max(1));
        let batch: Vec<_> = self.surplus.drain(..count).collect();
        if is_noted {
            self.held.take(&batch);
        }
        batch
    }

    /// Waits until `from`, and then until the lane has delivered something, at most `max` of it.
    ///
    /// # Cancel safety
    /// As [`Source::next`].
    async fn next_of_lane(&mut self, from: Instant, max: usize) -> Result<(), SourceError> {
        tokio::time::sleep_until(from).await;
        if self.surplus.is_empty() {
            let mut batch = self.source.next(max).await?;
            for delivery in &mut batch {
                delivery.receipt.session |= OF_LANE;
            }
            self.surplus.extend(batch);
        }
        Ok(())
    }
}

/// What came first.
enum Turn {
    Live(Result<Vec<Delivery>, SourceError>),
    Found(Found),
    Lane(Result<(), SourceError>),
}

/// Waits for the lane's turn; for ever, if it has none.
async fn lane_turn(lane: Option<&mut Side>, from: Instant, in_hand_max: usize, max: usize) -> Result<(), SourceError> {
    match lane {
        Some(lane) if lane.held.len() < in_hand_max => {
            let room = max.min(in_hand_max - lane.held.len());
            lane.next_of_lane(from, room).await
        }
        _ => std::future::pending().await,
    }
}

#[async_trait]
impl Source for WithBackfill {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        loop {
            if !self.live.surplus.is_empty() {
                return Ok(self.hand_out(max));
            }
            let from = (*self.quiet_since.get_or_insert_with(Instant::now) + QUIET).max(self.not_before);
            let has_no_lane = self.lane.is_none();
            let turn = tokio::select! {
                biased;
                batch = self.live.source.next(max) => Turn::Live(batch),
                done = lane_turn(self.lane.as_mut(), from, self.lane_in_hand_max, max) => Turn::Lane(done),
                found = self.lookout.found(), if has_no_lane => Turn::Found(found),
            };
            match turn {
                Turn::Live(batch) => self.live.surplus.extend(batch?),
                Turn::Lane(Err(error)) => self.lose_lane(&error),
                Turn::Lane(Ok(())) => {
                    if let Some(lane) = &mut self.lane {
                        let room = max.min(self.lane_in_hand_max.saturating_sub(lane.held.len()));
                        return Ok(lane.hand_out(room, true));
                    }
                }
                Turn::Found(Ok(Some(lane))) => self.open_lane(lane),
                Turn::Found(Ok(None)) => {}
                Turn::Found(Err(error)) => tracing::debug!("nobody can say whether there is a lane: {error}"),
            }
        }
    }

    fn settle(&mut self, mut receipts: Vec<Receipt>) {
        let of_lane = self.lanes(&mut receipts);
        if !receipts.is_empty() {
            self.live.source.settle(receipts);
        }
        if let Some(lane) = self.lane.as_mut().filter(|_| !of_lane.is_empty()) {
            lane.source.settle(of_lane);
        }
    }

    fn release(&mut self, mut receipts: Vec<Receipt>) {
        let of_lane = self.lanes(&mut receipts);
        if !receipts.is_empty() {
            self.live.source.release(receipts);
        }
        if let Some(lane) = self.lane.as_mut().filter(|_| !of_lane.is_empty()) {
            lane.source.release(of_lane);
        }
    }

    fn stop(&mut self) {
        self.is_stopped = true;
        self.live.source.stop();
        if let Some(lane) = &mut self.lane {
            lane.source.stop();
        }
        self.give_back_surplus();
    }

    fn pause(&mut self) {
        // First, as what is given back must not be delivered to us again.
        self.live.source.pause();
        if let Some(lane) = &mut self.lane {
            lane.source.pause();
        }
        self.give_back_surplus();
    }

    fn resume(&mut self) {
        self.live.source.resume();
        if let Some(lane) = &mut self.lane {
            lane.source.resume();
        }
    }

    async fn depth(&mut self) -> Result<u64, SourceError> {
        let waiting = self.live.source.depth().await?;
        if self.lane.is_none() && waiting == 0 && !self.is_stopped {
            // Whoever waits for the queue to become empty is not to go while there is more to do.
            if let Some(lane) = self.lookout.look_now().await? {
                self.open_lane(lane);
            }
        }
        match &mut self.lane {
            Some(lane) => Ok(waiting + lane.source.depth().await?),
            None => Ok(waiting),
        }
    }

    fn letters(&self) -> Arc<dyn Letters> {
        self.live.source.letters()
    }

    async fn close(self: Box<Self>) {
        if let Some(lane) = self.lane {
            lane.source.close().await;
        }
        self.live.source.close().await;
    }
}
