//! What was handed out and not yet settled.

use std::collections::HashSet;

use crate::delivery::{Delivery, Receipt};

/// The rights that are out. Of a session that was lost they are void, and count no longer once the next one delivers.
#[derive(Debug, Default)]
pub struct Held {
    session: u64,
    tags: HashSet<u64>,
}

impl Held {
    /// Notes what is handed out.
    pub fn take(&mut self, batch: &[Delivery]) {
        for Receipt { session, tag } in batch.iter().map(|delivery| &delivery.receipt) {
            if *session != self.session {
                self.session = *session;
                self.tags.clear();
            }
            self.tags.insert(*tag);
        }
    }

    /// Notes what is settled or given back.
    pub fn give(&mut self, receipts: &[Receipt]) {
        for receipt in receipts.iter().filter(|receipt| receipt.session == self.session) {
            self.tags.remove(&receipt.tag);
        }
    }

    /// How many are out.
    pub fn len(&self) -> usize {
        self.tags.len()
    }
}
