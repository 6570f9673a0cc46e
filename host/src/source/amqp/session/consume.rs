//! Consuming: begun, ended for a while, begun anew.

use lapin::Error;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::{Session, answered};
use crate::source::amqp::hatch::Hatch;
use crate::source::amqp::inbox::Inbox;
use crate::source::amqp::supervisor::Course;

impl Session {
    /// Begins to consume, if that is wanted and does not happen. What an earlier consumer delivered does not count for
    /// the next one, so there must be room beside it.
    pub(super) async fn consume_if_wanted(&mut self, course: &Course) -> Result<(), Error> {
        let (held, wanted) = (self.window.held(), course.gauge.count());
        if self.is_stopped || course.is_paused || self.inbox.is_some() || held > usize::from(wanted) {
            return Ok(());
        }
        let room = usize::from(self.prefetch_max).saturating_sub(held);
        let prefetch = wanted.min(u16::try_from(room).unwrap_or(u16::MAX));
        if prefetch == 0 {
            return Ok(());
        }
        self.consumers += 1;
        self.prefetch = prefetch;
        let (tag, options, table) = (self.consumer_tag(), BasicConsumeOptions::default(), FieldTable::default());
        let consumer = answered(async {
            // Before consuming: lapin would take whatever the broker sends.
            self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            self.channel.basic_consume(self.queue.as_str().into(), tag.as_str().into(), options, table).await
        });
        self.inbox = Some(Inbox::new(consumer.await?));
        Ok(())
    }

    /// Ends consuming, for now, and hands over what has arrived.
    pub(super) async fn consume_no_more(&mut self, hatch: &Hatch, course: &mut Course) -> Result<(), Error> {
        if self.inbox.is_none() {
            return Ok(());
        }
        let cancelled = self.channel.basic_cancel(self.consumer_tag().as_str().into(), BasicCancelOptions::default());
        answered(cancelled).await?;
        self.hand_over_arrived(hatch, course).await?;
        self.inbox = None;
        Ok(())
    }

    /// Our name for the consumer.
    fn consumer_tag(&self) -> String {
        format!("ckan-worker-{}", self.consumers)
    }
}
