//! A portal, a queue, and a worker with a directory for temporary files of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ckan_worker::Config;
use ckan_worker::demo::{Datasets, Portal};
use ckan_worker::source::sqlite::{self, StoredLetter};
use ckan_worker::source::{self, Message};
use serde_json::Value;
use worker_tests::usage::Usage;
use worker_tests::{WorkerProcess, built, eventually, sha256};

use crate::web::runtime;

/// Nothing here takes longer, however busy the machine is.
pub const SOON: Duration = Duration::from_secs(120);

/// What the portal knows the worker by. It looks different where it is percent-encoded, too.
pub const TOKEN: &str = "canary-7f3a/9c+e1d0~b2";

/// The most memory that the host may ever hold, whatever comes.
pub const MEMORY_MAX: u64 = 80 << 20;

/// A portal, and a worker with a queue.
pub struct Lab {
    pub portal: Portal,
    pub worker: WorkerProcess,
    /// The address that the portal is known by, if it has a server in front of it.
    pub front: Option<String>,
    /// Whether that server's calls of actions go to the portal.
    pub is_behind_front: bool,
    token: tempfile::NamedTempFile,
}

impl Lab {
    /// A portal with these datasets, which knows the worker's token. Nothing runs yet.
    pub fn new(datasets: Datasets) -> Self {
        Self::with_portal(datasets.with_user("worker", TOKEN))
    }

    /// A portal with these datasets and users.
    pub fn with_portal(datasets: Datasets) -> Self {
        let portal = runtime().block_on(Portal::start(datasets)).unwrap();
        let worker = WorkerProcess::with_config("");
        fs::create_dir(worker.path("tmp")).unwrap();
        let token = tempfile::NamedTempFile::new().unwrap();
        fs::write(token.path(), TOKEN).unwrap();
        let lab = Self { portal, worker, front: None, is_behind_front: true, token };
        lab.configure("", "");
        lab
    }

    /// Writes `worker.cfg`, with these settings for the host, and these at the end for archive and other workers.
    pub fn configure(&self, host: &str, archive: &str) {
        let dir = self.worker.dir().display();
        let portal = self.portal.url();
        let site = match &self.front {
            Some(front) if self.is_behind_front => format!("{front}\nckan.url_rewrite = {front}/api={portal}/api"),
            Some(front) => front.clone(),
            None => portal,
        };
        let text = format!(
            "[worker]\nckan.site_id = lab\nckan.site_url = {}\nckan.api_key_file = {}\namqp.url = sqlite:{dir}/queue.db\n\
             plugin_dir = {}\nfetch.allow = 127.0.0.0/8\n{host}\n\
             [worker:archive]\ndir = {dir}/archive\ncoalesce = 0\n{archive}\n",
            site,
            self.token.path().display(),
            built().plugin_dir.display(),
        );
        fs::write(self.worker.path("worker.cfg"), text).unwrap();
    }

    /// The command `worker -c worker.cfg ARGUMENTS…` with the directory for temporary files.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.worker.command();
        command.env("TMPDIR", self.worker.path("tmp")).args(["-c", "worker.cfg"]).args(arguments);
        command
    }

    /// Starts the worker.
    pub fn start(&mut self, arguments: &[&str]) {
        self.worker.spawn(self.command(arguments));
    }

    /// Starts the worker, and waits until it has ended, well.
    pub fn run(&mut self, arguments: &[&str]) {
        self.start(arguments);
        assert!(self.worker.wait(SOON).success(), "{}", self.worker.report());
    }

    /// Asks the worker to stop, and waits until it has, well, leaving no temporary file.
    pub fn stop(&mut self) {
        self.worker.terminate();
        assert!(self.worker.wait(SOON).success(), "{}", self.worker.report());
        assert_eq!(self.temporary(), Vec::<PathBuf>::new());
    }

    /// Puts bytes on the queue, whatever they are.
    pub fn publish(&self, bodies: impl IntoIterator<Item = Vec<u8>>) {
        let settings = self.settings();
        runtime().block_on(async {
            let publisher = source::open_publisher(&settings.queue).unwrap();
            for body in bodies {
                let message = Message { routing_key: "Package".to_owned(), body: body.into(), id: None, only: None };
                publisher.publish(message).await.unwrap();
            }
            publisher.close().await;
        });
    }

    /// What CKAN publishes when these datasets have changed.
    pub fn announce<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) {
        let changed = |name: N| self.portal.notification(name.as_ref(), "changed").unwrap();
        self.publish(names.into_iter().map(changed).collect::<Vec<_>>());
    }

    fn settings(&self) -> Config {
        let url = format!("sqlite:{}", self.worker.path("queue.db").display());
        Config::from_map([("ckan.site_id", "lab"), ("amqp.url", url.as_str())]).unwrap()
    }

    /// The dead letters.
    pub fn letters(&self) -> Vec<StoredLetter> {
        sqlite::letters(&self.worker.path("queue.db"), &self.settings().queue).unwrap()
    }

    /// How many notifications have not ended: those that wait, are in hand, or are to be tried again.
    pub fn left(&self) -> u64 {
        let status = runtime().block_on(source::status(&self.settings().queue)).unwrap();
        let waiting = status.rungs.iter().map(|(_, count)| count.unwrap_or_default());
        status.ready.unwrap_or_default() + status.in_hand.unwrap_or_default() + waiting.sum::<u64>()
    }

    /// Whether a copy of this is kept.
    pub fn keeps(&self, body: &[u8]) -> bool {
        self.kept().contains(&sha256(body))
    }

    /// The hashes of all that is kept.
    pub fn kept(&self) -> BTreeSet<String> {
        // A file may be renamed between the look at its directory and the look into it.
        let hash = |path: PathBuf| fs::read(path).ok().map(|bytes| sha256(&bytes));
        files_below(&self.worker.path("archive")).into_iter().filter_map(hash).collect()
    }

    /// What lies among the temporary files.
    pub fn temporary(&self) -> Vec<PathBuf> {
        files_below(&self.worker.path("tmp"))
    }

    /// What was last logged about the resource of this name: its fields, as they stand in the log.
    pub fn said_about(&self, resource: &str) -> Option<String> {
        let name = format!("name={resource:?}");
        let log = self.worker.stderr();
        let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut fields = lines.filter_map(|line| line["fields"].as_str().map(str::to_owned));
        fields.find(|fields| fields.contains(&name))
    }

    /// Waits until something is so; the worker has to live meanwhile.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let mut ended = false;
        let came = eventually(SOON, || {
            ended = !self.worker.is_running();
            ended || is_so(self)
        });
        assert!(came && (!ended || is_so(self)), "waited for {what}\n{}", self.worker.report());
    }

    /// The most memory that the host has held so far is within bounds.
    #[track_caller]
    pub fn assert_small(&self) {
        self.assert_smaller_than(MEMORY_MAX);
    }

    /// The most memory that the host has held so far is less than that.
    #[track_caller]
    pub fn assert_smaller_than(&self, bytes_max: u64) {
        let usage = Usage::of(self.worker.pid()).expect("the worker runs");
        eprintln!("{} MiB at most", usage.rss_max_bytes >> 20);
        assert!(usage.rss_max_bytes < bytes_max, "{} MiB\n{}", usage.rss_max_bytes >> 20, self.worker.report());
    }
}

/// The files below a directory, at any depth; none if there is no such directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
