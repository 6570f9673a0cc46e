//! A worker that writes down what it hears.

use std::time::Duration;

use worker_tests::ckan::Site;
use worker_tests::{Consumed, WorkerProcess, built, consumed};

/// How long a host may take to stop.
const STOP_MAX: Duration = Duration::from_secs(60);

/// So seldom that no sweep finds what a look should have found.
const SELDOM: &str = "poll.sweep = 24h";

/// A worker that writes down what it hears.
pub struct Listener(WorkerProcess);

impl Listener {
    /// One that asks the portal, and sweeps when it starts for the first time and not again.
    pub fn poll(site: &Site) -> Self {
        let settings = format!("poll.interval = 1s\n{SELDOM}\npoll.rate = 200");
        Self::new(site, &format!("queue.url = poll:{}\nqueue.file = changes.db\n{settings}", site.url()))
    }

    /// Has one that asks the portal sweep from now on.
    pub fn stop_and_sweep(&mut self) {
        self.stop();
        let path = self.0.path("worker.cfg");
        let config = std::fs::read_to_string(&path).unwrap();
        assert!(config.contains(SELDOM), "it asks the portal");
        std::fs::write(&path, config.replace(SELDOM, "poll.sweep = 1s")).unwrap();
        self.start();
    }

    /// One that empties the outbox.
    pub fn outbox(site: &Site) -> Self {
        Self::new(site, &format!("queue.url = outbox:{}\nqueue.file = changes.db\noutbox.interval = 1s", site.url()))
    }

    /// One that consumes a queue.
    pub fn amqp(site: &Site, url: &str, queue: &str) -> Self {
        let journal = "journal.path = changes.journal";
        Self::new(site, &format!("ckan.site_url = {}\nqueue.url = {url}\nqueue.name = {queue}\n{journal}", site.url()))
    }

    fn new(site: &Site, queue: &str) -> Self {
        let process = WorkerProcess::with_config("");
        let config = format!(
            "[worker]\nckan.site_id = default\nckan.api_key = {}\n{queue}\nplugin_dir = {}\n[worker:actor]\njournal = {}\n",
            site.token(),
            built().plugin_dir.display(),
            process.path("heard").display(),
        );
        std::fs::write(process.path("worker.cfg"), config).unwrap();
        Self(process)
    }

    /// Starts it.
    pub fn start(&mut self) {
        self.0.start(["actor"]);
    }

    /// Kills it in the middle of what it does, and starts it again.
    pub fn kill_and_start(&mut self) {
        self.0.kill();
        self.0.wait(STOP_MAX);
        self.start();
    }

    /// Stops it as an operator does.
    pub fn stop(&mut self) {
        self.0.terminate();
        self.0.wait(STOP_MAX);
    }

    /// What it has heard so far.
    pub fn heard(&self) -> Vec<Consumed> {
        consumed(&self.0.path("heard"))
    }

    /// What it said.
    pub fn report(&self) -> String {
        self.0.report()
    }
}
