//! A RabbitMQ for tests: found, or installed and started on loopback, and ended with the test run.
//!
//! One node serves a whole `cargo test`: the first test binary that needs it starts it, and a guardian ends it, by
//! pid, when cargo has ended, however that came. A test binary that was started without cargo has a node of its own.

pub(crate) mod amqp;
mod node;
mod vhost;

use std::process::Child;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub use vhost::{Message, Vhost};

use crate::wait::FileLock;
use crate::{cargo_test, places};
use node::Node;

/// Names a broker to use instead of a private one.
pub const URL_VARIABLE: &str = "CKAN_WORKER_TEST_AMQP_URL";

/// Set to `1`, leaves out the tests that need a broker.
pub const LEAVE_OUT_VARIABLE: &str = "CKAN_WORKER_TEST_NO_BROKER";

/// A RabbitMQ that tests may use as they like.
pub struct Broker {
    reached: Reached,
    /// Ends the node when the broker is dropped; `None` if it belongs to the whole run.
    guardian: Option<Child>,
}

/// How the broker is reached.
enum Reached {
    Url(String),
    Node(Node),
}

impl Broker {
    /// The broker of this test run; `None`, said in capitals, if the tests that need it are to be left out.
    ///
    /// # Panics
    /// There is none and none can be started: the message is the one command to type.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Broker, String>> = OnceLock::new();
        if cargo_test::left_out(LEAVE_OUT_VARIABLE, "A BROKER") {
            return None;
        }
        match SHARED.get_or_init(Self::find) {
            Ok(broker) => Some(broker),
            Err(problem) => panic!("{problem}\nor leave the broker out: {LEAVE_OUT_VARIABLE}=1 cargo test"),
        }
    }

    /// A node for one test alone, which may stop and break it; ended when dropped. It takes seven seconds.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub fn private() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if cargo_test::left_out(LEAVE_OUT_VARIABLE, "A BROKER") {
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = places::scratch().join(format!("broker-{}-{number}", std::process::id()));
        match Node::start(&dir, std::process::id()) {
            Ok((node, guardian)) => Some(Self { reached: Reached::Node(node), guardian: Some(guardian) }),
            Err(problem) => panic!("{problem}\nor leave the broker out: {LEAVE_OUT_VARIABLE}=1 cargo test"),
        }
    }

    /// A virtual host of its own for one test, empty; its name begins with `name`.
    pub fn vhost(&self, name: &str) -> Vhost<'_> {
        Vhost::new(self, name)
    }

    /// Evaluates an Erlang expression in the node.
    ///
    /// # Panics
    /// The broker was named by a URL, or the node complains.
    pub fn eval(&self, expression: &str) -> String {
        self.node().eval(expression).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Runs `rabbitmqctl`, as in `["set_vm_memory_high_watermark", "0"]`.
    ///
    /// # Panics
    /// The broker was named by a URL, or the command fails.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        self.node().ctl(arguments).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Stops RabbitMQ but not its Erlang node: connections close, and nobody can connect.
    pub fn stop_app(&self) {
        self.eval("rabbit:stop().");
    }

    /// Starts RabbitMQ again, and waits until it takes connections.
    pub fn start_app(&self) {
        self.eval("rabbit:start().");
        let url = self.url("%2f");
        assert!(
            crate::wait::eventually(std::time::Duration::from_secs(30), || amqp::answers(&url)),
            "the node takes no connections after its start, see {}",
            self.node().log_dir().display()
        );
    }

    /// Kills the node of a private broker and has it started again on what it has left; returns before it is back.
    ///
    /// # Panics
    /// The broker is no private one.
    pub fn kill_and_restart(&self) {
        let guardian = self.guardian.as_ref().expect("only a private node may be killed");
        let dead = node::ask_guardian_to_restart(guardian, &self.url("%2f"));
        assert!(dead, "the node was killed, and still answers; see {}", self.node().log_dir().display());
    }

    /// Waits until the node takes connections.
    ///
    /// # Panics
    /// It takes none in time.
    pub fn wait_until_up(&self) {
        let url = self.url("%2f");
        assert!(
            crate::wait::eventually(std::time::Duration::from_secs(90), || amqp::answers(&url)),
            "the node takes no connections, see {}",
            self.node().log_dir().display()
        );
    }

    /// Where the node writes its logs; `None` if the broker was named by a URL. They are kept until a later run.
    pub fn log_dir(&self) -> Option<std::path::PathBuf> {
        match &self.reached {
            Reached::Url(_) => None,
            Reached::Node(node) => Some(node.log_dir()),
        }
    }

    fn url(&self, vhost: &str) -> String {
        match &self.reached {
            Reached::Url(url) => url.clone(),
            Reached::Node(node) => node.url(vhost),
        }
    }

    fn node(&self) -> &Node {
        match &self.reached {
            Reached::Node(node) => node,
            Reached::Url(_) => panic!("this test needs a node of its own: run it without {URL_VARIABLE}"),
        }
    }

    fn find() -> Result<Self, String> {
        if let Ok(url) = std::env::var(URL_VARIABLE) {
            if !amqp::answers(&url) {
                return Err(format!("the broker that {URL_VARIABLE} names does not answer"));
            }
            return Ok(Self { reached: Reached::Url(url), guardian: None });
        }
        let owner = cargo_test::owner();
        let scratch = places::scratch();
        let dir = scratch.join(format!("broker-{owner}"));
        let _lock = FileLock::acquire(&scratch.join(format!("broker-{owner}.lock")));
        if let Some(node) = Node::running_in(&dir) {
            return Ok(Self { reached: Reached::Node(node), guardian: None });
        }
        cargo_test::sweep(&scratch);
        // The guardian outlives this test binary: the next one uses the same node.
        let (node, _guardian) = Node::start(&dir, owner)?;
        Ok(Self { reached: Reached::Node(node), guardian: None })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(guardian) = &mut self.guardian {
            node::end_guardian(guardian);
        }
    }
}
