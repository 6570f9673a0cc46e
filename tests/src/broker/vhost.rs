//! What a test sees and does in its virtual host.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind};

use super::{Broker, Reached, amqp};

/// A virtual host of its own for one test. With a broker that was named by a URL it is that URL's, shared: the names
/// from [`unique`](Vhost::unique) keep tests apart there too.
pub struct Vhost<'a> {
    broker: &'a Broker,
    url: String,
    name: String,
    /// Queues and exchanges made through the rig, to be removed where they would outlive the run.
    made: Mutex<Vec<Made>>,
}

enum Made {
    Queue(String),
    Exchange(String),
}

/// A message as it lay on a queue.
#[derive(Debug, Clone)]
pub struct Message {
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// Whether the broker says that it was delivered before.
    pub redelivered: bool,
    /// Its properties, with the headers.
    pub properties: BasicProperties,
    /// Its body, byte for byte.
    pub body: Vec<u8>,
}

impl Message {
    /// A header as text; numbers are written out; `None` if there is none of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.properties.headers().as_ref()?.inner().get(name)?;
        if let Some(text) = value.as_long_string() {
            return Some(text.to_string());
        }
        if let Some(text) = value.as_short_string() {
            return Some(text.to_string());
        }
        // The numbers have one type for each width; their JSON is the number.
        serde_json::to_value(value).ok().map(|json| match json {
            serde_json::Value::Object(map) if map.len() == 1 => {
                map.into_iter().next().map_or_else(String::new, |(_, value)| value.to_string())
            }
            other => other.to_string(),
        })
    }
}

impl<'a> Vhost<'a> {
    pub(super) fn new(broker: &'a Broker, name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        if let Reached::Node(_) = &broker.reached {
            broker.eval(&format!(
                "rabbit_vhost:add(<<\"{name}\">>, <<\"rig\">>), rabbit_auth_backend_internal:set_permissions(\
                 <<\"guest\">>, <<\"{name}\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"rig\">>)."
            ));
        }
        Self { broker, url: broker.url(&name), name, made: Mutex::default() }
    }

    /// Its address, for the setting `queue.url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A name that no other test uses, beginning with `name`: for sites and queues.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}.{}", self.name)
    }

    /// Makes what the worker of 2011 made: a durable topic exchange, a durable classic queue, the binding `*`.
    pub fn declare_old_topology(&self, exchange: &str, queue: &str) {
        self.on_channel("declare the topology of 2011", async |channel| {
            let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
            channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(queue.into(), durable, FieldTable::default()).await?;
            let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
            channel.queue_bind(queue.into(), exchange.into(), "*".into(), bind, none).await
        });
        self.remember(Made::Exchange(exchange.to_owned()));
        self.remember(Made::Queue(queue.to_owned()));
    }

    /// Declares a durable queue with arguments, as in `x-queue-type`.
    pub fn declare_queue(&self, queue: &str, arguments: FieldTable) {
        self.on_channel("declare a queue", async |channel| {
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(queue.into(), durable, arguments).await.map(drop)
        });
        self.remember(Made::Queue(queue.to_owned()));
    }

    /// Binds a queue to an exchange.
    pub fn bind(&self, queue: &str, exchange: &str, key: &str) {
        self.on_channel("bind a queue", async |channel| {
            let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
            channel.queue_bind(queue.into(), exchange.into(), key.into(), bind, none).await
        });
    }

    /// Publishes bodies, persistent, one after another, and returns when the broker has confirmed them all.
    pub fn publish<B: AsRef<[u8]>>(&self, exchange: &str, routing_key: &str, bodies: impl IntoIterator<Item = B>) {
        self.publish_as(exchange, routing_key, &BasicProperties::default().with_delivery_mode(2), bodies);
    }

    /// As [`publish`](Self::publish), with properties and headers of the caller's.
    pub fn publish_as<B: AsRef<[u8]>>(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &BasicProperties,
        bodies: impl IntoIterator<Item = B>,
    ) {
        let bodies: Vec<Vec<u8>> = bodies.into_iter().map(|body| body.as_ref().to_vec()).collect();
        self.on_channel("publish", async |channel| {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let mut confirms = Vec::with_capacity(bodies.len());
            let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
            for body in &bodies {
                let (exchange, key) = (exchange.into(), routing_key.into());
                confirms.push(channel.basic_publish(exchange, key, mandatory, body, properties.clone()).await?);
            }
            for confirm in confirms {
                match confirm.await? {
                    Confirmation::Ack(None) => {}
                    other => panic!("{exchange} with the key {routing_key} reaches no queue: {other:?}"),
                }
            }
            Ok(())
        });
    }

    /// How many messages lie on the queue, ready; `None` if there is no such queue.
    pub fn ready(&self, queue: &str) -> Option<u32> {
        if let Reached::Node(_) = &self.broker.reached {
            return self.ready_in_node(queue);
        }
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = amqp::on_channel(&self.url, async |channel: Channel| {
            channel.queue_declare(queue.into(), passive, FieldTable::default()).await
        });
        match declared {
            Ok(queue) => Some(queue.message_count()),
            Err(error) if error.to_string().contains("NOT_FOUND") => None,
            Err(error) => panic!("cannot look at the queue {queue}: {error}"),
        }
    }

    /// As [`ready`](Self::ready), without a connection: tests ask often.
    fn ready_in_node(&self, queue: &str) -> Option<u32> {
        let answer = self.broker.eval(&format!(
            "case rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"{queue}\">>)) of \
             {{ok, Q}} -> {{ok, N, _}} = rabbit_queue_type:stat(Q), N; _ -> missing end.",
            self.name
        ));
        match answer.as_str() {
            "missing" => None,
            count => Some(count.parse().unwrap_or_else(|_| panic!("the node says {answer:?} of the queue {queue}"))),
        }
    }

    /// How many messages are delivered and not yet settled.
    ///
    /// # Panics
    /// There is no such queue, or the broker was named by a URL: only a node of our own can be asked.
    pub fn unacked(&self, queue: &str) -> u32 {
        let answer = self.broker.eval(&format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"{queue}\">>)), \
             [{{_, N}}] = rabbit_amqqueue:info(Q, [messages_unacknowledged]), N.",
            self.name
        ));
        answer.parse().unwrap_or_else(|_| panic!("the node says {answer:?} of the queue {queue}"))
    }

    /// Takes everything off the queue that is ready.
    pub fn drain(&self, queue: &str) -> Vec<Message> {
        self.on_channel("drain a queue", async |channel| get_all(&channel, queue, true).await)
    }

    /// Looks at everything on the queue that is ready, and leaves it there.
    pub fn peek(&self, queue: &str) -> Vec<Message> {
        self.on_channel("look at a queue", async |channel| {
            let messages = get_all(&channel, queue, false).await?;
            // At once, and not some time after the connection has ended: somebody may look again.
            let all = BasicNackOptions { multiple: true, requeue: true };
            channel.basic_nack(0, all).await?;
            Ok(messages)
        })
    }

    /// Deletes a queue with all that lies on it.
    pub fn delete_queue(&self, queue: &str) {
        self.on_channel("delete a queue", async |channel| {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.map(drop)
        });
    }

    /// Closes all connections to this virtual host, as an operator would; answers how many there were.
    pub fn close_all_connections(&self, reason: &str) -> u32 {
        let answer = self.broker.eval(&format!(
            "Pids = [P || [{{pid, P}}, {{vhost, V}}] <- rabbit_networking:connection_info_all([pid, vhost]), \
             V =:= <<\"{}\">>], [rabbit_networking:close_connection(P, \"{reason}\") || P <- Pids], length(Pids).",
            self.name
        ));
        answer.parse().unwrap_or_else(|_| panic!("the node says {answer:?} of its connections"))
    }

    fn on_channel<T: Send, F>(&self, what: &str, work: impl FnOnce(Channel) -> F + Send) -> T
    where
        F: Future<Output = lapin::Result<T>> + Send,
    {
        amqp::on_channel(&self.url, work).unwrap_or_else(|error| panic!("cannot {what}: {error}"))
    }

    fn remember(&self, made: Made) {
        self.made.lock().expect("no test panics while it holds this").push(made);
    }
}

async fn get_all(channel: &Channel, queue: &str, and_ack: bool) -> lapin::Result<Vec<Message>> {
    let mut messages = Vec::new();
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
        let delivery = got.delivery;
        if and_ack {
            delivery.acker.ack(BasicAckOptions::default()).await?;
        }
        messages.push(Message {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            redelivered: delivery.redelivered,
            properties: delivery.properties,
            body: delivery.data,
        });
    }
    Ok(messages)
}

impl Drop for Vhost<'_> {
    fn drop(&mut self) {
        match self.broker.log_dir() {
            Some(log) if std::thread::panicking() => crate::say(&format!("the broker's log: {}", log.display())),
            Some(_) => {}
            None => self.remove_made(),
        }
    }
}

impl Vhost<'_> {
    /// Leaves a stranger's broker as it was.
    fn remove_made(&self) {
        let Ok(mut made) = self.made.lock() else { return };
        let made = std::mem::take(&mut *made);
        // The test has passed or failed already; what cannot be removed now stays.
        let _ = amqp::on_channel(&self.url, async |channel: Channel| {
            for thing in made {
                match thing {
                    Made::Queue(queue) => {
                        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
                    }
                    Made::Exchange(name) => {
                        channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await?;
                    }
                }
            }
            Ok(())
        });
    }
}
