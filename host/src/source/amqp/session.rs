//! One session with the broker: consume, hand over, acknowledge, until it is lost.

mod consume;
mod settle;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lapin::message::Delivery as Message;
use lapin::{Channel, Connection, Consumer, Error, ErrorKind};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::MissedTickBehavior;

use super::Command;
use super::connection::{CLOSE_MAX, answered, connect, failure, set_up};
use super::hatch::Hatch;
use super::inbox::{End, Inbox, next};
use super::properties::Properties;
use super::supervisor::{Course, Order};
use super::topology::{self, Queue};
use super::window::Window;
use crate::delivery::{Delivery, DeliveryId, Receipt};
use crate::seed::Fault;
use crate::source::SourceError;

/// How many messages are handed on together at most.
const BATCH_MAX: usize = 256;

/// How long a settled delivery behind a slow one waits until it is acknowledged alone.
const STRAGGLE: Duration = Duration::from_millis(100);

/// How often the session looks after itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One session with the broker.
pub struct Session {
    number: u64,
    connection: Arc<Connection>,
    channel: Channel,
    /// What the consumer has received; `None` while nothing is consumed.
    inbox: Option<Inbox<Consumer>>,
    /// How many consumers there were; the name of the latest.
    consumers: u32,
    /// How many deliveries the latest may hold.
    prefetch: u16,
    /// How many deliveries may be held in all.
    prefetch_max: u16,
    window: Window,
    /// Tags that were delivered to nobody.
    missed: Vec<u64>,
    queue: String,
    address: String,
    /// Nothing more is consumed.
    is_stopped: bool,
}

/// How a session ended.
pub enum Ended {
    /// The source was closed.
    Closed,
    /// It was lost.
    Lost(String),
    /// It was up and of no use.
    Stuck(String),
}

/// What a session has to react to.
#[expect(clippy::large_enum_variant, reason = "it lives for one turn; a box for each message would cost more")]
enum Event {
    Command(Command),
    Message(Message),
    End,
    Straggle,
    Look,
    Gone,
}

impl Session {
    /// Connects, makes what is missing, and begins to consume.
    ///
    /// # Errors
    /// The broker does not answer or refuses us, or the queue is missing and not to be made.
    pub async fn open(order: &Order, course: &Course, number: u64) -> Result<(Self, Queue), SourceError> {
        let address = order.settings.address.to_string();
        let connection = Arc::new(connect(&order.addresses, "consume").await?);
        order.shared.set(&connection);
        let trouble = |error: Error| failure(&address, &error);
        let opened = set_up(&address, async {
            let queue = topology::ensure(&connection, &order.settings).await?;
            let mut session = Self {
                number,
                channel: connection.create_channel().await.map_err(trouble)?,
                connection: Arc::clone(&connection),
                inbox: None,
                consumers: 0,
                prefetch: 0,
                prefetch_max: order.prefetch.max(1),
                window: Window::new(),
                missed: Vec::new(),
                queue: order.settings.name.clone(),
                address: address.clone(),
                is_stopped: false,
            };
            session.consume_if_wanted(course).await.map_err(trouble)?;
            Ok((session, queue))
        });
        opened.await
    }

    /// Works until the source is closed or the session is lost.
    pub async fn run(mut self, hatch: &Hatch, commands: &mut UnboundedReceiver<Command>, course: &mut Course) -> Ended {
        let [mut straggle, mut look] = [STRAGGLE, LOOK_EVERY].map(|period| {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        course.watchdog.rests(Instant::now());
        loop {
            let has_stragglers = self.window.stragglers() > 0;
            let event = tokio::select! {
                biased;
                command = commands.recv() => command.map_or(Event::Gone, Event::Command),
                message = next(&mut self.inbox) => message.map_or(Event::End, Event::Message),
                _ = straggle.tick(), if has_stragglers => Event::Straggle,
                _ = look.tick() => Event::Look,
            };
            let acted = match event {
                Event::Gone => return Ended::Closed,
                Event::Command(Command::Close(done)) => {
                    self.close().await;
                    let _ = done.send(());
                    return Ended::Closed;
                }
                Event::Command(command) => self.obey(command, hatch, course).await,
                Event::Message(message) => self.hand_over(message, hatch, course).await,
                Event::Straggle => self.acknowledge_stragglers().await,
                Event::Look => match self.look_after(hatch, course).await {
                    Ok(None) => Ok(()),
                    Ok(Some(stuck)) => return Ended::Stuck(stuck),
                    Err(error) => Err(error),
                },
                Event::End => Ok(()),
            };
            let end = self.inbox.as_mut().and_then(Inbox::take_end);
            if let Some(reason) = self.reason(acted.err().map(End::Error).or(end)) {
                return Ended::Lost(reason);
            }
        }
    }

    /// Why the session is lost, if this ends it.
    fn reason(&mut self, end: Option<End>) -> Option<String> {
        let end = end?;
        if Fault::AutoRecover.is_on() {
            // The fault is to trust the library: whatever happens, it will go on by itself.
            if matches!(end, End::Cancelled) {
                self.inbox = None;
            }
            return None;
        }
        Some(match end {
            End::Cancelled => "the broker ended it; was the queue deleted?".to_owned(),
            End::Error(error) => {
                let text = failure(&self.address, &error).to_string();
                if !text.contains("delivery acknowledgement") {
                    return Some(text);
                }
                format!(
                    "{text}; a delivery was open for longer than the broker's consumer_timeout allows: all that is open \
                     comes again. Raise that, or lower `deadline` or `queue.prefetch`"
                )
            }
        })
    }

    /// Hands over what has arrived; what the source does not take, the broker gets back.
    async fn hand_over(&mut self, first: Message, hatch: &Hatch, course: &mut Course) -> Result<(), Error> {
        let batch = self.take_batch(first, course)?;
        for tag in std::mem::take(&mut self.missed) {
            self.give_back(tag).await?;
        }
        match hatch.hand_over(batch) {
            Ok(()) => Ok(()),
            Err(batch) => self.release(batch.into_iter().map(|delivery| delivery.receipt).collect()).await,
        }
    }

    /// Takes what else has arrived along with a first message.
    fn take_batch(&mut self, first: Message, course: &mut Course) -> Result<Vec<Delivery>, Error> {
        course.watchdog.received(Instant::now());
        let mut batch = vec![self.delivery(first, course)?];
        while batch.len() < BATCH_MAX
            && let Some(message) = self.inbox.as_mut().and_then(Inbox::arrived)
        {
            batch.push(self.delivery(message, course)?);
        }
        Ok(batch)
    }

    /// # Errors
    /// Its tag cannot have come from a broker in its senses, or not over a line that is.
    fn delivery(&mut self, message: Message, course: &mut Course) -> Result<Delivery, Error> {
        let tag = message.delivery_tag;
        if tag == 1 && Fault::AutoRecover.is_on() {
            self.window = Window::new();
        }
        let missed = self.window.open(tag).ok_or_else(|| {
            let odd = format!("a delivery came with the tag {tag}, which cannot be: what the broker says got mixed up");
            ErrorKind::IOError(Arc::new(std::io::Error::new(std::io::ErrorKind::InvalidData, odd)))
        })?;
        self.missed.extend(missed);
        course.gauge.note(message.data.len());
        let properties = Properties::of(message.exchange, message.routing_key, message.properties);
        Ok(Delivery {
            id: match properties.message_id() {
                Some(id) => DeliveryId::Named(id.into()),
                None => DeliveryId::Numbered(self.number, tag),
            },
            body: Bytes::from(message.data),
            past: properties.past().map(Box::new),
            redelivered: message.redelivered,
            receipt: Receipt { session: self.number, tag },
            origin: Some(properties.into_origin()),
        })
    }

    async fn obey(&mut self, command: Command, hatch: &Hatch, course: &mut Course) -> Result<(), Error> {
        match command {
            Command::Settle(receipts) => {
                // A receipt of an earlier session is void: the broker took that delivery back when it was lost.
                for receipt in receipts.into_iter().filter(|receipt| receipt.session == self.number) {
                    self.window.done(receipt.tag);
                }
                self.acknowledge().await?;
                self.consume_if_wanted(course).await
            }
            Command::Release(receipts) => {
                self.release(receipts).await?;
                self.consume_if_wanted(course).await
            }
            Command::Stop => {
                self.is_stopped = true;
                self.consume_no_more(hatch, course).await
            }
            Command::Pause => {
                course.is_paused = true;
                self.consume_no_more(hatch, course).await
            }
            Command::Resume => {
                course.is_paused = false;
                self.consume_if_wanted(course).await
            }
            Command::Depth(answer) => {
                let waiting = self.depth(hatch, course).await?;
                let _ = answer.send(waiting);
                Ok(())
            }
            Command::Close(_) => Ok(()),
        }
    }

    /// Looks after the session itself: whether it is still there, consumes as much as it should, and receives what it
    /// could. Answers why it is of no use, if it is not.
    async fn look_after(&mut self, hatch: &Hatch, course: &mut Course) -> Result<Option<String>, Error> {
        if Fault::AutoRecover.is_on() {
            return Ok(None);
        }
        // While nothing is consumed nobody else would notice.
        if !self.connection.status().connected() || !self.channel.status().connected() {
            return Err(ErrorKind::InvalidConnectionState(lapin::ConnectionState::Error).into());
        }
        if self.inbox.is_some() && course.gauge.is_off(self.prefetch) {
            self.consume_no_more(hatch, course).await?;
        }
        self.consume_if_wanted(course).await?;
        let now = Instant::now();
        if self.inbox.is_none() || self.window.held() >= usize::from(self.prefetch) {
            course.watchdog.rests(now);
        } else if course.watchdog.asks(now) {
            let ready = answered(topology::depth(&self.channel, &self.queue)).await;
            self.hand_over_arrived(hatch, course).await?;
            let quiet = course.watchdog.answered(ready.as_ref().ok().copied(), Instant::now());
            return Ok(quiet.map(|quiet| match ready {
                Ok(ready) => format!("for {} s, although {ready} messages are ready", quiet.as_secs()),
                Err(error) => format!("for {} s, and the queue does not say what is in it: {error}", quiet.as_secs()),
            }));
        }
        Ok(None)
    }

    /// How many messages wait, are on their way to us, or are handed out.
    async fn depth(&mut self, hatch: &Hatch, course: &mut Course) -> Result<u64, Error> {
        let mut waiting = answered(topology::depth(&self.channel, &self.queue)).await?;
        if waiting == 0 {
            // What left the queue for us before this answer may come behind it, but not behind the next one.
            waiting = answered(topology::depth(&self.channel, &self.queue)).await?;
        }
        self.hand_over_arrived(hatch, course).await?;
        Ok(waiting + self.window.open_count())
    }

    async fn hand_over_arrived(&mut self, hatch: &Hatch, course: &mut Course) -> Result<(), Error> {
        while let Some(message) = self.inbox.as_mut().and_then(Inbox::arrived) {
            self.hand_over(message, hatch, course).await?;
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
