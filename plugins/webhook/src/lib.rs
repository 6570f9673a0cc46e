#![doc = include_str!("../README.md")]
#![allow(unsafe_code, reason = "the symbols that `export_worker!` exports")]

mod delivered;
mod event;
mod filter;
mod format;
mod payload;
mod post;
mod record;
mod round;
mod settings;
mod signature;
mod subject;
mod target;
#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "tests say what they expect where they expect it"
)]
mod tests;

use ckan_worker_plugin::Class;
use ckan_worker_plugin::prelude::*;

use crate::delivered::Delivered;
use crate::event::Event;
use crate::payload::Payload;
use crate::post::{Answer, Receiver};
use crate::record::Record;
use crate::round::Round;
use crate::settings::Settings;
use crate::subject::Subject;

/// Posts what a portal announces to other services.
struct Webhook {
    source: String,
    receivers: Vec<Receiver>,
    delivered: Delivered,
    record: Record,
}

impl Worker for Webhook {
    type Config = Settings;

    fn create(settings: Settings, _: &Host<'_>) -> Result<Self> {
        let source = settings.source.clone();
        let receivers = settings.receivers()?;
        Ok(Self { source, receivers, delivered: Delivered::default(), record: Record::default() })
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        let asked = |receiver: &&Receiver| receiver.target.filter.takes(*notification);
        let receivers: Vec<&Receiver> = self.receivers.iter().filter(asked).collect();
        if receivers.is_empty() {
            return Ok(Outcome::skipped("no target asks for it"));
        }
        let payload = Payload::of(*notification)?;
        let subject = Subject::of(*notification, &payload, *host);
        let event = Event::of(*notification, &payload, &self.source);
        let mut round = Round::default();
        for receiver in receivers {
            host.check_cancelled()?;
            match receiver.target.filter.takes_subject(&subject) {
                Ok(true) => self.serve(receiver, &event, *notification, &mut round, host)?,
                Ok(false) => {}
                Err(error) if error.class() == Class::Cancelled => return Err(error),
                Err(error) => round.failed(error),
            }
        }
        let outcome = round.end()?;
        // Nobody asks for this event again. The record is the lesser thing: the log has it all.
        self.delivered.forget(round.ids());
        if let Err(error) = self.record.store(host) {
            host.warn(&format!("the last posts cannot be remembered: {error}"));
        }
        Ok(outcome)
    }
}

impl Webhook {
    /// Posts an event to one target, unless it arrived there before.
    fn serve(
        &self,
        receiver: &Receiver,
        event: &Event<'_>,
        notification: Notification<'_>,
        round: &mut Round,
        host: &Host<'_>,
    ) -> Result<()> {
        let name = &receiver.target.name;
        let id = event.id_for(name);
        if notification.is_dry_run() {
            host.info(&format!("dry run: {name} would get {}", event.kind));
            round.arrived(id);
            return Ok(());
        }
        if !self.delivered.has(&id) {
            let posted = receiver.post(event, &id, host)?;
            self.record.take_down(name, event, &id, notification.attempt(), &posted, host);
            if let Answer::Failed(error) = posted.answer {
                round.failed(error);
                return Ok(());
            }
            self.delivered.add(&id);
        }
        round.arrived(id);
        Ok(())
    }
}

export_worker!(Webhook, outcomes: true);
