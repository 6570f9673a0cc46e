//! A queue we consume: what both kinds of it have in common.

pub mod amqp;
pub mod backfill;
mod fed;
pub mod graveyard;
pub mod outbox;
pub mod poll;
pub mod settings;
pub mod sqlite;
pub mod topology;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::delivery::{Delivery, Letter, Receipt};
use crate::retry::rung_name;
use crate::services::{Failure, ckan};

use backfill::{Find, Lookout, WithBackfill, lane_in_hand_max};
pub use fed::Size;
pub use graveyard::{DeadLetter, Graveyard};
use topology::{Part, Standing};

pub use settings::{Address, AmqpAddress, Feed, Settings, Way, backfill_queue};

/// How often it is looked whether there is a lane beside a queue in a file: that costs next to nothing.
const LOOK_AT_FILE_EVERY: Duration = Duration::from_secs(2);

/// The same at a broker, which notes each look at a queue that is not there in its log.
const LOOK_AT_BROKER_EVERY: Duration = Duration::from_secs(60);

/// A queue we consume. What is not settled comes back.
#[async_trait]
pub trait Source: Send {
    /// Waits until something is there and takes what has arrived, at most `max` of it.
    ///
    /// # Errors
    /// The queue cannot be consumed at all; a connection that was lost is rebuilt without a word here.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: the next call answers it.
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, SourceError>;

    /// Settles deliveries: they do not come again. Batched; what cannot be settled any more comes back.
    fn settle(&mut self, receipts: Vec<Receipt>);

    /// Gives deliveries back: they come again, here or elsewhere.
    fn release(&mut self, receipts: Vec<Receipt>);

    /// Takes nothing more off the queue; what has arrived and was not handed out goes back. `next` is not called again.
    fn stop(&mut self);

    /// Takes nothing off the queue for a while; what has arrived and was not handed out goes back. Ends with
    /// [`resume`](Self::resume).
    fn pause(&mut self);

    /// Goes on after [`pause`](Self::pause).
    fn resume(&mut self);

    /// How many messages wait in the queue, or were handed out by this source and are not yet settled.
    ///
    /// # Errors
    /// The queue cannot be reached.
    async fn depth(&mut self) -> Result<u64, SourceError>;

    /// Where what failed goes.
    fn letters(&self) -> Arc<dyn Letters>;

    /// Settles what is to be settled, gives back the rest, and goes.
    async fn close(self: Box<Self>);
}

/// Begins to consume the queue of `settings` and the lane beside it, with at most `in_hand_max` deliveries unsettled.
/// Needs a runtime around.
///
/// # Errors
/// The queue's file cannot be used. A broker is tried again for as long as it takes.
pub fn open(settings: &Settings, in_hand_max: usize) -> Result<Box<dyn Source>, SourceError> {
    let rest_max = match &settings.address {
        Address::Amqp(_) => LOOK_AT_BROKER_EVERY,
        Address::Sqlite(_) => LOOK_AT_FILE_EVERY,
    };
    let live = open_without_lane(settings, in_hand_max)?;
    let lookout = Lookout::new(find_lane(settings, in_hand_max), rest_max);
    Ok(Box::new(WithBackfill::new(live, lookout, in_hand_max)))
}

/// Looks whether anything is in the lane beside the queue of `settings`, and begins to consume it then.
fn find_lane(settings: &Settings, in_hand_max: usize) -> Find {
    let lane = settings.lane();
    let in_hand_max = lane_in_hand_max(in_hand_max);
    Box::new(move || {
        let lane = lane.clone();
        Box::pin(async move {
            if let Address::Amqp(addresses) = &lane.address {
                let is_used = amqp::look(addresses, &lane).await?.is_some_and(|waiting| waiting > 0);
                return if is_used { open_without_lane(&lane, in_hand_max).map(Some) } else { Ok(None) };
            }
            // Others may hold the file for long, and whoever waits here settles nothing.
            let looked = spawn_blocking(move || match &lane.address {
                Address::Sqlite(path) if !sqlite::is_used(path, &lane)? => Ok(None),
                _ => open_without_lane(&lane, in_hand_max).map(Some),
            });
            looked.await.unwrap_or_else(|error| Err(SourceError::Unusable(format!("looking for a lane: {error}"))))
        })
    })
}

/// The queue that who only looks is to look at: that of `settings`, which no portal is asked to fill, or the lane beside it
/// if something waits there and nothing in the queue.
///
/// # Errors
/// It cannot be reached.
pub async fn to_look_at(settings: &Settings) -> Result<Settings, SourceError> {
    let (alone, lane) = (Settings { feed: None, ..settings.clone() }, settings.lane());
    let is_empty = look(&alone).await?.unwrap_or_default() == 0;
    Ok(if is_empty && look(&lane).await?.unwrap_or_default() > 0 { lane } else { alone })
}

/// Begins to consume the queue of `settings` alone, without the lane beside it.
///
/// # Errors
/// As [`open`].
pub fn open_without_lane(settings: &Settings, in_hand_max: usize) -> Result<Box<dyn Source>, SourceError> {
    Ok(match &settings.address {
        Address::Amqp(addresses) => {
            let prefetch = u16::try_from(in_hand_max).unwrap_or(u16::MAX);
            Box::new(amqp::AmqpSource::open(addresses, settings, prefetch))
        }
        Address::Sqlite(path) => match &settings.feed {
            Some(feed) => Box::new(fed::FedSource::open(path, settings, feed)?),
            None => Box::new(sqlite::SqliteSource::open(path, settings)?),
        },
    })
}

/// Looks whether the portal behind `client` can be asked in this way; answers what it found, for people.
///
/// # Errors
/// Nothing would ever be found, or the portal does not answer.
pub async fn try_feed(way: &Way, client: &ckan::Client) -> Result<String, Failure> {
    Ok(match way {
        Way::Poll(_) => match poll::self_test(client).await? {
            Some(stamp) => format!("its search finds what has changed, most recently at {stamp}"),
            None => "its search answers, and has no dataset yet".to_owned(),
        },
        Way::Outbox(_) if outbox::self_test(client).await? => {
            "its extension hands out what waits in the outbox".to_owned()
        }
        Way::Outbox(_) => "its extension answers, and nothing waits in the outbox".to_owned(),
    })
}

/// Opens the way into the queue of `settings`.
///
/// # Errors
/// The queue's file cannot be used. A broker is only asked when there is something to publish.
pub fn open_publisher(settings: &Settings) -> Result<Box<dyn Publisher>, SourceError> {
    Ok(match &settings.address {
        Address::Amqp(addresses) => Box::new(amqp::AmqpPublisher::for_sending(addresses, settings)),
        Address::Sqlite(path) => Box::new(sqlite::SqlitePublisher::open(path, settings)?),
    })
}

/// Opens the way into the lane beside the queue of `settings`, which is made if it is missing.
///
/// # Errors
/// The queue's file cannot be used. A broker is only asked when there is something to publish.
pub fn open_lane_publisher(settings: &Settings) -> Result<Box<dyn Publisher>, SourceError> {
    Ok(match &settings.address {
        Address::Amqp(addresses) => Box::new(amqp::AmqpPublisher::for_lane(addresses, settings)),
        Address::Sqlite(path) => Box::new(sqlite::SqlitePublisher::open(path, &settings.lane())?),
    })
}

/// The names of what waits in the lane beside the queue of `settings`, each for one worker; `None` where nobody can look
/// them up.
///
/// # Errors
/// The queue's file cannot be used.
pub fn names_in_lane(settings: &Settings) -> Result<Option<Vec<String>>, SourceError> {
    match &settings.address {
        Address::Amqp(_) => Ok(None),
        Address::Sqlite(path) => sqlite::names(path, &settings.lane()).map(Some),
    }
}

/// Looks whether the queue of `settings` is there, changing nothing; answers how many messages wait in it.
///
/// # Errors
/// It cannot be reached.
pub async fn look(settings: &Settings) -> Result<Option<u64>, SourceError> {
    match &settings.address {
        Address::Amqp(addresses) => amqp::look(addresses, settings).await,
        Address::Sqlite(path) if path.exists() => sqlite::depth(path, settings).map(Some),
        Address::Sqlite(_) => Ok(None),
    }
}

/// Deletes what waits in the queue of `settings`, not in the lane beside it; answers how many messages that were.
///
/// # Errors
/// It cannot be reached.
pub async fn purge(settings: &Settings) -> Result<u64, SourceError> {
    match &settings.address {
        Address::Amqp(addresses) => amqp::purge(addresses, settings).await,
        Address::Sqlite(path) => sqlite::purge(path, settings),
    }
}

/// The dead letters of the queue of `settings`; `None` if there is no place for them yet, and so none.
///
/// # Errors
/// They cannot be reached.
pub async fn graveyard(settings: &Settings) -> Result<Option<Box<dyn Graveyard>>, SourceError> {
    Ok(match &settings.address {
        Address::Amqp(addresses) => {
            let graveyard = amqp::AmqpGraveyard::open(addresses, settings).await?;
            graveyard.map(|graveyard| Box::new(graveyard) as Box<dyn Graveyard>)
        }
        Address::Sqlite(path) if path.exists() => Some(Box::new(sqlite::SqliteGraveyard::open(path, settings)?)),
        Address::Sqlite(_) => None,
    })
}

/// Looks how the queue of `settings` stands, changing nothing.
///
/// # Errors
/// It cannot be reached.
pub async fn status(settings: &Settings) -> Result<QueueStatus, SourceError> {
    match &settings.address {
        Address::Amqp(addresses) => amqp::status(addresses, settings).await,
        Address::Sqlite(path) if path.exists() => sqlite::status(path, settings),
        Address::Sqlite(_) => Ok(QueueStatus::of_none(settings)),
    }
}

/// How a queue stands. What is `None` is not there yet, or not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStatus {
    /// How many messages wait in it to be taken.
    pub ready: Option<u64>,
    /// How many were taken and are not yet settled, by whomever; a broker does not say.
    pub in_hand: Option<u64>,
    /// How many wait on each rung of the retry ladder, by its name.
    pub rungs: Vec<(String, Option<u64>)>,
    /// How many dead letters there are.
    pub dead: Option<u64>,
    /// How many messages wait in the lane beside it.
    pub backfill: Option<u64>,
}

impl QueueStatus {
    /// Of a queue that is not there.
    fn of_none(settings: &Settings) -> Self {
        let rungs = settings.ladder.rungs().iter().map(|rung| (rung_name(*rung), None)).collect();
        Self { ready: None, in_hand: None, rungs, dead: None, backfill: None }
    }
}

/// What the queue of `settings` consists of, whether it is there or not.
pub fn parts(settings: &Settings) -> Vec<Part> {
    match &settings.address {
        Address::Amqp(_) => amqp::parts(settings),
        Address::Sqlite(path) => topology::of_file(path, settings),
    }
}

/// Looks how each part of the queue of `settings` stands, changing nothing.
///
/// # Errors
/// It cannot be reached.
pub async fn survey(settings: &Settings) -> Result<Vec<(Part, Standing)>, SourceError> {
    match &settings.address {
        Address::Amqp(addresses) => amqp::survey(addresses, settings).await,
        Address::Sqlite(path) => topology::survey_of_file(path, settings),
    }
}

/// Where what failed goes: to the retry ladder, or to the dead letters.
#[async_trait]
pub trait Letters: Send + Sync {
    /// Sends a letter on, durably: when this answers, it has been confirmed.
    ///
    /// # Errors
    /// It may not have been kept.
    async fn keep(&self, letter: &Letter) -> Result<(), SourceError>;

    /// Why nothing can be kept just now, as far as is known: a broker that is short of memory says so.
    fn blocked(&self) -> Option<String>;
}

/// The way into a queue.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Puts a message on the queue, durably: when this answers, it has been confirmed.
    ///
    /// # Errors
    /// It may not be on the queue.
    async fn publish(&self, message: Message) -> Result<(), SourceError>;

    /// Ends the connection, if there is one.
    async fn close(&self);
}

/// A message for a queue.
#[derive(Debug, Clone)]
pub struct Message {
    /// The class of what changed; decides which queues get it.
    pub routing_key: String,
    /// The body, as it is to be published.
    pub body: Bytes,
    /// The publisher's name for it.
    pub id: Option<String>,
    /// The one worker that it is for; `None` for all.
    pub only: Option<String>,
}

/// Why a queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It does not answer; it may later.
    #[error("{address}: {problem}")]
    Unavailable {
        /// Where, without secrets.
        address: String,
        /// What happened.
        problem: String,
    },
    /// It refuses us; it will until somebody changes something.
    #[error("{address}: {problem}")]
    Refused {
        /// Where, without secrets.
        address: String,
        /// What it said, and what to do.
        problem: String,
    },
    /// It is not what was expected.
    #[error("{0}")]
    Unusable(String),
}
