//! How deliveries are taken: what has ended before is settled, what no worker here can work on is sent on, the rest
//! goes to the threads.

use std::time::SystemTime;

use super::alone::CRASHES_MAX;
use super::{DispatchError, Dispatcher, InHand};
use crate::delivery::{DeadReason, Delivery, Fate, Letter, Receipt};
use crate::journal::{DeliveryKey, worker_hash};
use crate::notification::{self, Notification};
use crate::process::{self, Ended, spread};
use crate::retry::{Attempt, Disposition, Outcome, Wait};
use crate::seed::Fault;
use crate::store::Wake;
use crate::task::Job;

/// The name that the journal has for what no worker could even start.
const NOBODY: &str = "";

impl Dispatcher {
    /// Takes a batch; what goes to the threads goes in order for each dataset.
    pub(super) fn take(&mut self, batch: Vec<Delivery>) -> Result<(), DispatchError> {
        let taken = SystemTime::now();
        let mut jobs = Vec::with_capacity(batch.len());
        for delivery in batch {
            self.take_one(delivery, taken, None, &mut jobs);
        }
        let groups = self.lanes.enter(jobs);
        self.start_or_gather(groups)
    }

    /// Takes one; what goes to the threads is put behind `jobs`.
    pub(super) fn take_one(
        &mut self,
        mut delivery: Delivery,
        taken: SystemTime,
        wake: Option<Box<Wake>>,
        jobs: &mut Vec<(Option<u64>, Job)>,
    ) {
        let key = DeliveryKey::of(&delivery);
        if self.adopt(key, &mut delivery) {
            return self.wake_is_in_hand(wake.as_deref());
        }
        let notification = match notification::parse(&delivery.body, self.settings.body_bytes_max) {
            Ok(notification) => notification,
            Err(malformed) => {
                self.wake_over(wake, true);
                return self.bury(key, delivery, &malformed.to_string(), taken);
            }
        };
        if self.is_stranger(&delivery) {
            self.wake_over(wake, true);
            return self.send_on_stranger(key, delivery, taken);
        }
        let Some((lane, job)) = self.job(key, delivery, notification, taken, wake) else { return };
        if self.journal.is_suspect(key) || self.waits_for_suspect(lane) {
            self.alone.push_back((lane, job));
        } else {
            self.running += 1;
            jobs.push((lane, job));
        }
    }

    /// Recognises a delivery that is still in hand; answers whether that was one. Of one that was delivered in an earlier
    /// session the new right to settle it is taken. A copy that was sent to wait twice, because the broker's confirmation
    /// was lost, is settled with the first.
    fn adopt(&mut self, key: DeliveryKey, delivery: &mut Delivery) -> bool {
        if !can_be_known(delivery) {
            return false;
        }
        let (hops, only) = standing(delivery);
        let is_copy = delivery.past.is_some();
        let session = delivery.receipt.session;
        let mut earlier = self.in_hand.iter_mut().filter(|(_, it)| it.key == key && it.hops == hops && it.only == only);
        let Some((ticket, in_hand)) = earlier.find(|(_, it)| it.receipt.session < session || is_copy) else {
            return false;
        };
        tracing::debug!(delivery = %delivery.id, "delivered again while it is still in hand");
        let receipt = std::mem::replace(&mut delivery.receipt, Receipt::VOID);
        if in_hand.receipt.session < session {
            in_hand.receipt = receipt;
        } else {
            let twin = InHand { waits: 1, is_over: true, ..InHand::new(receipt, key, hops, only) };
            let twin = self.in_hand.insert(twin);
            self.in_hand[ticket].heirs.push((twin, only));
        }
        true
    }

    /// Makes a job of a delivery; `None` if all of its runs have ended before.
    fn job(
        &mut self,
        key: DeliveryKey,
        delivery: Delivery,
        notification: Notification,
        taken: SystemTime,
        wake: Option<Box<Wake>>,
    ) -> Option<(Option<u64>, Job)> {
        let lane = notification.lane();
        let mut ended = self.known_ends(key, &delivery);
        let (hops, only) = standing(&delivery);
        let receipt = self.receipt(delivery.receipt);
        let woken = wake.as_ref().map(|wake| wake.key.clone());
        let ticket = self.in_hand.insert(InHand { wake, ..InHand::new(receipt, key, hops, only) });
        let mut job = Job {
            ticket,
            notification,
            delivery: delivery.id,
            key,
            past: delivery.past,
            ended: None,
            redelivered: delivery.redelivered,
            taken,
            woken,
            origin: delivery.origin,
        };
        if self.journal.is_suspect(key) {
            self.bury_crashed(&job, &mut ended);
        }
        let is_through = ended.as_ref().is_some_and(|ended| {
            let mut members = self.members.iter().zip(ended);
            members.all(|(member, ended)| *ended || member.declines(&job.notification, job.only()).is_some())
        });
        if is_through {
            tracing::debug!(delivery = %job.delivery, "delivered again after all of its runs had ended");
            self.over(ticket);
            return None;
        }
        job.ended = ended;
        Some((lane, job))
    }

    /// Which runs of a delivery the journal knows to have ended; looked up only where there can be any.
    fn known_ends(&self, key: DeliveryKey, delivery: &Delivery) -> Option<Box<[bool]>> {
        if !can_be_known(delivery) {
            return None;
        }
        let (hops, _) = standing(delivery);
        let ended: Box<[bool]> = self
            .members
            .iter()
            .map(|member| self.journal.has_ended(key, member.key, hops, delivery.receipt.session))
            .collect();
        (ended.contains(&true) || self.journal.is_suspect(key)).then_some(ended)
    }

    /// Sends to the dead letters what the process has died in too often.
    fn bury_crashed(&mut self, job: &Job, ended: &mut Option<Box<[bool]>>) {
        let members = std::sync::Arc::clone(&self.members);
        for (index, member) in members.iter().enumerate() {
            let crashes = self.journal.crashes(job.key.run_hashed(member.key));
            let is_ended = ended.as_ref().is_some_and(|ended| ended[index]);
            let is_declined = || member.declines(&job.notification, job.only()).is_some();
            if crashes < CRASHES_MAX || is_ended || is_declined() {
                continue;
            }
            let outcome = Outcome::Crashed(crashes);
            let number = job.attempts() + crashes;
            let attempt = Attempt { number, hops: job.hops(), held_for: std::time::Duration::ZERO };
            let disposition = member.retry.decide(&outcome, attempt);
            let dead = Ended { member, outcome, attempts: number, duration: std::time::Duration::ZERO, disposition };
            process::report(job, &dead, "dead", &self.services);
            let letter = process::letter(job, &dead);
            self.keep(job.ticket, member.key, letter);
            for letter in process::outcomes(job, &dead, &members) {
                self.tell_outcome(job.ticket, member.key, letter);
            }
            ended.get_or_insert_with(|| members.iter().map(|_| false).collect())[index] = true;
        }
    }

    /// Whether a delivery is for a worker that does not run here.
    fn is_stranger(&self, delivery: &Delivery) -> bool {
        let only = delivery.past.as_ref().map(|past| &*past.worker);
        only.is_some_and(|only| self.members.iter().all(|member| member.worker.name() != only))
    }

    /// Lets what is for a worker that does not run here wait for one that has it, but not for ever.
    fn send_on_stranger(&mut self, key: DeliveryKey, delivery: Delivery, taken: SystemTime) {
        let Some(past) = delivery.past.clone() else { return };
        let error = format!("it is for worker {:?}, which does not run here", past.worker);
        let held_since = past.held_since.unwrap_or(taken);
        let held_for = taken.duration_since(held_since).unwrap_or_default();
        let attempt = Attempt { number: u32::MAX, hops: past.hops, held_for };
        let outcome = Outcome::Held { error, after: None };
        let fate = match self.members[0].retry.decide(&outcome, attempt) {
            Disposition::Hold(wait @ (Wait::About(_) | Wait::AtLeast(_))) => Fate::Retry(spread(wait)),
            _ => Fate::Dead(DeadReason::WorkerNotLoaded),
        };
        self.send_on(key, delivery, fate, &outcome.message(), taken, held_since);
    }

    /// Keeps as a dead letter what is no notification.
    fn bury(&mut self, key: DeliveryKey, delivery: Delivery, error: &str, taken: SystemTime) {
        self.send_on(key, delivery, Fate::Dead(DeadReason::Malformed), error, taken, taken);
    }

    /// Sends a delivery on that no worker here has seen, unless that was done before.
    fn send_on(
        &mut self,
        key: DeliveryKey,
        delivery: Delivery,
        fate: Fate,
        error: &str,
        taken: SystemTime,
        held_since: SystemTime,
    ) {
        let (worker, attempts, first_seen) = match &delivery.past {
            Some(past) => (Some(past.worker.clone()), past.attempts, past.first_seen),
            None => (None, 0, taken),
        };
        let (hops, only) = standing(&delivery);
        let was_sent_on = can_be_known(&delivery) && self.journal.has_ended(key, only, hops, delivery.receipt.session);
        let receipt = self.receipt(delivery.receipt);
        let ticket = self.in_hand.insert(InHand::new(receipt, key, hops, only));
        if !was_sent_on {
            let held_since = matches!(fate, Fate::Retry(_)).then_some(held_since);
            let (delivery, body, origin) = (delivery.id, delivery.body, delivery.origin);
            let (error, hops) = (error.to_owned(), hops + 1);
            let letter = Letter { delivery, worker, fate, error, attempts, hops, first_seen, held_since, body, origin };
            log_sent_on(&letter);
            self.keep(ticket, only, letter);
        }
        self.over(ticket);
    }

    /// The right to settle a delivery; a seeded fault uses it at once.
    fn receipt(&mut self, receipt: Receipt) -> Receipt {
        if Fault::AckBeforeRun.is_on() {
            self.source.settle(vec![receipt]);
            return Receipt::VOID;
        }
        receipt
    }
}

/// How often a delivery had been sent on, and the journal's part for the one worker it is for, or for nobody.
fn standing(delivery: &Delivery) -> (u32, u64) {
    match &delivery.past {
        Some(past) => (past.hops, worker_hash(&past.worker)),
        None => (0, worker_hash(NOBODY)),
    }
}

/// A message that was never delivered before, and that we have not sent on, cannot be in the journal.
fn can_be_known(delivery: &Delivery) -> bool {
    (delivery.redelivered || delivery.past.is_some()) && !Fault::VoidAckIgnored.is_on()
}

/// The one line about a delivery that no worker here has seen.
fn log_sent_on(letter: &Letter) {
    let Letter { delivery, error, .. } = letter;
    match letter.fate {
        Fate::Dead(reason) => tracing::warn!(%delivery, outcome = "dead", "{}: {error}", reason.as_str()),
        Fate::Retry(delay) => tracing::info!(%delivery, outcome = "retry", "waits for {delay:?}: {error}"),
    }
}
