//! Connecting to a RabbitMQ, and what its errors mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionProperties, Error, ErrorKind};
use secrecy::ExposeSecret as _;

use crate::seed::Fault;
use crate::source::{AmqpAddress, SourceError};

/// How often both sides show that they are there. The library looks every half of it whether twice of it have passed in
/// silence: after 20 seconds at the latest a line that says nothing is given up.
const HEARTBEAT_SECONDS: u16 = 8;

/// How long the broker may take to answer a question. Heartbeats do not show that one is missing.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a broker that has taken a connection may take to set up what we need on it.
const SET_UP_MAX: Duration = Duration::from_secs(30);

/// How long one try to connect may take: as long as a broker itself waits for us while we do.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long the broker may take to say that a connection has ended.
pub const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Connects to the first of the addresses that answers.
///
/// # Errors
/// None answers, or the last that did refuses us.
pub async fn connect(addresses: &[AmqpAddress], role: &str) -> Result<Connection, SourceError> {
    let mut last = SourceError::Unusable("no broker is named".to_owned());
    for address in addresses {
        match connect_to(address, role).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(address: &AmqpAddress, role: &str) -> Result<Connection, SourceError> {
    let uri = AMQPUri {
        scheme: if address.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: address.user.clone(),
                password: address.password.expose_secret().to_owned(),
            },
            host: address.host.clone(),
            port: address.port,
        },
        vhost: address.virtual_host.clone(),
        query: AMQPQueryString { heartbeat: Some(HEARTBEAT_SECONDS), ..AMQPQueryString::default() },
    };
    // Without lapin's own recovery: after an error on a channel it leaves the consumer pending for ever.
    let mut properties = ConnectionProperties::default().with_connection_name(format!("ckan-worker {role}").into());
    if Fault::AutoRecover.is_on() {
        properties = properties.enable_auto_recover();
    }
    match tokio::time::timeout(CONNECT_MAX, Connection::connect_uri(uri, properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(failure(&address.to_string(), &error)),
        Err(_) => Err(SourceError::Unavailable {
            address: address.to_string(),
            problem: format!("no answer within {CONNECT_MAX:?}"),
        }),
    }
}

/// The connection that consumes, for whoever is to publish on it too. Only a seeded fault does: it is always empty
/// otherwise.
#[derive(Clone, Default)]
pub struct SharedConnection(Arc<Mutex<Option<Arc<Connection>>>>);

impl SharedConnection {
    /// Shares a connection, if that fault is on.
    pub fn set(&self, connection: &Arc<Connection>) {
        if Fault::OneConnection.is_on() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(connection));
        }
    }

    /// The connection that is shared.
    pub fn get(&self) -> Option<Arc<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sets something up on a fresh connection, but does not wait for ever: heartbeats do not show that an answer is missing.
///
/// # Errors
/// Those of `work`, or it takes too long.
pub async fn set_up<T>(address: &str, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
    let problem = || format!("connected, but not set up within {SET_UP_MAX:?}");
    let too_late = |_| SourceError::Unavailable { address: address.to_owned(), problem: problem() };
    tokio::time::timeout(SET_UP_MAX, work).await.map_err(too_late)?
}

/// Waits for the broker's answer, but not for ever.
///
/// # Errors
/// Those of the question, or no answer comes in time.
pub async fn answered<T>(question: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(ANSWER_MAX, question).await.unwrap_or_else(|_| {
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {ANSWER_MAX:?}"));
        Err(ErrorKind::IOError(Arc::new(late)).into())
    })
}

/// What an error of the broker's or of the connection means for us.
pub fn failure(address: &str, error: &Error) -> SourceError {
    let address = address.to_owned();
    if let ErrorKind::ProtocolError(protocol) = error.kind() {
        let text = protocol.get_message();
        let refused = matches!(
            protocol.kind(),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
        );
        if refused {
            let problem = format!("RabbitMQ refuses: {text}; look at user, password, virtual host and permissions");
            return SourceError::Refused { address, problem };
        }
        return SourceError::Unavailable { address, problem: text.to_string() };
    }
    SourceError::Unavailable { address, problem: error.to_string() }
}
