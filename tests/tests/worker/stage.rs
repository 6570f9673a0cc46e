//! What each of these tests stands on: a queue, and a worker that is set up for it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use worker_tests::{Broker, Consumed, Message, Vhost, WorkerProcess, built, consumed, eventually};

/// For what happens at once, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(20);

/// For what takes its time.
pub const LATER: Duration = Duration::from_secs(60);

/// A virtual host with the names of a site and a queue, and a worker configured for them.
pub struct Stage<'a> {
    pub vhost: Vhost<'a>,
    pub site: String,
    pub queue: String,
    pub worker: WorkerProcess,
    broker: &'a Broker,
}

impl<'a> Stage<'a> {
    /// A stage with an empty virtual host; `settings` are lines of the section `[worker]`.
    pub fn bare(broker: &'a Broker, name: &str, settings: &str) -> Self {
        let vhost = broker.vhost(name);
        let (site, queue) = (vhost.unique("site"), vhost.unique("queue"));
        let worker = WorkerProcess::with_config("");
        let stage = Self { vhost, site, queue, worker, broker };
        stage.configure(stage.vhost.url(), settings);
        stage
    }

    /// A stage with the exchange, the classic queue and the binding of 2011.
    pub fn old(broker: &'a Broker, name: &str, settings: &str) -> Self {
        let stage = Self::bare(broker, name, settings);
        stage.vhost.declare_old_topology(&stage.site, &stage.queue);
        stage
    }

    /// Writes the configuration anew; `settings` may go on with sections of its own.
    pub fn configure(&self, url: &str, settings: &str) {
        let (site, queue, plugins) = (&self.site, &self.queue, built().plugin_dir.display());
        let journal = self.journal();
        let mut text = format!(
            "[worker]\nckan.site_id = {site}\namqp.url = {url}\nqueue.name = {queue}\nplugin_dir = {plugins}\n\
             {settings}\n"
        );
        for actor in ["[worker:actor]", "[worker:actor2]"] {
            if !settings.contains(actor) {
                text.extend([actor, "\njournal = ", journal.to_str().unwrap(), "\n"]);
            }
        }
        std::fs::write(self.worker.path("worker.cfg"), text).unwrap();
    }

    /// Publishes to the exchange, each by the routing key that it has.
    pub fn publish(&self, bodies: impl IntoIterator<Item = Value>) {
        for body in bodies {
            let key = body["routing_key"].as_str().unwrap().to_owned();
            self.vhost.publish(&self.site, &key, [body.to_string()]);
        }
    }

    /// Publishes many about datasets to the exchange, at once.
    pub fn publish_packages(&self, bodies: impl IntoIterator<Item = Value>) {
        self.vhost.publish(&self.site, "Package", bodies.into_iter().map(|body| body.to_string()));
    }

    /// Runs workers until the queue is empty, and expects that to go well.
    pub fn run_until_empty(&mut self, workers: &[&str]) {
        self.worker.start(["--until-empty"].iter().chain(workers));
        let status = self.worker.wait(LATER);
        assert!(status.success(), "{status}\n{}", self.worker.report());
        self.assert_settled();
    }

    /// Nothing waits in the queue and nothing is unacknowledged.
    #[track_caller]
    pub fn assert_settled(&self) {
        assert!(
            eventually(SOON, || self.vhost.ready(&self.queue) == Some(0) && self.vhost.unacked(&self.queue) == 0),
            "{:?} ready, {} unacknowledged",
            self.vhost.ready(&self.queue),
            self.vhost.unacked(&self.queue)
        );
    }

    fn journal(&self) -> PathBuf {
        self.worker.path("journal")
    }

    /// The runs of the actors so far.
    pub fn runs(&self) -> Vec<Consumed> {
        consumed(&self.journal())
    }

    /// The ids that `worker` has done, in the order of their starts.
    pub fn done_by(&self, worker: &str) -> Vec<String> {
        let done = |run: &Consumed| run.worker == worker && run.outcome.as_deref() == Some("done");
        self.runs().into_iter().filter(done).filter_map(|run| run.id).collect()
    }

    /// Takes the dead letters off their queue.
    pub fn dead(&self) -> Vec<Message> {
        let dead = self.dead_queue();
        if self.vhost.ready(&dead).is_none() { Vec::new() } else { self.vhost.drain(&dead) }
    }

    pub fn dead_queue(&self) -> String {
        format!("{}.dead", self.queue)
    }

    /// The broker's word for the type of a queue: `classic` or `quorum`.
    pub fn queue_type(&self, queue: &str) -> String {
        let answer = self.broker.eval(&format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"{queue}\">>)), \
             amqqueue:get_type(Q).",
            self.vhost_name()
        ));
        answer.trim_start_matches("rabbit_").trim_end_matches("_queue").to_owned()
    }

    /// Makes a user of this virtual host, who may do to queues and exchanges what the three patterns say; answers the
    /// address with that user.
    pub fn with_user(&self, user: &str, permissions: [&str; 3]) -> String {
        self.broker
            .eval(&format!("rabbit_auth_backend_internal:add_user(<<\"{user}\">>, <<\"secret\">>, <<\"rig\">>)."));
        self.permit(user, permissions);
        self.vhost.url().replace("guest:guest", &format!("{user}:secret"))
    }

    /// Lets a user configure, write and read what the patterns name.
    pub fn permit(&self, user: &str, [configure, write, read]: [&str; 3]) {
        self.broker.eval(&format!(
            "rabbit_auth_backend_internal:set_permissions(<<\"{user}\">>, <<\"{}\">>, <<\"{configure}\">>, \
             <<\"{write}\">>, <<\"{read}\">>, <<\"rig\">>).",
            self.vhost_name()
        ));
    }

    /// The log lines that the worker has written as JSON so far.
    pub fn log(&self) -> Vec<Value> {
        self.worker.stderr().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn vhost_name(&self) -> &str {
        self.vhost.url().rsplit('/').next().unwrap()
    }
}

/// A notification about the dataset `id`.
pub fn package(id: &str, act: &str) -> Value {
    json!({"routing_key": "Package", "operation": "changed", "payload": {"id": id, "act": act}})
}

/// A notification about a dataset, with an act for each actor.
pub fn package_for(id: &str, acts: &Value) -> Value {
    json!({"routing_key": "Package", "operation": "changed", "payload": {"id": id, "acts": acts}})
}

/// A notification about the resource `id` of a dataset.
pub fn resource(id: &str, package_id: &str, act: &str) -> Value {
    let payload = json!({"id": id, "package_id": package_id, "act": act});
    json!({"routing_key": "Resource", "operation": "changed", "payload": payload})
}
