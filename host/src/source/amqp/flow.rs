//! Whether the broker takes messages: one that is short of memory or disk says that it does not, for a while.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{Connection, ConnectionStatus, Event};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often it is looked at whether a connection that is blocked is still there at all.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the broker has said about taking messages; only its own word counts.
#[derive(Default)]
pub struct Flow {
    word: watch::Sender<Option<Blocked>>,
}

/// The broker's word on a connection.
struct Blocked {
    reason: String,
    /// The connection it was said on; with that it ends.
    on: ConnectionStatus,
}

/// Listens to a connection for as long as it is kept.
pub struct Listening(#[expect(dead_code, reason = "its task ends with it")] JoinSet<()>);

impl Flow {
    /// Listens to what the broker says on this connection. Needs a runtime around.
    pub fn listen(&self, connection: &Arc<Connection>) -> Listening {
        let (word, status, events) = (self.word.clone(), connection.status().clone(), connection.events_listener());
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut events = pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Event::ConnectionBlocked(reason) => {
                        tracing::warn!("the broker takes no messages: {reason}; what has failed waits until it does");
                        word.send_replace(Some(Blocked { reason, on: status.clone() }));
                    }
                    Event::ConnectionUnblocked => {
                        tracing::info!("the broker takes messages again");
                        word.send_replace(None);
                    }
                    _ => {}
                }
            }
        });
        Listening(listening)
    }

    /// Why the broker takes no messages just now, if it has said so.
    pub fn blocked(&self) -> Option<String> {
        let word = self.word.borrow();
        word.as_ref().filter(|word| word.on.connected() && word.on.blocked()).map(|word| word.reason.clone())
    }

    /// Waits while the broker takes no messages. What is sent meanwhile would only wait elsewhere, and might still
    /// arrive after we have gone.
    pub async fn opened(&self) {
        let mut word = self.word.subscribe();
        while self.blocked().is_some() {
            let _ = tokio::time::timeout(LOOK_AGAIN, word.changed()).await;
        }
    }

    /// Waits for the broker's answer to a message, for `max`; `None` if there is none. While the broker takes no
    /// messages that time does not pass: it has the message already, or it will, and answers later. Sent once more on
    /// another connection, it would be there twice.
    pub async fn patiently<T>(&self, max: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        loop {
            let was_blocked = self.blocked().is_some();
            match tokio::time::timeout(max, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if was_blocked || self.blocked().is_some() => {}
                Err(_) => return None,
            }
        }
    }
}
