//! How deliveries are taken: what no worker here can work on dies at once, the rest goes to the threads.

use std::time::SystemTime;

use super::{DispatchError, Dispatcher, InHand};
use crate::delivery::{DeadReason, Delivery, Fate, Letter};
use crate::notification;
use crate::task::Job;

impl Dispatcher {
    /// Takes a batch; what goes to the threads goes in order for each dataset.
    pub(super) fn take(&mut self, batch: Vec<Delivery>) -> Result<(), DispatchError> {
        let taken = SystemTime::now();
        let mut jobs = Vec::with_capacity(batch.len());
        for delivery in batch {
            let notification = match notification::parse(&delivery.body, self.settings.body_bytes_max) {
                Ok(notification) => notification,
                Err(malformed) => {
                    self.bury(delivery, DeadReason::Malformed, malformed.to_string(), taken);
                    continue;
                }
            };
            if let Some(stranger) = self.stranger(&delivery) {
                // Skipped by all, it would be lost to the one that is to have it.
                let error = format!("it is addressed to worker {stranger:?}, which does not run here");
                self.bury(delivery, DeadReason::WorkerNotLoaded, error, taken);
                continue;
            }
            let lane = notification.lane();
            let ticket = self.in_hand.insert(InHand::new(delivery.receipt));
            let job = Job {
                ticket,
                notification,
                delivery: delivery.id,
                past: delivery.past,
                redelivered: delivery.redelivered,
                taken,
                origin: delivery.origin,
            };
            jobs.push((lane, job));
        }
        let groups = self.lanes.enter(jobs);
        self.start(groups)
    }

    /// The worker that a delivery is for, if that is not one of ours.
    fn stranger<'a>(&self, delivery: &'a Delivery) -> Option<&'a str> {
        let only = delivery.past.as_ref().map(|past| &*past.worker);
        only.filter(|only| self.members.iter().all(|member| member.worker.name() != *only))
    }

    /// Keeps a delivery as a dead letter that no worker has seen.
    fn bury(&mut self, delivery: Delivery, reason: DeadReason, error: String, taken: SystemTime) {
        tracing::warn!(delivery = %delivery.id, outcome = "dead", "{}: {error}", reason.as_str());
        let ticket = self.in_hand.insert(InHand { is_over: true, ..InHand::new(delivery.receipt) });
        let letter = Letter {
            delivery: delivery.id,
            worker: delivery.past.map(|past| past.worker),
            fate: Fate::Dead(reason),
            error,
            attempts: 0,
            hops: 1,
            first_seen: taken,
            held_since: None,
            body: delivery.body,
            origin: delivery.origin,
        };
        self.keep(ticket, letter);
    }
}
