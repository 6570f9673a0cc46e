//! Where the session hands deliveries over to the source: open, shut for a while, or closed for good.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::delivery::{Delivery, Receipt};
use crate::source::SourceError;

/// What lies between the session and the source.
pub struct Hatch {
    inside: Mutex<Inside>,
    /// Told when there is something to take.
    filled: Notify,
    /// Told when it is closed.
    closed: Notify,
}

struct Inside {
    /// What was handed over and not yet taken.
    batches: VecDeque<Vec<Delivery>>,
    /// Why there will be no deliveries.
    failure: Option<SourceError>,
    stands: Stands,
    /// Nobody hands anything over any more.
    is_left: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    Shut,
    Closed,
}

impl Hatch {
    /// An open one.
    pub fn new() -> Self {
        let inside = Inside { batches: VecDeque::new(), failure: None, stands: Stands::Open, is_left: false };
        Self { inside: Mutex::new(inside), filled: Notify::new(), closed: Notify::new() }
    }

    /// Hands deliveries over; once it is shut or closed they are answered instead, and go back to the broker.
    pub fn hand_over(&self, batch: Vec<Delivery>) -> Result<(), Vec<Delivery>> {
        let mut inside = self.lock();
        if inside.stands != Stands::Open {
            return Err(batch);
        }
        inside.batches.push_back(batch);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits until something was handed over, and takes it; `None` once nobody will.
    ///
    /// # Errors
    /// There will be no deliveries, and why.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped. For one that waits, no more.
    pub async fn take(&self) -> Option<Result<Vec<Delivery>, SourceError>> {
        loop {
            if let Some(taken) = self.take_now() {
                return taken;
            }
            // What was handed over since then is remembered.
            self.filled.notified().await;
        }
    }

    fn take_now(&self) -> Option<Option<Result<Vec<Delivery>, SourceError>>> {
        let mut inside = self.lock();
        let taken = inside.batches.pop_front().map(Ok).or_else(|| inside.failure.take().map(Err));
        if taken.is_none() && !inside.is_left {
            return None;
        }
        Some(taken)
    }

    /// Says why there will be no deliveries.
    pub fn fail(&self, error: SourceError) {
        self.lock().failure = Some(error);
        self.filled.notify_one();
    }

    /// Drops what was not taken: its session is lost, and the broker gives it to others.
    pub fn forget(&self) {
        self.lock().batches.clear();
    }

    /// From here on nothing is handed over, until it is opened. Answers the rights to what was not taken.
    pub fn shut(&self) -> Vec<Receipt> {
        self.stop_at(Stands::Shut)
    }

    /// From here on nothing is handed over. Answers the rights to what was not taken.
    pub fn close(&self) -> Vec<Receipt> {
        let not_taken = self.stop_at(Stands::Closed);
        self.closed.notify_one();
        not_taken
    }

    fn stop_at(&self, stands: Stands) -> Vec<Receipt> {
        let mut inside = self.lock();
        // In one go, so that nothing comes behind it.
        if inside.stands != Stands::Closed {
            inside.stands = stands;
        }
        inside.batches.drain(..).flatten().map(|delivery| delivery.receipt).collect()
    }

    /// Lets deliveries through again.
    pub fn open(&self) {
        let mut inside = self.lock();
        if inside.stands == Stands::Shut {
            inside.stands = Stands::Open;
        }
    }

    /// Whether nobody takes anything any more.
    pub fn is_closed(&self) -> bool {
        self.lock().stands == Stands::Closed
    }

    /// Waits until nobody takes anything any more.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped. For one that waits, no more.
    pub async fn closed(&self) {
        while !self.is_closed() {
            self.closed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever hands over; when it is dropped, nobody does any more.
pub struct HandingOver(pub Arc<Hatch>);

impl Drop for HandingOver {
    fn drop(&mut self) {
        self.0.lock().is_left = true;
        self.0.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::delivery::DeliveryId;

    fn batch(tags: &[u64]) -> Vec<Delivery> {
        let delivery = |tag: &u64| Delivery {
            id: DeliveryId::Numbered(1, *tag),
            body: bytes::Bytes::new(),
            past: None,
            redelivered: false,
            receipt: Receipt { session: 1, tag: *tag },
            origin: None,
        };
        tags.iter().map(delivery).collect()
    }

    /// The tags that can be taken at once, batch by batch.
    fn taken(hatch: &Hatch) -> Vec<Vec<u64>> {
        let take = || hatch.take().now_or_never().flatten();
        let tags = |batch: Vec<Delivery>| batch.iter().map(|delivery| delivery.receipt.tag).collect();
        std::iter::from_fn(take).map(|batch| tags(batch.unwrap())).collect()
    }

    #[test]
    fn what_a_lost_session_handed_over_is_not_taken_and_what_the_next_does_is() {
        let hatch = Hatch::new();
        hatch.hand_over(batch(&[1, 2])).unwrap();
        hatch.hand_over(batch(&[3])).unwrap();
        hatch.forget();
        assert_eq!(taken(&hatch), [[0; 0]; 0]);
        hatch.hand_over(batch(&[1])).unwrap();
        hatch.hand_over(batch(&[2, 3])).unwrap();
        assert_eq!(taken(&hatch), [vec![1], vec![2, 3]]);
    }

    #[test]
    fn while_it_is_shut_nothing_gets_through_and_what_was_not_taken_is_answered() {
        let hatch = Hatch::new();
        hatch.hand_over(batch(&[1, 2])).unwrap();
        hatch.hand_over(batch(&[3])).unwrap();
        let tags: Vec<_> = hatch.shut().iter().map(|receipt| receipt.tag).collect();
        assert_eq!(tags, [1, 2, 3]);
        assert_eq!(hatch.hand_over(batch(&[4])).unwrap_err().len(), 1);
        hatch.open();
        hatch.hand_over(batch(&[5])).unwrap();
        assert_eq!((hatch.close().len(), hatch.is_closed(), hatch.hand_over(batch(&[6])).is_err()), (1, true, true));
    }

    #[tokio::test]
    async fn whoever_waits_gets_what_comes_and_learns_that_nobody_hands_over_any_more() {
        let hatch = Arc::new(Hatch::new());
        let (there, here) = (HandingOver(Arc::clone(&hatch)), Arc::clone(&hatch));
        let waits = async move { [here.take().await, here.take().await, here.take().await] };
        let comes = async move {
            tokio::task::yield_now().await;
            there.0.hand_over(batch(&[1])).unwrap();
            tokio::task::yield_now().await;
            there.0.fail(SourceError::Unusable("no".to_owned()));
            tokio::task::yield_now().await;
            drop(there);
        };
        let ([first, second, third], ()) = tokio::join!(waits, comes);
        assert!(matches!((first, second), (Some(Ok(_)), Some(Err(_)))));
        assert!(third.is_none());
    }
}
