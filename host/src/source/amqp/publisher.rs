//! Publishes with confirms, on a connection of its own: dead letters, and what `worker send` puts on the queue.

use std::time::Duration;

use async_trait::async_trait;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Error};
use tokio::sync::Mutex;

use super::connection::{CLOSE_MAX, connect, failure, set_up};
use super::letter::letter_properties;
use super::properties::Properties;
use super::topology::{dead_queue, ensure, ensure_dead_queue};
use crate::delivery::Letter;
use crate::source::{AmqpAddress, Letters, Message, Publisher, Settings, SourceError};

/// How long the broker may take to confirm.
const CONFIRM_MAX: Duration = Duration::from_secs(30);

/// Publishes with confirms; connects when there is something to publish.
pub struct AmqpPublisher {
    addresses: Vec<AmqpAddress>,
    settings: Settings,
    /// Whether the queue itself is made if it is missing.
    makes_queue: bool,
    /// Held while the connection is made or looked up, never while a confirm is waited for.
    line: Mutex<Option<Line>>,
}

struct Line {
    connection: Connection,
    channel: Channel,
    /// Counts the connections that were made.
    number: u64,
}

impl AmqpPublisher {
    /// One for dead letters, not yet connected.
    pub fn for_letters(addresses: &[AmqpAddress], settings: &Settings) -> Self {
        let (addresses, settings) = (addresses.to_vec(), settings.clone());
        Self { addresses, settings, makes_queue: false, line: Mutex::new(None) }
    }

    /// One for messages, not yet connected; it makes the queue if it is missing, so that they have a place to go.
    pub fn for_sending(addresses: &[AmqpAddress], settings: &Settings) -> Self {
        Self { makes_queue: true, ..Self::for_letters(addresses, settings) }
    }

    /// Ends the connection, if there is one; the next message makes another.
    pub async fn hang_up(&self) {
        if let Some(line) = self.line.lock().await.take() {
            close(&line.connection).await;
        }
    }

    async fn channel(&self) -> Result<(Channel, u64), SourceError> {
        let mut line = self.line.lock().await;
        if let Some(line) = &*line
            && line.channel.status().connected()
        {
            return Ok((line.channel.clone(), line.number));
        }
        let connection = connect(&self.addresses, "publish").await?;
        let channel = set_up(&self.settings.address.to_string(), self.confirming_channel(&connection)).await?;
        let number = line.as_ref().map_or(0, |line| line.number) + 1;
        *line = Some(Line { connection, channel: channel.clone(), number });
        Ok((channel, number))
    }

    async fn confirming_channel(&self, connection: &Connection) -> Result<Channel, SourceError> {
        if self.makes_queue {
            ensure(connection, &self.settings).await?;
        } else {
            ensure_dead_queue(connection, &self.settings.name).await?;
        }
        let channel = connection.create_channel().await.map_err(|error| self.failure(&error))?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| self.failure(&error))?;
        Ok(channel)
    }

    /// Publishes and waits until the broker has confirmed that the message is on a queue.
    async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<(), SourceError> {
        let (channel, number) = self.channel().await?;
        let confirmed = async {
            // Mandatory: what no queue takes must come back instead of being thrown away.
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let sent = channel.basic_publish(exchange.into(), routing_key.into(), options, body, properties).await?;
            sent.await
        };
        let outcome = tokio::time::timeout(CONFIRM_MAX, confirmed).await;
        let problem = match outcome {
            Ok(Ok(Confirmation::Ack(None))) => return Ok(()),
            Ok(Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)))) => {
                format!("no queue takes it ({})", returned.reply_text)
            }
            Ok(Ok(Confirmation::Nack(None))) => "the broker did not take it; the queue may be full".to_owned(),
            Ok(Ok(Confirmation::NotRequested)) => "the broker does not confirm".to_owned(),
            Ok(Err(error)) => {
                self.give_up(number).await;
                return Err(self.failure(&error));
            }
            Err(_) => format!("not confirmed within {CONFIRM_MAX:?}"),
        };
        // Whatever it was, the next try begins with a fresh connection, which looks at the queues again.
        self.give_up(number).await;
        Err(SourceError::Unavailable { address: self.settings.address.to_string(), problem })
    }

    /// Ends a connection that failed, unless another has already taken its place.
    async fn give_up(&self, number: u64) {
        let line = self.line.lock().await;
        if let Some(line) = line.as_ref().filter(|line| line.number == number) {
            close(&line.connection).await;
        }
    }

    fn failure(&self, error: &Error) -> SourceError {
        failure(&self.settings.address.to_string(), error)
    }
}

/// Everything was confirmed or is tried again; a broker that does not answer is not waited for.
async fn close(connection: &Connection) {
    let _ = tokio::time::timeout(CLOSE_MAX, connection.close(200, "done".into())).await;
}

#[async_trait]
impl Letters for AmqpPublisher {
    async fn keep(&self, letter: &Letter) -> Result<(), SourceError> {
        let queue = dead_queue(&self.settings.name);
        let original = letter.origin.as_ref().and_then(|origin| origin.downcast_ref::<Properties>());
        let properties = letter_properties(letter, original, &self.settings.name);
        self.publish("", &queue, &letter.body, properties).await
    }

    fn blocked(&self) -> Option<String> {
        None
    }
}

#[async_trait]
impl Publisher for AmqpPublisher {
    async fn publish(&self, message: Message) -> Result<(), SourceError> {
        let mut properties =
            BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        if let Some(id) = &message.id {
            properties = properties.with_message_id(id.as_str().into());
        }
        self.publish(&self.settings.exchange, &message.routing_key, &message.body, properties).await
    }

    async fn close(&self) {
        self.hang_up().await;
    }
}
