//! Publishes with confirms, on a connection of its own: letters, and what `worker send` puts on the queue.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Error};
use tokio::sync::Mutex;

use super::connection::{CLOSE_MAX, SharedConnection, connect, failure, set_up};
use super::flow::{Flow, Listening};
use super::letter::{addressed, letter_properties};
use super::plan::Place;
use super::properties::Properties;
use super::topology::{ensure, ensure_place, short};
use crate::delivery::{Fate, Letter};
use crate::seed::{self, Fault};
use crate::source::{AmqpAddress, Letters, Message, Publisher, Settings, SourceError};

/// How long the broker may take to confirm, while it says nothing else.
const CONFIRM_MAX: Duration = Duration::from_secs(30);

/// Publishes with confirms; connects when there is something to publish.
pub struct AmqpPublisher {
    addresses: Vec<AmqpAddress>,
    settings: Settings,
    /// Whether the queue itself is made if it is missing.
    makes_queue: bool,
    /// Whether what is published goes into the lane beside the queue.
    is_for_lane: bool,
    /// Whether the broker takes messages.
    flow: Flow,
    /// Held while the connection is made or looked up, never while a confirm is waited for.
    line: Mutex<Option<Line>>,
    /// Counts the connections that were made.
    connected: AtomicU64,
    /// The consuming session's connection, for a seeded fault; otherwise nothing is ever in it.
    shared: SharedConnection,
}

struct Line {
    connection: Arc<Connection>,
    channel: Channel,
    number: u64,
    /// The places that were seen on this connection.
    places: HashSet<String>,
    _listening: Listening,
}

/// Why a message is not known to be on a queue.
enum Failed {
    /// The broker has given it back: no queue takes it.
    Returned(String),
    /// Something else, which has been dealt with.
    Otherwise(SourceError),
}

impl AmqpPublisher {
    /// One for letters, not yet connected.
    pub fn for_letters(addresses: &[AmqpAddress], settings: &Settings, shared: SharedConnection) -> Self {
        let (addresses, settings, flow) = (addresses.to_vec(), settings.clone(), Flow::default());
        let (line, connected) = (Mutex::new(None), AtomicU64::new(0));
        Self { addresses, settings, makes_queue: false, is_for_lane: false, flow, line, connected, shared }
    }

    /// One for messages, not yet connected; it makes the queue if it is missing, so that they have a place to go.
    pub fn for_sending(addresses: &[AmqpAddress], settings: &Settings) -> Self {
        Self { makes_queue: true, ..Self::for_letters(addresses, settings, SharedConnection::default()) }
    }

    /// One for messages into the lane beside the queue, not yet connected; it makes both if they are missing.
    pub fn for_lane(addresses: &[AmqpAddress], settings: &Settings) -> Self {
        Self { is_for_lane: true, ..Self::for_sending(addresses, settings) }
    }

    /// Ends the connection, if there is one; the next message makes another.
    pub async fn hang_up(&self) {
        if let Some(line) = self.line.lock().await.take() {
            close(&line.connection).await;
        }
    }

    /// A channel to publish on, with the connection's number, and with `place` there.
    async fn channel(&self, place: Option<Place>) -> Result<(Channel, u64), SourceError> {
        let mut slot = self.line.lock().await;
        let line = match slot.take() {
            Some(line) if line.channel.status().connected() => slot.insert(line),
            _ => slot.insert(self.connect().await?),
        };
        if let Some(place) = place {
            let queue = place.queue(&self.settings.name);
            if !line.places.contains(&queue) {
                set_up(&self.address(), ensure_place(&line.connection, &self.settings, place)).await?;
                line.places.insert(queue);
            }
        }
        Ok((line.channel.clone(), line.number))
    }

    async fn connect(&self) -> Result<Line, SourceError> {
        let connection = match self.shared.get() {
            Some(connection) => connection,
            None => Arc::new(connect(&self.addresses, "publish").await?),
        };
        let (listening, address) = (self.flow.listen(&connection), self.address());
        let channel = set_up(&address, async {
            if self.makes_queue {
                ensure(&connection, &self.settings).await?;
            }
            let channel = connection.create_channel().await.map_err(|error| self.failure(&error))?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| self.failure(&error))?;
            Ok(channel)
        });
        let channel = channel.await?;
        let number = self.connected.fetch_add(1, Ordering::Relaxed);
        Ok(Line { connection, channel, number, places: HashSet::new(), _listening: listening })
    }

    /// Puts a letter on a queue of ours, which is made if it is missing, also if it was there a moment ago.
    async fn put(&self, place: Place, body: &[u8], properties: BasicProperties) -> Result<(), SourceError> {
        let queue = place.queue(&self.settings.name);
        let mut returned = String::new();
        for _ in 0..2 {
            let (channel, number) = self.channel(Some(place)).await?;
            match self.publish_on(&channel, number, ("", &queue), body, properties.clone()).await {
                Ok(()) => {
                    seed::point("letter-confirmed");
                    return Ok(());
                }
                Err(Failed::Otherwise(error)) => return Err(error),
                Err(Failed::Returned(reply)) => returned = reply,
            }
            if let Some(line) = &mut *self.line.lock().await {
                line.places.remove(&queue);
            }
        }
        Err(self.unavailable(format!("queue {queue:?} does not take it ({returned})")))
    }

    /// Publishes and waits until the broker has confirmed that the message is on a queue.
    async fn publish_on(
        &self,
        channel: &Channel,
        number: u64,
        (exchange, key): (&str, &str),
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<(), Failed> {
        let (exchange, key) = (short(exchange).map_err(Failed::Otherwise)?, short(key).map_err(Failed::Otherwise)?);
        let confirmed = async {
            // Mandatory: what no queue takes must come back instead of being thrown away.
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let sent = channel.basic_publish(exchange, key, options, body, properties).await?;
            if Fault::ConfirmNotAwaited.is_on() {
                return Ok(Confirmation::Ack(None));
            }
            sent.await
        };
        let (problem, is_broken) = match self.flow.patiently(CONFIRM_MAX, confirmed).await {
            Some(Ok(Confirmation::Ack(None))) => return Ok(()),
            Some(Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)))) => {
                return Err(Failed::Returned(returned.reply_text.to_string()));
            }
            Some(Ok(Confirmation::Nack(None))) => {
                (self.unavailable("the broker did not take it; the queue may be full".to_owned()), false)
            }
            Some(Ok(Confirmation::NotRequested)) => (self.unavailable("the broker does not confirm".to_owned()), true),
            Some(Err(error)) => (self.failure(&error), true),
            None => (self.unavailable(format!("not confirmed within {CONFIRM_MAX:?}")), true),
        };
        if is_broken {
            // The next try begins with a fresh connection.
            self.give_up(number).await;
        }
        Err(Failed::Otherwise(problem))
    }

    /// Ends a connection that failed, unless another has already taken its place.
    async fn give_up(&self, number: u64) {
        let line = self.line.lock().await;
        if let Some(line) = line.as_ref().filter(|line| line.number == number) {
            close(&line.connection).await;
        }
    }

    fn address(&self) -> String {
        self.settings.address.to_string()
    }

    fn unavailable(&self, problem: String) -> SourceError {
        SourceError::Unavailable { address: self.address(), problem }
    }

    fn failure(&self, error: &Error) -> SourceError {
        failure(&self.address(), error)
    }
}

/// Everything was confirmed or is tried again; a broker that does not answer is not waited for.
async fn close(connection: &Connection) {
    let _ = tokio::time::timeout(CLOSE_MAX, connection.close(200, "done".into())).await;
}

#[async_trait]
impl Letters for AmqpPublisher {
    async fn keep(&self, letter: &Letter) -> Result<(), SourceError> {
        let place = Place::of(letter.fate, &self.settings.ladder);
        let original = letter.origin.as_ref().and_then(|origin| origin.downcast_ref::<Properties>());
        let mut properties = letter_properties(letter, original, &self.settings.name);
        if let (Fate::Retry(delay), Place::Rung(rung)) = (letter.fate, place) {
            // The rung's own limit is the longest wait; within it each letter has its own.
            properties = properties.with_expiration(delay.min(rung).as_millis().to_string().into());
        }
        self.flow.opened().await;
        self.put(place, &letter.body, properties).await
    }

    fn blocked(&self) -> Option<String> {
        self.flow.blocked()
    }
}

#[async_trait]
impl Publisher for AmqpPublisher {
    async fn publish(&self, message: Message) -> Result<(), SourceError> {
        let mut properties =
            BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        if let Some(id) = &message.id {
            properties = properties.with_message_id(short(id)?);
        }
        if let Some(worker) = &message.only {
            properties = properties.with_headers(addressed(worker, &message.routing_key));
        }
        self.flow.opened().await;
        if self.is_for_lane {
            return self.put(Place::Lane, &message.body, properties).await;
        }
        let (channel, number) = self.channel(None).await?;
        let route = (self.settings.exchange.as_str(), message.routing_key.as_str());
        match self.publish_on(&channel, number, route, &message.body, properties).await {
            Ok(()) => Ok(()),
            Err(Failed::Otherwise(error)) => Err(error),
            Err(Failed::Returned(reply)) => {
                // The next try looks at the queue again.
                self.give_up(number).await;
                Err(self.unavailable(format!("no queue takes it ({reply})")))
            }
        }
    }

    async fn close(&self) {
        self.hang_up().await;
    }
}
