//! What one consumer has received: its messages, and the end of them.

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use lapin::message::Delivery as Message;
use lapin::{Consumer, Error};

/// The messages of a consumer, until they end. The stream says only once that it has ended, and maybe right behind a
/// message, while what else has arrived is gathered: so the end is kept.
pub struct Inbox<S> {
    stream: S,
    end: Option<End>,
}

/// Why a consumer receives no more.
#[derive(Debug)]
pub enum End {
    /// The channel or the connection is lost.
    Error(Error),
    /// The broker has ended it: the queue was deleted, or has moved.
    Cancelled,
}

impl<S: Stream<Item = Result<Message, Error>> + Unpin> Inbox<S> {
    /// An inbox with nothing in it.
    pub fn new(stream: S) -> Self {
        Self { stream, end: None }
    }

    /// Waits for the next message; `None` once they have ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Message> {
        if self.end.is_some() {
            return None;
        }
        let item = self.stream.next().await;
        self.read(item)
    }

    /// Takes a message that has already arrived.
    pub fn arrived(&mut self) -> Option<Message> {
        if self.end.is_some() {
            return None;
        }
        let item = self.stream.next().now_or_never()?;
        self.read(item)
    }

    /// Takes the end, once it has come.
    pub fn take_end(&mut self) -> Option<End> {
        self.end.take()
    }

    fn read(&mut self, item: Option<Result<Message, Error>>) -> Option<Message> {
        let end = match item {
            Some(Ok(message)) => return Some(message),
            Some(Err(error)) => End::Error(error),
            None => End::Cancelled,
        };
        self.end = Some(end);
        None
    }
}

/// Waits for the next message; for ever while nothing is consumed.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped.
pub async fn next(inbox: &mut Option<Inbox<Consumer>>) -> Option<Message> {
    match inbox {
        Some(inbox) => inbox.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, iter};
    use lapin::ErrorKind;

    use super::*;

    type Item = Result<Message, Error>;

    #[expect(clippy::unnecessary_wraps, reason = "as the stream has it")]
    fn message(tag: u64) -> Item {
        Ok(Message::mock(tag, "portal".into(), "Package".into(), false, b"{}".to_vec()))
    }

    fn lost() -> Item {
        Err(ErrorKind::MissingHeartbeatError.into())
    }

    /// The tags that are taken as a session takes them, and the end.
    fn taken(items: Vec<Item>) -> (Vec<u64>, Option<End>) {
        // A stream that is asked again behind its end does not answer at all, as lapin's.
        let mut inbox = Inbox::new(iter(items).chain(iter([lost()])).chain(stream::pending()));
        let mut tags = Vec::new();
        while let Some(first) = inbox.next().now_or_never().flatten() {
            tags.push(first.delivery_tag);
            while let Some(message) = inbox.arrived() {
                tags.push(message.delivery_tag);
            }
        }
        (tags, inbox.take_end())
    }

    #[test]
    fn an_end_right_behind_a_message_is_not_overlooked() {
        let (tags, end) = taken(vec![message(1), message(2)]);
        assert_eq!(tags, [1, 2]);
        assert!(matches!(end, Some(End::Error(_))), "{end:?}");
    }

    #[test]
    fn the_first_end_is_the_one_that_is_told() {
        let (tags, end) = taken(vec![message(1), lost(), message(2)]);
        assert_eq!(tags, [1]);
        assert!(matches!(end, Some(End::Error(_))), "{end:?}");
    }

    #[test]
    fn a_consumer_that_the_broker_has_ended_is_over_too() {
        let mut inbox = Inbox::new(iter([message(1)]));
        assert_eq!(inbox.arrived().map(|message| message.delivery_tag), Some(1));
        assert!(inbox.arrived().is_none());
        assert!(matches!(inbox.take_end(), Some(End::Cancelled)));
    }

    #[test]
    fn nothing_has_arrived_is_no_end() {
        let mut inbox = Inbox::new(iter([message(1)]).chain(stream::pending()));
        assert!(inbox.arrived().is_some());
        assert!(inbox.arrived().is_none() && inbox.take_end().is_none());
    }
}
