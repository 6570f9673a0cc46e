//! A queue in a RabbitMQ.
//!
//! Two connections: one consumes and acknowledges, the other publishes with confirms. A broker that is short of
//! memory stops reading from a connection that publishes, and acknowledgements on it would hang with it.

mod back_off;
mod connection;
mod flow;
mod gauge;
mod hatch;
mod inbox;
mod grave_headers;
mod graveyard;
mod letter;
mod plan;
mod properties;
mod publisher;
mod session;
mod supervisor;
mod status;
mod survey;
mod topology;
mod watchdog;
mod window;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{AmqpAddress, Letters, Settings, Source, SourceError};
use crate::delivery::{Delivery, Receipt};
use connection::SharedConnection;
use hatch::{HandingOver, Hatch};
use supervisor::{Order, supervise};

pub use graveyard::AmqpGraveyard;
pub use publisher::AmqpPublisher;
pub use status::{look, status};
pub use survey::{parts, survey};
pub use topology::purge;

/// A queue in a RabbitMQ, consumed by a session that is rebuilt whenever it is lost.
pub struct AmqpSource {
    hatch: Arc<Hatch>,
    commands: mpsc::UnboundedSender<Command>,
    publisher: Arc<AmqpPublisher>,
    /// The supervisor; ends with the source.
    tasks: JoinSet<()>,
}

/// What the session is told.
enum Command {
    Settle(Vec<Receipt>),
    Release(Vec<Receipt>),
    Stop,
    Pause,
    Resume,
    Depth(oneshot::Sender<u64>),
    Close(oneshot::Sender<()>),
}

impl AmqpSource {
    /// Begins to consume. At most `prefetch` deliveries are handed out unsettled.
    ///
    /// A broker that does not answer is tried again, for ever; one that refuses us at the first try is an error of
    /// [`next`](Source::next).
    pub fn open(addresses: &[AmqpAddress], settings: &Settings, prefetch: u16) -> Self {
        let (commands, orders) = mpsc::unbounded_channel();
        let (hatch, shared) = (Arc::new(Hatch::new()), SharedConnection::default());
        let publisher = Arc::new(AmqpPublisher::for_letters(addresses, settings, shared.clone()));
        let order = Order { addresses: addresses.to_vec(), settings: settings.clone(), prefetch, shared };
        let mut tasks = JoinSet::new();
        tasks.spawn(supervise(order, HandingOver(Arc::clone(&hatch)), orders));
        Self { hatch, commands, publisher, tasks }
    }

    fn tell(&self, command: Command) {
        // The supervisor only goes when it is told to, or after an error that `next` has answered.
        let _ = self.commands.send(command);
    }
}

#[async_trait]
impl Source for AmqpSource {
    async fn next(&mut self, _max: usize) -> Result<Vec<Delivery>, SourceError> {
        // The prefetch is the bound: the broker sends no more.
        self.hatch.take().await.unwrap_or_else(|| {
            Err(SourceError::Unavailable {
                address: "the broker".to_owned(),
                problem: "nobody keeps the session with it any more, which is a bug in the host".to_owned(),
            })
        })
    }

    fn settle(&mut self, receipts: Vec<Receipt>) {
        self.tell(Command::Settle(receipts));
    }

    fn release(&mut self, receipts: Vec<Receipt>) {
        self.tell(Command::Release(receipts));
    }

    fn stop(&mut self) {
        self.tell(Command::Stop);
        // What arrives from here on the session cannot hand over, and gives back itself.
        let not_taken = self.hatch.close();
        self.tell(Command::Release(not_taken));
    }

    fn pause(&mut self) {
        let not_taken = self.hatch.shut();
        // In this order: what is given back must not be delivered to us again.
        self.tell(Command::Pause);
        self.tell(Command::Release(not_taken));
    }

    fn resume(&mut self) {
        self.hatch.open();
        self.tell(Command::Resume);
    }

    async fn depth(&mut self) -> Result<u64, SourceError> {
        let (answer, depth) = oneshot::channel();
        self.tell(Command::Depth(answer));
        depth.await.map_err(|_| SourceError::Unavailable {
            address: "the broker".to_owned(),
            problem: "there is no session just now".to_owned(),
        })
    }

    fn letters(&self) -> Arc<dyn Letters> {
        Arc::clone(&self.publisher) as Arc<dyn Letters>
    }

    async fn close(mut self: Box<Self>) {
        // What was not taken goes back with the session, if there is one.
        drop(self.hatch.close());
        let (done, closed) = oneshot::channel();
        self.tell(Command::Close(done));
        let _ = closed.await;
        self.publisher.hang_up().await;
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_whose_supervisor_is_gone_says_so_instead_of_waiting_for_ever() {
        let config = crate::Config::from_map([("ckan.site_id", "portal"), ("amqp.url", "amqp://localhost")]).unwrap();
        let commands = mpsc::unbounded_channel().0;
        let hatch = Arc::new(Hatch::new());
        drop(HandingOver(Arc::clone(&hatch)));
        let publisher = Arc::new(AmqpPublisher::for_letters(&[], &config.queue, SharedConnection::default()));
        let mut source = AmqpSource { hatch, commands, publisher, tasks: JoinSet::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(source.next(1)).unwrap_err();
        assert!(error.to_string().contains("nobody keeps the session"), "{error}");
    }

    #[tokio::test]
    async fn a_source_is_closed_at_once_while_the_broker_does_not_answer() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://{}", silent.local_addr().unwrap());
        let config = crate::Config::from_map([("ckan.site_id", "portal"), ("amqp.url", url.as_str())]).unwrap();
        let crate::source::Address::Amqp(addresses) = &config.queue.address else { panic!("it is a broker") };
        let source = Box::new(AmqpSource::open(addresses, &config.queue, 1));
        let _line = silent.accept().await.unwrap();
        // A try to connect is given up much later.
        tokio::time::timeout(std::time::Duration::from_secs(3), source.close()).await.unwrap();
    }
}
