//! The names under which the journal knows deliveries and runs: numbers of 64 bits.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::delivery::{Delivery, DeliveryId};

/// A delivery, the same whenever and in whatever session it comes: its id and its body.
///
/// The body is part of it because publishers are known that give one id to many messages. Where there is no id, as with
/// the publishers of 2011, the body alone has to do; see [`is_named`](Self::is_named).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryKey(pub(super) u64);

impl DeliveryKey {
    /// The key of a delivery.
    pub fn of(delivery: &Delivery) -> Self {
        match &delivery.id {
            DeliveryId::Named(id) => {
                let mut hash = Xxh3::new();
                hash.update(id.as_bytes());
                hash.update(&[0]);
                hash.update(&delivery.body);
                Self(hash.digest() | NAMED)
            }
            DeliveryId::Numbered(..) => Self(xxh3_64_with_seed(&delivery.body, 1) & !NAMED),
        }
    }

    /// Whether it names one message. Otherwise two messages of equal bodies have the same key, and only a moment after
    /// one has ended is it likely that the other is the same one again.
    pub fn is_named(self) -> bool {
        self.0 & NAMED != 0
    }

    /// The key of this delivery's run by a worker; the empty name stands for what no worker can run.
    pub fn run(self, worker: &str) -> RunKey {
        self.run_hashed(worker_hash(worker))
    }

    /// As [`run`](Self::run), for a name that was [hashed](worker_hash) before.
    pub fn run_hashed(self, worker: u64) -> RunKey {
        // Two numbers that are hashes already; the multiplication makes their order matter. Zero means "none" on file.
        let mixed = (self.0 ^ worker.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        RunKey((mixed ^ (mixed >> 29)).max(1))
    }
}

/// The bit of a key that says whether its delivery has an id.
const NAMED: u64 = 1;

/// The part of a run's key that comes from its worker.
pub fn worker_hash(worker: &str) -> u64 {
    xxh3_64_with_seed(worker.as_bytes(), 2)
}

/// One worker's run on one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunKey(pub(super) u64);

impl RunKey {
    /// It as a number.
    pub fn number(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::delivery::Receipt;

    fn delivery(id: DeliveryId, body: &'static str) -> Delivery {
        let receipt = Receipt { session: 1, tag: 1 };
        Delivery { id, body: Bytes::from(body), past: None, redelivered: false, receipt, origin: None }
    }

    #[test]
    fn a_delivery_has_the_same_key_in_every_session_and_another_body_another_key() {
        let named = |body| DeliveryKey::of(&delivery(DeliveryId::Named("7".into()), body));
        let numbered = |session, body| DeliveryKey::of(&delivery(DeliveryId::Numbered(session, 3), body));
        assert_eq!(named("a"), named("a"));
        assert_ne!(named("a"), named("b"), "an id that is given twice");
        assert_eq!(numbered(1, "a"), numbered(2, "a"));
        assert_ne!(named("a"), numbered(1, "a"));
    }

    #[test]
    fn each_worker_has_a_run_of_its_own() {
        let key = DeliveryKey::of(&delivery(DeliveryId::Named("7".into()), "a"));
        let runs = ["archive", "echo", ""].map(|worker| key.run(worker));
        assert!(runs[0] != runs[1] && runs[1] != runs[2] && runs[0] != runs[2]);
        assert_eq!(key.run("echo"), key.run_hashed(worker_hash("echo")));
    }
}
