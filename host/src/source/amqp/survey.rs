//! How what a queue needs stands at the broker: asked without changing anything.

use lapin::options::ExchangeDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Connection, Error, ErrorKind, ExchangeKind};

use super::connection::{connect, failure, set_up};
use super::plan::{self, unbound_mark};
use super::topology::{declare_on_its_own, exchange_exists, is_kind, queue_exists, short};
use crate::source::topology::{Kind, Part, Standing};
use crate::source::{AmqpAddress, Settings, SourceError};

/// What the worker uses at the broker.
pub fn parts(settings: &Settings) -> Vec<Part> {
    plan::parts(settings).into_iter().map(|(part, _)| part).collect()
}

/// Looks how each of them stands.
///
/// # Errors
/// The broker cannot be reached.
pub async fn survey(addresses: &[AmqpAddress], settings: &Settings) -> Result<Vec<(Part, Standing)>, SourceError> {
    let connection = connect(addresses, "check").await?;
    let address = settings.address.to_string();
    let standings = set_up(&address, async {
        let mut standings = Vec::new();
        for (part, arguments) in plan::parts(settings) {
            let standing = match part.kind {
                Kind::Exchange => exchange(&connection, settings).await?,
                Kind::Binding => binding(&connection, settings).await?,
                Kind::Queue | Kind::File | Kind::Rows => queue(&connection, settings, &part.name, arguments).await?,
            };
            standings.push((part, standing));
        }
        Ok(standings)
    });
    let standings = standings.await;
    let _ = connection.close(200, "done".into()).await;
    standings
}

async fn queue(
    connection: &Connection,
    settings: &Settings,
    name: &str,
    arguments: Vec<FieldTable>,
) -> Result<Standing, SourceError> {
    if !queue_exists(connection, name).await? {
        // Letters need their places, whoever has made the queue itself.
        let is_made = settings.create || name != settings.name;
        return Ok(if is_made { Standing::ToBeMade } else { not_made() });
    }
    // To declare what exists changes nothing, and tells whether it is as we would make it.
    let mut differs = None;
    for arguments in arguments {
        match compared(declare_on_its_own(connection, name, arguments).await, name)? {
            Standing::Differs(how) => differs = Some(how),
            other => return Ok(other),
        }
    }
    Ok(differs.map_or(Standing::There, Standing::Differs))
}

async fn exchange(connection: &Connection, settings: &Settings) -> Result<Standing, SourceError> {
    let name = settings.exchange.as_str();
    if exchange_exists(connection, name).await? {
        let channel = connection.create_channel().await.map_err(|error| failure(name, &error))?;
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let declared =
            channel.exchange_declare(short(name)?, ExchangeKind::Topic, options, FieldTable::default()).await;
        return compared(declared, name);
    }
    Ok(match (settings.create, queue_exists(connection, &settings.name).await?) {
        (false, _) => not_made(),
        (true, false) => Standing::ToBeMade,
        (true, true) => Standing::Missing(
            "the queue is there, so the worker makes nothing; CKAN makes it when it \
                                           publishes, but nothing is bound to it then"
                .to_owned(),
        ),
    })
}

async fn binding(connection: &Connection, settings: &Settings) -> Result<Standing, SourceError> {
    let is_there = queue_exists(connection, &settings.name).await?;
    let is_marked = queue_exists(connection, &unbound_mark(&settings.name)).await?;
    Ok(match (is_there, is_marked) {
        (true, false) => Standing::Unseen(
            "the protocol does not list bindings; `rabbitmqctl list_bindings` does. The worker leaves them as they are"
                .to_owned(),
        ),
        _ if settings.create => Standing::ToBeMade,
        (true, true) => Standing::Missing(
            "whoever made the queue did not come to bind it, and `queue.create` is off \
                                           now"
            .to_owned(),
        ),
        (false, _) => not_made(),
    })
}

/// What a declaration of something that exists tells about it.
fn compared(declared: Result<(), Error>, name: &str) -> Result<Standing, SourceError> {
    let error = match declared {
        Ok(()) => return Ok(Standing::There),
        Err(error) => error,
    };
    let text = match error.kind() {
        ErrorKind::ProtocolError(protocol) => protocol.get_message().to_string(),
        _ => return Err(failure(name, &error)),
    };
    if is_kind(&error, AMQPSoftError::PRECONDITIONFAILED) {
        return Ok(Standing::Differs(text));
    }
    Ok(Standing::Unseen(format!("it is there, and how it was made cannot be asked: {text}")))
}

fn not_made() -> Standing {
    Standing::Missing("`queue.create` is off, so the worker does not make it".to_owned())
}
