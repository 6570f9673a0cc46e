//! One session with the broker after the other: consume, acknowledge, and begin again when it is lost.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery as Message;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer, Error};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::MissedTickBehavior;

use super::Command;
use super::connection::{CLOSE_MAX, connect, failure, set_up};
use super::properties::Properties;
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

/// Our name for the consumer, one on each channel.
const CONSUMER: &str = "ckan-worker";

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
        if batches.is_closed() {
            return wait_for_close(&mut commands).await;
        }
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

/// Waits until the source is closed: it was stopped, and what was delivered came back when the session was lost.
async fn wait_for_close(commands: &mut UnboundedReceiver<Command>) {
    while let Some(command) = commands.recv().await {
        if let Command::Close(_) = command {
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
                Some(Command::Settle(_) | Command::Release(_) | Command::Stop | Command::Pause | Command::Resume | Command::Depth(_)) => {}
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
    /// Nothing more is consumed.
    is_stopped: bool,
    /// Why the broker sends no more. It says so once, and maybe while what has arrived is gathered.
    over: Option<String>,
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
        let consuming = set_up(&address, async {
            topology::ensure(&connection, settings).await?;
            consume(&connection, &settings.name, prefetch).await.map_err(|error| failure(&address, &error))
        });
        let (channel, consumer) = consuming.await?;
        let stragglers_max = usize::from(prefetch / 4).max(1);
        let (window, queue) = (Window::new(), settings.name.clone());
        let (is_stopped, over) = (false, None);
        Ok(Self { number, connection, channel, consumer, window, queue, address, stragglers_max, is_stopped, over })
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
                message = self.consumer.next(), if !self.is_stopped => match message {
                    Some(Ok(message)) => self.hand_over(message, batches).await,
                    end => {
                        self.ended(end);
                        Ok(())
                    }
                },
                _ = straggle.tick(), if self.window.stragglers() > 0 => self.acknowledge_stragglers().await,
            };
            if let Err(error) = acted {
                return Ended::Lost(failure(&self.address, &error).to_string());
            }
            if let Some(reason) = self.over.take()
                && !self.is_stopped
            {
                return Ended::Lost(reason);
            }
        }
    }

    /// Hands over what has arrived; once the source takes no more, the broker gets it back.
    async fn hand_over(&mut self, first: Message, batches: &Batches) -> Result<(), Error> {
        match batches.send(Ok(self.take_batch(first))) {
            Err(SendError(Ok(batch))) => {
                self.release(batch.into_iter().map(|delivery| delivery.receipt).collect()).await
            }
            Ok(()) | Err(SendError(Err(_))) => Ok(()),
        }
    }

    /// Takes what else has arrived along with a first message.
    fn take_batch(&mut self, first: Message) -> Vec<Delivery> {
        let mut batch = vec![self.delivery(first)];
        while batch.len() < BATCH_MAX
            && let Some(message) = self.arrived()
        {
            batch.push(self.delivery(message));
        }
        batch
    }

    /// Takes a message that has already arrived.
    fn arrived(&mut self) -> Option<Message> {
        match self.consumer.next().now_or_never()? {
            Some(Ok(message)) => Some(message),
            end => {
                self.ended(end);
                None
            }
        }
    }

    /// Notes that the broker sends no more; the first reason is the one to tell.
    fn ended(&mut self, end: Option<Result<Message, Error>>) {
        let reason = || match end {
            Some(Err(error)) => failure(&self.address, &error).to_string(),
            _ => "the broker ended it; was the queue deleted?".to_owned(),
        };
        self.over.get_or_insert_with(reason);
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
            past: properties.past().map(Box::new),
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
            Command::Release(receipts) => self.release(receipts).await,
            Command::Stop => self.stop(batches).await,
            Command::Pause | Command::Resume => Ok(()),
            Command::Depth(answer) => {
                let waiting = self.depth(batches).await?;
                let _ = answer.send(waiting);
                Ok(())
            }
            Command::Close(_) => Ok(()),
        }
    }

    async fn release(&mut self, receipts: Vec<Receipt>) -> Result<(), Error> {
        for receipt in receipts.into_iter().filter(|receipt| receipt.session == self.number) {
            self.window.told(receipt.tag);
            let options = BasicNackOptions { requeue: true, multiple: false };
            self.channel.basic_nack(receipt.tag, options).await?;
        }
        self.acknowledge().await
    }

    /// Consumes no more, so that what is given back goes to others.
    async fn stop(&mut self, batches: &Batches) -> Result<(), Error> {
        self.is_stopped = true;
        self.channel.basic_cancel(CONSUMER.into(), BasicCancelOptions::default()).await?;
        self.hand_over_arrived(batches).await
    }

    /// How many messages wait, are on their way to us, or are handed out.
    async fn depth(&mut self, batches: &Batches) -> Result<u64, Error> {
        let mut waiting = topology::depth(&self.channel, &self.queue).await?;
        if waiting == 0 {
            // What left the queue for us before this answer may come behind it, but not behind the next one.
            waiting = topology::depth(&self.channel, &self.queue).await?;
        }
        self.hand_over_arrived(batches).await?;
        Ok(waiting + self.window.open_count())
    }

    async fn hand_over_arrived(&mut self, batches: &Batches) -> Result<(), Error> {
        while let Some(message) = self.arrived() {
            self.hand_over(message, batches).await?;
        }
        Ok(())
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
        match tokio::time::timeout(CLOSE_MAX, closed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the session with the broker did not end well: {error}"),
            Err(_) => tracing::warn!("the broker has not answered to the end of the session within {CLOSE_MAX:?}"),
        }
    }
}

async fn consume(connection: &Connection, queue: &str, prefetch: u16) -> Result<(Channel, Consumer), Error> {
    let channel = connection.create_channel().await?;
    // Before consuming: lapin would take whatever the broker sends.
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let (tag, options) = (CONSUMER.into(), BasicConsumeOptions::default());
    let consumer = channel.basic_consume(queue.into(), tag, options, FieldTable::default()).await?;
    Ok((channel, consumer))
}
