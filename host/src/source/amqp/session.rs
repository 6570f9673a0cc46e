//! One session with the broker after the other: consume, acknowledge, and begin again when it is lost.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery as Message;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer, Error};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::MissedTickBehavior;

use super::Command;
use super::connection::{connect, failure};
use super::publisher::Properties;
use super::topology;
use super::window::Window;
use crate::delivery::{Delivery, DeliveryId, Receipt};
use crate::source::{AmqpAddress, Settings, SourceError};

/// How many messages are handed on together at most.
const BATCH_MAX: usize = 256;

/// How long a settled delivery behind a slow one waits until it is acknowledged alone.
const STRAGGLE: Duration = Duration::from_millis(100);

/// The waits between tries to get a session back: full jitter below a bound that doubles from the first to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

type Batches = UnboundedSender<Result<Vec<Delivery>, SourceError>>;

/// Keeps a session for as long as the source is there.
pub async fn supervise(
    mut addresses: Vec<AmqpAddress>,
    settings: Settings,
    prefetch: u16,
    batches: Batches,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut bound = BACK_OFF.0;
    for number in 1.. {
        match Session::open(&addresses, &settings, prefetch, number).await {
            Ok(session) => {
                bound = BACK_OFF.0;
                tracing::info!("consuming queue {} at {}", settings.name, settings.address);
                match session.run(&batches, &mut commands).await {
                    Ended::Closed => return,
                    Ended::Lost(reason) => tracing::warn!("the session with the broker is lost: {reason}"),
                }
            }
            // Somebody is there at the first try, and can mend it; later nobody may be.
            Err(error @ (SourceError::Refused { .. } | SourceError::Unusable(_))) if number == 1 => {
                let _ = batches.send(Err(error));
                return;
            }
            Err(error) => tracing::warn!("no session with the broker: {error}"),
        }
        let wait = bound.mul_f64(fastrand::f64());
        bound = (bound * 2).min(BACK_OFF.1);
        // The next try begins with another host.
        addresses.rotate_left(1);
        if wait_or_close(wait, &mut commands).await {
            return;
        }
    }
}

/// Waits between two sessions; answers whether the source was closed meanwhile.
async fn wait_or_close(wait: Duration, commands: &mut UnboundedReceiver<Command>) -> bool {
    let waited = tokio::time::sleep(wait);
    tokio::pin!(waited);
    loop {
        tokio::select! {
            () = &mut waited => return false,
            command = commands.recv() => match command {
                // What an earlier session delivered comes back by itself.
                Some(Command::Settle(_) | Command::Release(_) | Command::Depth(_)) => {}
                Some(Command::Close(_)) | None => return true,
            }
        }
    }
}

struct Session {
    number: u64,
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    window: Window,
    queue: String,
    address: String,
    /// So many settled deliveries behind a slow one are acknowledged at once.
    stragglers_max: usize,
}

enum Ended {
    Closed,
    Lost(String),
}

impl Session {
    async fn open(
        addresses: &[AmqpAddress],
        settings: &Settings,
        prefetch: u16,
        number: u64,
    ) -> Result<Self, SourceError> {
        let address = settings.address.to_string();
        let connection = connect(addresses, "consume").await?;
        topology::ensure(&connection, settings).await?;
        let (channel, consumer) =
            consume(&connection, &settings.name, prefetch).await.map_err(|error| failure(&address, &error))?;
        let stragglers_max = usize::from(prefetch / 4).max(1);
        let (window, queue) = (Window::new(), settings.name.clone());
        Ok(Self { number, connection, channel, consumer, window, queue, address, stragglers_max })
    }

    async fn run(mut self, batches: &Batches, commands: &mut UnboundedReceiver<Command>) -> Ended {
        let mut straggle = tokio::time::interval(STRAGGLE);
        straggle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let acted = tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Close(done)) => {
                        self.close().await;
                        let _ = done.send(());
                        return Ended::Closed;
                    }
                    Some(command) => self.obey(command, batches).await,
                    None => return Ended::Closed,
                },
                message = self.consumer.next() => match message {
                    Some(Ok(message)) => {
                        self.hand_over(message, batches);
                        Ok(())
                    }
                    Some(Err(error)) => Err(error),
                    None => return Ended::Lost("the broker ended it; was the queue deleted?".to_owned()),
                },
                _ = straggle.tick(), if self.window.stragglers() > 0 => self.acknowledge_stragglers().await,
            };
            if let Err(error) = acted {
                return Ended::Lost(failure(&self.address, &error).to_string());
            }
        }
    }

    /// How many messages wait or were handed out.
    async fn depth(&mut self, batches: &Batches) -> Result<u64, Error> {
        // What the broker has just sent no longer waits there and is not yet here. It stands in front of the answer to
        // a second question, as everything that the broker had sent before the first.
        topology::depth(&self.channel, &self.queue).await?;
        let waiting = topology::depth(&self.channel, &self.queue).await?;
        while let Some(Some(Ok(message))) = self.consumer.next().now_or_never() {
            self.hand_over(message, batches);
        }
        Ok(waiting + self.window.open_count())
    }

    /// Hands on a message, together with what else has arrived.
    fn hand_over(&mut self, first: Message, batches: &Batches) {
        let batch = self.take_batch(first);
        // An error means that the source is going; what was delivered comes back.
        let _ = batches.send(Ok(batch));
    }

    /// Takes what else has arrived along with a first message.
    fn take_batch(&mut self, first: Message) -> Vec<Delivery> {
        let mut batch = vec![self.delivery(first)];
        while batch.len() < BATCH_MAX
            && let Some(Some(Ok(message))) = self.consumer.next().now_or_never()
        {
            batch.push(self.delivery(message));
        }
        batch
    }

    fn delivery(&mut self, message: Message) -> Delivery {
        let tag = message.delivery_tag;
        self.window.open(tag);
        let properties = Properties::of(message.exchange, message.routing_key, message.properties);
        Delivery {
            id: match properties.message_id() {
                Some(id) => DeliveryId::Named(id.into()),
                None => DeliveryId::Numbered(self.number, tag),
            },
            body: Bytes::from(message.data),
            attempts_before: properties.attempts(),
            only: properties.only().map(Into::into),
            redelivered: message.redelivered,
            receipt: Receipt { session: self.number, tag },
            origin: Some(properties.into_origin()),
        }
    }

    async fn obey(&mut self, command: Command, batches: &Batches) -> Result<(), Error> {
        match command {
            Command::Settle(receipts) => {
                // A receipt of an earlier session is void: the broker took that delivery back when it was lost.
                for receipt in receipts.into_iter().filter(|receipt| receipt.session == self.number) {
                    self.window.done(receipt.tag);
                }
                self.acknowledge().await
            }
            Command::Release(receipts) => {
                for receipt in receipts.into_iter().filter(|receipt| receipt.session == self.number) {
                    self.window.told(receipt.tag);
                    let options = BasicNackOptions { requeue: true, multiple: false };
                    self.channel.basic_nack(receipt.tag, options).await?;
                }
                self.acknowledge().await
            }
            Command::Depth(answer) => {
                let _ = answer.send(self.depth(batches).await?);
                Ok(())
            }
            Command::Close(_) => Ok(()),
        }
    }

    async fn acknowledge(&mut self) -> Result<(), Error> {
        if let Some(tag) = self.window.take_prefix() {
            self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
        }
        if self.window.stragglers() >= self.stragglers_max {
            self.acknowledge_stragglers().await?;
        }
        Ok(())
    }

    async fn acknowledge_stragglers(&mut self) -> Result<(), Error> {
        for tag in self.window.take_stragglers() {
            self.channel.basic_ack(tag, BasicAckOptions { multiple: false }).await?;
        }
        Ok(())
    }

    /// Acknowledges what is settled; the broker gives the rest to others.
    async fn close(mut self) {
        let closed = async {
            self.acknowledge_stragglers().await?;
            self.channel.close(200, "done".into()).await?;
            self.connection.close(200, "done".into()).await
        };
        if let Err(error) = closed.await {
            tracing::warn!("the session with the broker did not end well: {error}");
        }
    }
}

async fn consume(connection: &Connection, queue: &str, prefetch: u16) -> Result<(Channel, Consumer), Error> {
    let channel = connection.create_channel().await?;
    // Before consuming: lapin would take whatever the broker sends.
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let (tag, options) = ("ckan-worker".into(), BasicConsumeOptions::default());
    let consumer = channel.basic_consume(queue.into(), tag, options, FieldTable::default()).await?;
    Ok((channel, consumer))
}
