//! Settling: what is done is acknowledged, many at once where the order allows, and the rest is given back.

use lapin::Error;
use lapin::options::{BasicAckOptions, BasicNackOptions};

use super::Session;
use crate::delivery::Receipt;

impl Session {
    pub(super) async fn release(&mut self, receipts: Vec<Receipt>) -> Result<(), Error> {
        for receipt in receipts.into_iter().filter(|receipt| receipt.session == self.number) {
            self.window.told(receipt.tag);
            self.give_back(receipt.tag).await?;
        }
        self.acknowledge().await
    }

    pub(super) async fn give_back(&self, tag: u64) -> Result<(), Error> {
        self.channel.basic_nack(tag, BasicNackOptions { requeue: true, multiple: false }).await
    }

    pub(super) async fn acknowledge(&mut self) -> Result<(), Error> {
        if let Some(tag) = self.window.take_prefix() {
            self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
        }
        // So many behind a slow one would leave too little room for others.
        if self.window.stragglers() >= usize::from(self.prefetch / 4).max(1) {
            self.acknowledge_stragglers().await?;
        }
        Ok(())
    }

    pub(super) async fn acknowledge_stragglers(&mut self) -> Result<(), Error> {
        for tag in self.window.take_stragglers() {
            self.channel.basic_ack(tag, BasicAckOptions { multiple: false }).await?;
        }
        Ok(())
    }
}
