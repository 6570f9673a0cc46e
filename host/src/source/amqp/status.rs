//! How a queue at a RabbitMQ stands.

use lapin::Connection;
use lapin::protocol::AMQPSoftError;

use super::connection::{connect, failure};
use super::plan::Place;
use super::topology::{depth, is_kind};
use crate::retry::rung_name;
use crate::source::{AmqpAddress, QueueStatus, Settings, SourceError};

/// Looks how the queue stands, changing nothing.
///
/// # Errors
/// The broker cannot be reached.
pub async fn status(addresses: &[AmqpAddress], settings: &Settings) -> Result<QueueStatus, SourceError> {
    let connection = connect(addresses, "look").await?;
    let queue = settings.name.as_str();
    let mut rungs = Vec::new();
    for rung in settings.ladder.rungs() {
        let waiting = ready(&connection, settings, &Place::Rung(*rung).queue(queue)).await?;
        rungs.push((rung_name(*rung), waiting));
    }
    let status = QueueStatus {
        ready: ready(&connection, settings, queue).await?,
        in_hand: None,
        rungs,
        dead: ready(&connection, settings, &Place::Dead.queue(queue)).await?,
        backfill: ready(&connection, settings, &Place::Lane.queue(queue)).await?,
    };
    let _ = connection.close(200, "done".into()).await;
    Ok(status)
}

/// Looks whether the queue is there, changing nothing; answers how many messages wait in it.
///
/// # Errors
/// The broker cannot be reached.
pub async fn look(addresses: &[AmqpAddress], settings: &Settings) -> Result<Option<u64>, SourceError> {
    let connection = connect(addresses, "look").await?;
    let waiting = ready(&connection, settings, &settings.name).await?;
    let _ = connection.close(200, "done".into()).await;
    Ok(waiting)
}

/// How many messages are ready in a queue; `None` if there is no such queue.
pub(super) async fn ready(
    connection: &Connection,
    settings: &Settings,
    queue: &str,
) -> Result<Option<u64>, SourceError> {
    let trouble = |error| failure(&settings.address.to_string(), &error);
    // Asking for what is not there ends the channel, so each question has one of its own.
    let channel = connection.create_channel().await.map_err(trouble)?;
    match depth(&channel, queue).await {
        Ok(depth) => {
            channel.close(200, "done".into()).await.map_err(trouble)?;
            Ok(Some(depth))
        }
        Err(error) if is_kind(&error, AMQPSoftError::NOTFOUND) => Ok(None),
        Err(error) => Err(trouble(error)),
    }
}
