//! Exchange, queue and binding: looked for first, and only made where they are missing.

use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Error, ErrorKind, ExchangeKind};

use super::connection::{connect, failure};
use super::plan::{Place, main_arguments, unbound_mark};
use crate::seed;
use crate::source::{AmqpAddress, Settings, SourceError};

/// Whether the queue was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// It was, and is used as it is.
    Found,
    /// It was not, and has been made.
    Made,
}

/// Makes sure that there is something to consume: an existing queue is used as it is, whatever its type.
///
/// # Errors
/// Something is missing and must or can not be made.
pub async fn ensure(connection: &Connection, settings: &Settings) -> Result<Queue, SourceError> {
    let (name, address) = (settings.name.as_str(), &settings.address);
    let trouble = |error: Error| failure(&address.to_string(), &error);
    if queue_exists(connection, name).await? {
        // A mark says that whoever made the queue did not come to bind it. Without one, how it is bound is not our
        // business: somebody may have unbound it on purpose.
        if settings.create && queue_exists(connection, &unbound_mark(name)).await? {
            bind(connection, settings).await.map_err(trouble)?;
            tracing::info!("bound queue {name} to exchange {}, which had been left undone", settings.exchange);
        }
        return Ok(Queue::Found);
    }
    if !settings.create {
        return Err(SourceError::Unusable(format!(
            "queue {name:?} does not exist at {address}, and `queue.create` is off; create it or switch that on"
        )));
    }
    ensure_place(connection, settings, Place::Dead).await?;
    if !exchange_exists(connection, &settings.exchange).await? {
        let channel = connection.create_channel().await.map_err(trouble)?;
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let (exchange, table) = (short(&settings.exchange)?, FieldTable::default());
        channel.exchange_declare(exchange, ExchangeKind::Topic, options, table).await.map_err(trouble)?;
    }
    // A queue that exists and is not bound gets nothing, and nobody would notice: the mark outlives our death here.
    declare(connection, &unbound_mark(name), FieldTable::default()).await?;
    declare(connection, name, main_arguments(name)).await?;
    seed::point("queue-declared");
    bind(connection, settings).await.map_err(trouble)?;
    tracing::info!("created queue {name} and bound it to exchange {}", settings.exchange);
    Ok(Queue::Made)
}

/// Binds a queue of ours, and takes away the mark that it is not bound.
async fn bind(connection: &Connection, settings: &Settings) -> Result<(), Error> {
    let channel = connection.create_channel().await?;
    let (name, key) = (settings.name.as_str(), settings.routing_key.as_str());
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(name.into(), settings.exchange.as_str().into(), key.into(), options, table).await?;
    seed::point("queue-bound");
    // Nothing is published to the mark; if something lies on it after all, it is not what we made.
    let only_ours = QueueDeleteOptions { if_empty: true, if_unused: true, ..QueueDeleteOptions::default() };
    channel.queue_delete(unbound_mark(name).as_str().into(), only_ours).await.map(drop)
}

/// Makes sure that there is a queue for letters, or the lane.
///
/// # Errors
/// It is missing and can not be made, or is not to be.
pub async fn ensure_place(connection: &Connection, settings: &Settings, place: Place) -> Result<(), SourceError> {
    let (queue, address) = (settings.name.as_str(), &settings.address);
    let name = place.queue(queue);
    if queue_exists(connection, &name).await? {
        return Ok(());
    }
    // Letters need their places, whoever has made the queue itself.
    if place == Place::Lane && !settings.create {
        return Err(SourceError::Unusable(format!(
            "queue {name:?} does not exist at {address}, and `queue.create` is off; create it or switch that on \
             (`worker topology explain` says with which arguments)"
        )));
    }
    if place == Place::Lane && !queue_exists(connection, &Place::Dead.queue(queue)).await? {
        // What the broker gives up on goes there.
        declare(connection, &Place::Dead.queue(queue), Place::Dead.arguments(queue)).await?;
    }
    declare(connection, &name, place.arguments(queue)).await
}

/// How many messages wait in a queue.
///
/// # Errors
/// The queue cannot be asked about.
pub async fn depth(channel: &Channel, queue: &str) -> Result<u64, Error> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok(u64::from(queue.message_count()))
}

/// Deletes what waits in the queue; answers how many messages that were.
///
/// # Errors
/// The queue cannot be reached.
pub async fn purge(addresses: &[AmqpAddress], settings: &Settings) -> Result<u64, SourceError> {
    let connection = connect(addresses, "clear").await?;
    let trouble = |error: Error| failure(&settings.address.to_string(), &error);
    let channel = connection.create_channel().await.map_err(trouble)?;
    let purged = channel.queue_purge(settings.name.as_str().into(), QueuePurgeOptions::default()).await;
    let purged = purged.map_err(trouble)?;
    let _ = connection.close(200, "done".into()).await;
    Ok(u64::from(purged))
}

/// Whether there is a queue of that name.
///
/// # Errors
/// The broker does not say.
pub async fn queue_exists(connection: &Connection, name: &str) -> Result<bool, SourceError> {
    // Asking for what is not there ends the channel, so each question has one of its own.
    let channel = connection.create_channel().await.map_err(|error| failure(name, &error))?;
    existence(depth(&channel, name).await.map(drop), name)
}

/// Whether there is an exchange of that name.
///
/// # Errors
/// The broker does not say.
pub async fn exchange_exists(connection: &Connection, name: &str) -> Result<bool, SourceError> {
    let channel = connection.create_channel().await.map_err(|error| failure(name, &error))?;
    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let asked = channel.exchange_declare(short(name)?, ExchangeKind::Topic, options, FieldTable::default()).await;
    existence(asked, name)
}

fn existence(asked: Result<(), Error>, name: &str) -> Result<bool, SourceError> {
    match asked {
        Ok(()) => Ok(true),
        Err(error) if is_kind(&error, AMQPSoftError::NOTFOUND) => Ok(false),
        Err(error) => Err(failure(name, &error)),
    }
}

async fn declare(connection: &Connection, name: &str, arguments: FieldTable) -> Result<(), SourceError> {
    declare_on_its_own(connection, name, arguments).await.map_err(|error| failure(&format!("queue {name:?}"), &error))
}

/// Declares a durable queue, on a channel of its own, which a refusal ends.
///
/// # Errors
/// The broker refuses.
pub async fn declare_on_its_own(connection: &Connection, name: &str, arguments: FieldTable) -> Result<(), Error> {
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), durable, arguments).await.map(drop)
}

/// Whether the broker has ended a channel for this reason.
pub fn is_kind(error: &Error, kind: AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol) if *protocol.kind() == AMQPErrorKind::Soft(kind))
}

/// A name as the protocol has it.
///
/// # Errors
/// It is too long.
pub fn short(name: &str) -> Result<ShortString, SourceError> {
    ShortString::try_new(name)
        .map_err(|_| SourceError::Unusable(format!("{name:.40}… is too long for the broker: at most 255 bytes")))
}
