//! Publishes as the ledger wants it: written down before, and once more when the broker has confirmed it.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation};

use super::Ledger;
use crate::broker::amqp;

/// How many are published before their confirmations are waited for.
const WINDOW: usize = 50;

/// How long a broker may take to confirm a window.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Which messages have a name of their publisher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Every second one.
    Half,
    /// All.
    All,
}

impl Named {
    fn has_a_name(self, number: usize) -> bool {
        self == Self::All || number.is_multiple_of(2)
    }
}

/// Publishes to an exchange until all are confirmed or the time is over. What was not confirmed, because the broker
/// went away, say, stays so: what is published in its place has another id, from `message`.
///
/// The publishers of 2011 gave their messages no names; `named` says which of these have one.
pub fn publish(
    ledger: &mut Ledger,
    url: &str,
    exchange: &str,
    named: Named,
    count: usize,
    within: Duration,
    mut message: impl FnMut(usize) -> (String, Vec<u8>),
) {
    let (deadline, target, mut next) = (Instant::now() + within, ledger.confirmed() + count, 0);
    while ledger.confirmed() < target && Instant::now() < deadline {
        let wanted = WINDOW.min(target - ledger.confirmed());
        let messages: Vec<_> = (next..next + wanted).map(&mut message).collect();
        next += wanted;
        ledger.attempt(&messages);
        let confirmed = publish_window(url, exchange, named, &messages);
        if confirmed.is_empty() {
            // Nobody is there; the next try is not at once.
            std::thread::sleep(Duration::from_millis(50));
        }
        ledger.acknowledged(confirmed);
    }
}

/// Publishes some; answers those that were confirmed.
fn publish_window(url: &str, exchange: &str, named: Named, messages: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut confirmed = Vec::new();
    // An error, whenever it comes, leaves what is not confirmed yet unconfirmed; so does a broker that does not answer.
    let publishing = amqp::with_channel(url, async |channel| {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut waiting = Vec::new();
        for (index, (id, body)) in messages.iter().enumerate() {
            let mut properties = BasicProperties::default().with_delivery_mode(2);
            if named.has_a_name(index) {
                properties = properties.with_message_id(id.as_str().into());
            }
            let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
            let publishing = channel.basic_publish(exchange.into(), "Package".into(), mandatory, body, properties);
            waiting.push((id, publishing.await?));
        }
        for (id, confirm) in waiting {
            if let Confirmation::Ack(None) = confirm.await? {
                confirmed.push(id.clone());
            }
        }
        Ok(())
    });
    let _ = amqp::wait_at_most(ANSWER_MAX, publishing);
    confirmed
}
