//! Exchange, queue and binding: looked for first, and only made where they are missing.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, Error, ErrorKind, ExchangeKind};

use super::connection::{connect, failure};
use crate::source::{AmqpAddress, Settings, SourceError};

/// How often the broker itself hands a message out again before it sets it aside: the net under our own.
const DELIVERY_LIMIT: i64 = 20;

/// The name of the queue that dead letters are kept in.
pub fn dead_queue(queue: &str) -> String {
    format!("{queue}.dead")
}

/// Makes sure that there is something to consume: an existing queue is used as it is, whatever its type.
///
/// # Errors
/// Something is missing and must or can not be made.
pub async fn ensure(connection: &Connection, settings: &Settings) -> Result<(), SourceError> {
    let trouble = |error: Error| failure(&settings.address.to_string(), &error);
    if queue_exists(connection, &settings.name).await? {
        return Ok(());
    }
    if !settings.create {
        let (name, address) = (&settings.name, &settings.address);
        return Err(SourceError::Unusable(format!(
            "queue {name:?} does not exist at {address}, and `queue.create` is off; create it or switch that on"
        )));
    }
    ensure_dead_queue(connection, &settings.name).await?;
    if !exchange_exists(connection, &settings.exchange).await? {
        let channel = connection.create_channel().await.map_err(trouble)?;
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let (name, table) = (settings.exchange.as_str().into(), FieldTable::default());
        channel.exchange_declare(name, ExchangeKind::Topic, options, table).await.map_err(trouble)?;
    }
    let channel = connection.create_channel().await.map_err(trouble)?;
    let name = settings.name.as_str();
    channel.queue_declare(name.into(), durable(), queue_arguments(name)).await.map_err(trouble)?;
    let (exchange, key) = (settings.exchange.as_str().into(), settings.routing_key.as_str().into());
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(name.into(), exchange, key, options, table).await.map_err(trouble)?;
    tracing::info!("created queue {name} and bound it to exchange {}", settings.exchange);
    Ok(())
}

/// Makes sure that there is a queue for dead letters.
///
/// # Errors
/// It is missing and can not be made.
pub async fn ensure_dead_queue(connection: &Connection, queue: &str) -> Result<(), SourceError> {
    let name = dead_queue(queue);
    if queue_exists(connection, &name).await? {
        return Ok(());
    }
    let trouble = |error: Error| failure(&name, &error);
    let channel = connection.create_channel().await.map_err(trouble)?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    channel.queue_declare(name.as_str().into(), durable(), arguments).await.map_err(trouble)?;
    Ok(())
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

/// Looks whether the queue is there, changing nothing; answers how many messages wait in it.
///
/// # Errors
/// The broker cannot be reached.
pub async fn look(addresses: &[AmqpAddress], settings: &Settings) -> Result<Option<u64>, SourceError> {
    let connection = connect(addresses, "look").await?;
    let trouble = |error: &Error| failure(&settings.address.to_string(), error);
    let channel = connection.create_channel().await.map_err(|error| trouble(&error))?;
    let depth = match depth(&channel, &settings.name).await {
        Ok(depth) => Some(depth),
        Err(error) if is_not_found(&error) => None,
        Err(error) => return Err(trouble(&error)),
    };
    let _ = connection.close(200, "done".into()).await;
    Ok(depth)
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

async fn queue_exists(connection: &Connection, name: &str) -> Result<bool, SourceError> {
    // Asking for what is not there ends the channel, so each question has one of its own.
    let channel = connection.create_channel().await.map_err(|error| failure(name, &error))?;
    existence(depth(&channel, name).await.map(drop), name)
}

async fn exchange_exists(connection: &Connection, name: &str) -> Result<bool, SourceError> {
    let channel = connection.create_channel().await.map_err(|error| failure(name, &error))?;
    let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let asked = channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default()).await;
    existence(asked, name)
}

fn existence(asked: Result<(), Error>, name: &str) -> Result<bool, SourceError> {
    match asked {
        Ok(()) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(failure(name, &error)),
    }
}

fn is_not_found(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol)
        if *protocol.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// A queue of ours loses nothing: what the broker gives up on, it keeps as a dead letter.
fn queue_arguments(name: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(&dead_queue(name)));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
