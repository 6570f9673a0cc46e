//! Calls that workers wished for themselves: a lane of low priority.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::task::{JoinError, JoinSet};

use super::{DispatchError, Dispatcher};
use crate::admit::RECHECK;
use crate::delivery::{Delivery, DeliveryId, Past, Receipt};
use crate::store::{Wake, WakeKey};

/// What is wished for, and how far that has come.
#[derive(Default)]
pub(super) struct Wakes {
    /// Asks the store, on a thread that may wait for a disk. Answers what is due.
    pub looking: JoinSet<Vec<Wake>>,
    /// How many are in hand.
    in_hand: usize,
    /// Those whose notifications are settled.
    answered: Vec<Wake>,
    /// Those that are to come back.
    given_back: Vec<Wake>,
}

impl Dispatcher {
    /// Whether there is room for what nobody but a worker asks for.
    pub(super) fn has_room_for_wakes(&self) -> bool {
        let may_start = !self.is_held() && !self.is_anything_alone() && !self.settings.dry_run;
        may_start && self.room_for_wakes() > 0 && self.wakes.looking.is_empty()
    }

    /// Up to half of the threads' worth while there are threads that nothing of the portal's needs, and otherwise one, so
    /// that it does not have to wait for ever.
    fn room_for_wakes(&self) -> usize {
        let is_quiet = self.in_hand.len() < self.settings.concurrency;
        let most = if is_quiet { self.settings.concurrency.div_ceil(2) } else { 1 };
        most.saturating_sub(self.wakes.in_hand)
    }

    /// Asks the store what is due.
    pub(super) fn look_for_wakes(&mut self) {
        let (services, members) = (Arc::clone(&self.services), Arc::clone(&self.members));
        let limit = self.room_for_wakes();
        self.wakes.looking.spawn_blocking(move || {
            let workers: Vec<&str> = members.iter().map(|member| member.worker.name()).collect();
            // Longer than any run may take: whoever died comes again then.
            let longest = members.iter().map(|member| member.deadline).max().unwrap_or_default();
            let lease = longest * 2 + Duration::from_secs(60);
            services.store.take_due(&workers, limit, lease).unwrap_or_else(|error| {
                tracing::error!("nothing can be looked at again: {error}");
                Vec::new()
            })
        });
    }

    /// Hears what is due, and has it worked on like any other notification.
    pub(super) fn woken(&mut self, due: Result<Vec<Wake>, JoinError>) -> Result<(), DispatchError> {
        let taken = SystemTime::now();
        let mut jobs = Vec::new();
        for wake in due.unwrap_or_default() {
            let kind = if wake.key.waits { "released" } else { RECHECK };
            let id = format!("{kind}/{}/{}/{}", wake.worker, wake.key.subject, wake.key.due);
            let body = wake.body.clone().unwrap_or_else(|| recheck(&wake.key));
            let delivery = Delivery {
                id: DeliveryId::Named(id.into()),
                body: body.into(),
                past: Some(Box::new(Past::none(wake.worker.as_str(), taken))),
                redelivered: false,
                receipt: Receipt::VOID,
                origin: None,
            };
            self.wakes.in_hand += 1;
            self.take_one(delivery, taken, Some(Box::new(wake)), &mut jobs);
        }
        let groups = self.lanes.enter(jobs);
        self.start_or_gather(groups)
    }

    /// Notes that a wish was taken again while it is in hand: whoever has it answers it.
    pub(super) fn wake_is_in_hand(&mut self, wake: Option<&Wake>) {
        self.wakes.in_hand -= usize::from(wake.is_some());
    }

    /// Notes that a wish is answered, or that it is to come back.
    pub(super) fn wake_over(&mut self, wake: Option<Box<Wake>>, is_answered: bool) {
        if let Some(wake) = wake {
            self.wakes.in_hand -= 1;
            if is_answered { self.wakes.answered.push(*wake) } else { self.wakes.given_back.push(*wake) }
        }
    }

    /// Has the store know which wishes are answered. What the process dies in before that comes again, and the journal
    /// knows that it has ended.
    pub(super) fn settle_wakes(&mut self) {
        let is_wake = |receipt: &Receipt| *receipt == Receipt::VOID;
        self.settled.retain(|receipt| !is_wake(receipt));
        self.released.retain(|receipt| !is_wake(receipt));
        if self.wakes.answered.is_empty() && self.wakes.given_back.is_empty() {
            return;
        }
        let services = Arc::clone(&self.services);
        let answered = std::mem::take(&mut self.wakes.answered);
        let given_back = std::mem::take(&mut self.wakes.given_back);
        self.wakes.looking.spawn_blocking(move || {
            let noted = services.store.end_wakes(&answered).and_then(|()| services.store.give_back_wakes(&given_back));
            if let Err(error) = noted {
                tracing::warn!("what was looked at again may be so once more: {error}");
            }
            Vec::new()
        });
    }

    /// Waits until the store knows.
    pub(super) async fn finish_wakes(&mut self) {
        // What had been taken and was not begun is due again.
        while let Some(due) = self.wakes.looking.join_next().await {
            self.wakes.given_back.extend(due.unwrap_or_default());
        }
        self.settle_wakes();
        while self.wakes.looking.join_next().await.is_some() {}
    }
}

/// The notification of a wish to look again; the same each time that it is made, for the journal knows it by its body.
fn recheck(key: &WakeKey) -> Vec<u8> {
    json!({ "routing_key": "Package", "operation": RECHECK, "payload": { "id": key.subject, "due": key.due } })
        .to_string()
        .into_bytes()
}
