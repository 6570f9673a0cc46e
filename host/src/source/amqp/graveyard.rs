//! The dead letters of a queue at a RabbitMQ: a queue of their own.
//!
//! Letters are got one by one and stay unacknowledged until they are replayed or removed; the rest is given back at the
//! end, or by the broker if we die. A replay is confirmed before its letter is acknowledged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::message::Delivery as Message;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Error};

use super::connection::{CLOSE_MAX, connect, failure};
use super::grave_headers;
use super::plan::Place;
use super::properties::Properties;
use super::status::ready;
use super::topology::depth;
use crate::seed;
use crate::source::graveyard::{DeadLetter, Graveyard};
use crate::source::{AmqpAddress, Settings, SourceError};

/// How long the broker may take to confirm.
const CONFIRM_MAX: Duration = Duration::from_secs(30);

/// How long what somebody has just given back may take to be there again.
const GIVEN_BACK_MAX: Duration = Duration::from_secs(2);

/// How many letters are acknowledged one by one before the queue is heard.
const ACKNOWLEDGED_AHEAD: usize = 16;

/// How often it is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often a letter may have been handed out before it is put back anew. From 4.0 on the broker throws away what it
/// has handed out more than 20 times, if the queue does not say otherwise: somebody who looks at dead letters every day
/// would lose them.
const HANDED_OUT_MAX: i64 = 10;

/// The dead letters of a queue at a RabbitMQ.
pub struct AmqpGraveyard {
    address: String,
    queue: String,
    /// Where letters are got and acknowledged.
    connection: Connection,
    channel: Channel,
    /// Where replays are published: a broker that is short of memory stops reading from a connection that publishes.
    way_back: WayBack,
    count: u64,
    /// How many are still to be got.
    left: u64,
    /// How many were got and are not acknowledged.
    in_hand: u64,
    /// How many were acknowledged. The broker does not answer to that, but only to the end of the channel.
    acknowledged: u64,
    /// What was got ahead of its turn.
    ahead: VecDeque<Message>,
}

/// A connection to publish on, made when it is needed.
struct WayBack {
    addresses: Vec<AmqpAddress>,
    line: Option<(Connection, Channel)>,
}

impl AmqpGraveyard {
    /// Looks for the queue of the dead letters; `None` if there is none.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn open(addresses: &[AmqpAddress], settings: &Settings) -> Result<Option<Self>, SourceError> {
        let address = settings.address.to_string();
        let connection = connect(addresses, "dead letters").await?;
        let count = ready(&connection, settings, &Place::Dead.queue(&settings.name)).await?;
        let Some(count) = count else {
            let _ = connection.close(200, "done".into()).await;
            return Ok(None);
        };
        let channel = connection.create_channel().await.map_err(|error| failure(&address, &error))?;
        let way_back = WayBack { addresses: addresses.to_vec(), line: None };
        let queue = settings.name.clone();
        Ok(Some(Self {
            address,
            queue,
            connection,
            channel,
            way_back,
            count,
            left: count,
            in_hand: 0,
            acknowledged: 0,
            ahead: VecDeque::new(),
        }))
    }

    /// What an error means. The broker ends a channel on which something is unacknowledged for longer than its
    /// `consumer_timeout`, and what is asked next is not told why.
    fn failure(&self, error: &Error) -> SourceError {
        let failed = failure(&self.address, error);
        match failed {
            SourceError::Unavailable { address, problem }
                if self.connection.status().connected() && !self.channel.status().connected() =>
            {
                let problem = format!(
                    "{problem}; the broker has ended the channel: maybe this took longer than its consumer_timeout (30 \
                     minutes if nothing else is set), for what is passed over is held until the end. What was not done \
                     is back; go on with a higher --rate or a lower --limit"
                );
                SourceError::Unavailable { address, problem }
            }
            failed => failed,
        }
    }

    /// Acknowledges letters so that it lasts when the channel is closed next.
    ///
    /// A channel does not tell a quorum queue of any number of acknowledgements ahead of its answers; the others wait in
    /// the channel, and are lost when that is closed first: of 100 in a row 9 letters came back. So all go in one where
    /// nothing else is in hand, and otherwise a few at a time, with a question between that is answered behind them.
    async fn acknowledge(&mut self, tags: &[u64]) -> Result<(), SourceError> {
        let last = tags.iter().max().copied().unwrap_or_default();
        if tags.len() as u64 == self.in_hand {
            return self.acknowledge_one(last, true, self.in_hand).await;
        }
        for some in tags.chunks(ACKNOWLEDGED_AHEAD) {
            for tag in some {
                self.acknowledge_one(*tag, false, 1).await?;
            }
            if let Some(message) = self.get().await?
                && self.left > 0
            {
                self.left -= 1;
                self.ahead.push_back(message);
            }
        }
        Ok(())
    }

    async fn acknowledge_one(&mut self, tag: u64, multiple: bool, count: u64) -> Result<(), SourceError> {
        if count == 0 {
            return Ok(());
        }
        self.channel.basic_ack(tag, BasicAckOptions { multiple }).await.map_err(|error| self.failure(&error))?;
        self.in_hand -= count;
        self.acknowledged += count;
        Ok(())
    }

    /// Gets a message, if one is there.
    async fn get(&mut self) -> Result<Option<Message>, SourceError> {
        let dead = Place::Dead.queue(&self.queue);
        let got = self.channel.basic_get(dead.as_str().into(), BasicGetOptions::default()).await;
        let got = got.map_err(|error| self.failure(&error))?;
        self.in_hand += u64::from(got.is_some());
        Ok(got.map(|got| got.delivery))
    }

    /// Gets the next message of those that were there at the start.
    async fn get_next(&mut self) -> Result<Option<Message>, SourceError> {
        if let Some(message) = self.ahead.pop_front() {
            return Ok(Some(message));
        }
        let since = Instant::now();
        while self.left > 0 {
            if let Some(message) = self.get().await? {
                self.left -= 1;
                return Ok(Some(message));
            }
            if since.elapsed() > GIVEN_BACK_MAX {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(None)
    }

    /// Gives back what is in hand, and waits a moment until it is there again: whoever counts next, maybe we, is to
    /// count it.
    async fn give_back(&self) -> Result<(), Error> {
        // Tag 0 is all that is not acknowledged.
        let all = BasicNackOptions { multiple: true, requeue: true };
        self.channel.basic_nack(0, all).await?;
        let since = Instant::now();
        while depth(&self.channel, &Place::Dead.queue(&self.queue)).await? < self.in_hand {
            if since.elapsed() > GIVEN_BACK_MAX {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Puts a letter back behind the others, so that it is no longer counted how often it was handed out.
    async fn put_back_anew(&mut self, tag: u64, dead: &Properties, body: &[u8]) -> Result<(), SourceError> {
        let channel = self.way_back.channel(&self.address).await?;
        put(&channel, &self.address, &Place::Dead.queue(&self.queue), body, grave_headers::renewed(dead)).await?;
        self.acknowledge(&[tag]).await?;
        self.left += 1;
        Ok(())
    }
}

#[async_trait]
impl Graveyard for AmqpGraveyard {
    fn count(&self) -> u64 {
        self.count
    }

    async fn next(&mut self) -> Result<Option<DeadLetter>, SourceError> {
        while let Some(message) = self.get_next().await? {
            let (tag, body) = (message.delivery_tag, message.data);
            let properties = Properties::of(message.exchange, message.routing_key, message.properties);
            if grave_headers::deliveries(&properties) >= HANDED_OUT_MAX {
                self.put_back_anew(tag, &properties, &body).await?;
                continue;
            }
            let mut letter = grave_headers::read(&properties, body.into(), tag);
            letter.grave.origin = Some(properties.into_origin());
            return Ok(Some(letter));
        }
        Ok(None)
    }

    async fn replay(&mut self, letters: Vec<DeadLetter>, done: &mut u64) -> Result<(), SourceError> {
        let channel = self.way_back.channel(&self.address).await?;
        let publish = letters.iter().map(|letter| {
            let properties = letter.grave.origin.as_ref().and_then(|origin| origin.downcast_ref::<Properties>());
            let properties = properties.map(|dead| grave_headers::replayed(dead, letter.renamed())).unwrap_or_default();
            put(&channel, &self.address, &self.queue, &letter.body, properties)
        });
        let (mut confirmed, mut failed) = (Vec::new(), None);
        for (letter, outcome) in letters.iter().zip(join_all(publish).await) {
            match outcome {
                Ok(()) => confirmed.push(letter.grave.tag),
                Err(error) => failed = Some(error),
            }
        }
        seed::point("replay-confirmed");
        self.acknowledge(&confirmed).await?;
        *done += confirmed.len() as u64;
        failed.map_or(Ok(()), Err)
    }

    async fn remove(&mut self, letters: Vec<DeadLetter>, done: &mut u64) -> Result<(), SourceError> {
        let tags: Vec<u64> = letters.iter().map(|letter| letter.grave.tag).collect();
        self.acknowledge(&tags).await?;
        *done += tags.len() as u64;
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), SourceError> {
        let (address, acknowledged) = (self.address.clone(), self.acknowledged);
        let close = async {
            self.give_back().await?;
            self.channel.close(200, "done".into()).await?;
            self.connection.close(200, "done".into()).await?;
            if let Some((connection, _)) = self.way_back.line {
                connection.close(200, "done".into()).await?;
            }
            Ok::<_, Error>(())
        };
        let problem = match tokio::time::timeout(CLOSE_MAX + GIVEN_BACK_MAX, close).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("the session did not end well: {error}"),
            Err(_) => "no answer to the end of the session".to_owned(),
        };
        let problem = match acknowledged {
            0 => problem,
            count => format!(
                "{problem}; of the {count} that were put back or removed some may still be among the dead letters, \
                 `worker dead list` shows them"
            ),
        };
        Err(SourceError::Unavailable { address, problem })
    }
}

impl WayBack {
    async fn channel(&mut self, address: &str) -> Result<Channel, SourceError> {
        if let Some((_, channel)) = &self.line
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let trouble = |error| failure(address, &error);
        let connection = connect(&self.addresses, "replay").await?;
        let channel = connection.create_channel().await.map_err(trouble)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(trouble)?;
        self.line = Some((connection, channel.clone()));
        Ok(channel)
    }
}

/// Publishes to a queue itself, and waits until the broker has confirmed that the message is on it.
async fn put(
    channel: &Channel,
    address: &str,
    queue: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), SourceError> {
    let confirmed = async {
        // Mandatory: what no queue takes must come back instead of being thrown away.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await
    };
    let unavailable = |problem| Err(SourceError::Unavailable { address: address.to_owned(), problem });
    match tokio::time::timeout(CONFIRM_MAX, confirmed).await {
        Ok(Ok(Confirmation::Ack(None))) => Ok(()),
        Ok(Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)))) => {
            unavailable(format!("queue {queue:?} does not take it ({})", returned.reply_text))
        }
        Ok(Ok(_)) => unavailable(format!("queue {queue:?} has no room for it")),
        Ok(Err(error)) => Err(failure(address, &error)),
        Err(_) => unavailable(format!("not confirmed within {CONFIRM_MAX:?}")),
    }
}
