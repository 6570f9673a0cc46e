//! What each case stands on: a queue, a witness, a ledger, and hosts that can be killed.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use worker_tests::ledger::Named;
use worker_tests::witness::Log;
use worker_tests::{Broker, Dead, End, Ledger, Verdict, Vhost, Witness, WorkerProcess, built, eventually, ledger};

use crate::file_queue::FileQueue;

/// For what happens at once, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(20);

/// For what takes its time.
pub const LATER: Duration = Duration::from_secs(90);

/// The workers of most cases: one that works, one that fails twice, one that always fails.
pub const WORKERS: [&str; 3] = ["actor", "actor2", "actor3"];

/// How the usual notifications end for them.
pub const USUAL: [(&str, End); 3] =
    [("actor", End::Done), ("actor2", End::Done), ("actor3", End::Dead("attempts_exhausted"))];

/// As [`USUAL`], where a host is killed at any moment: what was running too often when that happened is set aside.
pub const KILLED: [(&str, End); 3] = [
    ("actor", End::DoneOr("crashed")),
    ("actor2", End::DoneOr("crashed")),
    ("actor3", End::DeadOr("attempts_exhausted", "crashed")),
];

/// How many runs a host has at once, and how many messages.
pub const CONCURRENCY: usize = 8;
pub const PREFETCH: usize = 16;

/// The queue of a scene.
pub enum Place {
    Vhost(Box<Vhost<'static>>),
    File(FileQueue),
}

pub struct Scene {
    pub place: Place,
    pub site: String,
    pub queue: String,
    pub witness: Witness,
    pub ledger: Ledger,
    pub hosts: Vec<WorkerProcess>,
    /// Which messages have a name.
    pub named: Named,
    /// The seeded fault of all hosts, for a negative control.
    pub seed: Option<&'static str>,
    log: Log,
    ends: Vec<(String, End)>,
    /// What was told before is no longer of interest.
    told_before: usize,
    dir: TempDir,
}

impl Scene {
    /// A scene at a broker, with nothing there yet: the first host makes its queue, a quorum queue.
    pub fn at(broker: &'static Broker, name: &str, ends: &[(&str, End)]) -> Self {
        let vhost = broker.vhost(name);
        let (site, queue) = (vhost.unique("site"), vhost.unique("queue"));
        Self::new(Place::Vhost(Box::new(vhost)), site, queue, ends)
    }

    /// A scene with the exchange, the classic queue and the binding of 2011.
    pub fn old_at(broker: &'static Broker, name: &str, ends: &[(&str, End)]) -> Self {
        let scene = Self::at(broker, name, ends);
        scene.vhost().declare_old_topology(&scene.site, &scene.queue);
        scene
    }

    /// A scene with its queue in a file.
    pub fn in_file(ends: &[(&str, End)]) -> Self {
        Self::new(Place::File(FileQueue::new()), "portal".to_owned(), "portal.queue".to_owned(), ends)
    }

    /// As [`in_file`](Self::in_file), with the file in this directory.
    pub fn in_file_on(dir: &Path, ends: &[(&str, End)]) -> Self {
        Self::new(Place::File(FileQueue::on(dir)), "portal".to_owned(), "portal.queue".to_owned(), ends)
    }

    fn new(place: Place, site: String, queue: String, ends: &[(&str, End)]) -> Self {
        let dir = tempfile::Builder::new().prefix("scene-").tempdir().unwrap();
        let witness = Witness::start();
        let ledger = Ledger::new(&dir.path().join("ledger"), ends);
        let ends = ends.iter().map(|(worker, end)| ((*worker).to_owned(), *end)).collect();
        let (log, hosts, seed) = (witness.log(), Vec::new(), None);
        let named = Named::Half;
        Self { place, site, queue, witness, ledger, hosts, named, seed, log, ends, told_before: 0, dir }
    }

    /// Forgets what was published so far and what became of it.
    pub fn forget(&mut self) {
        self.told_before = self.log.read().len();
        let ends: Vec<(&str, End)> = self.ends.iter().map(|(worker, end)| (worker.as_str(), *end)).collect();
        self.ledger = Ledger::new(&self.path("ledger"), &ends);
    }

    /// A file of this scene.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// # Panics
    /// The queue is a file.
    pub fn vhost(&self) -> &Vhost<'static> {
        match &self.place {
            Place::Vhost(vhost) => vhost,
            Place::File(_) => panic!("this scene has no broker"),
        }
    }

    /// Whether its queue is at a broker.
    pub fn is_at_a_broker(&self) -> bool {
        matches!(self.place, Place::Vhost(_))
    }

    /// The address of the queue.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Vhost(vhost) => vhost.url().to_owned(),
            Place::File(file) => file.url(),
        }
    }

    /// The address with another port: that of a proxy.
    pub fn url_through(&self, port: u16) -> String {
        self.url().replace(&format!(":{}/", self.broker_port()), &format!(":{port}/"))
    }

    /// The port of the broker.
    pub fn broker_port(&self) -> u16 {
        let url = self.url();
        let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next());
        port.and_then(|port| port.parse().ok()).expect("the rig's address has a port")
    }

    /// Adds a host, not yet started, that reaches the queue at `url`; `settings` are lines of the section `[worker]`.
    pub fn add_host(&mut self, url: &str, settings: &str) {
        self.add_host_at(url, &self.witness.url(), settings);
    }

    /// As [`add_host`](Self::add_host), where the way to the portal is another.
    pub fn add_host_at(&mut self, url: &str, portal: &str, settings: &str) {
        let (site, queue, plugins) = (&self.site, &self.queue, built().plugin_dir.display());
        let mut text = format!(
            "[worker]\nckan.site_id = {site}\namqp.url = {url}\nqueue.name = {queue}\nplugin_dir = {plugins}\n\
             ckan.site_url = {portal}\nckan.api_key = token\nretry.delays = 200ms, 400ms\n"
        );
        // What a case says itself is not said before it.
        let usual = [("concurrency", CONCURRENCY), ("queue.prefetch", PREFETCH), ("attempts", 3)];
        for (name, value) in usual {
            if !settings.contains(name) {
                text.extend([name, " = ", &value.to_string(), "\n"]);
            }
        }
        self.hosts.push(WorkerProcess::with_config(&(text + settings + "\n")));
    }

    /// Starts a host, with the seeded fault of this scene.
    pub fn start(&mut self, host: usize) {
        self.start_with(host, &[]);
    }

    /// Starts a host with more in its environment.
    pub fn start_with(&mut self, host: usize, environment: &[(&str, &str)]) {
        let host = &mut self.hosts[host];
        let mut command = host.command();
        command.arg("-c").arg(host.path("worker.cfg")).args(self.ends.iter().map(|(worker, _)| worker));
        command.envs(environment.iter().copied()).envs(self.seed.map(|seed| ("CKAN_WORKER_SEEDED_FAULT", seed)));
        host.spawn(command);
    }

    /// A host with the usual settings on the queue itself, running and consuming.
    pub fn play(&mut self, settings: &str) {
        let url = self.url();
        self.play_through(&url, settings);
    }

    /// As [`play`](Self::play), on another way to the queue.
    pub fn play_through(&mut self, url: &str, settings: &str) {
        self.add_host(url, settings);
        let last = self.hosts.len() - 1;
        self.start(last);
        if self.is_at_a_broker() {
            self.hosts[last].wait_for_line("consuming queue", SOON);
        }
    }

    /// How often a host has begun to consume.
    pub fn sessions(&self, host: usize) -> usize {
        self.hosts[host].stderr().matches("consuming queue").count()
    }

    /// Publishes `count` of the usual notifications; the working workers take `sleep_ms` for each.
    pub fn publish_usual(&mut self, count: usize, sleep_ms: u64) {
        self.publish(count, "m", usual(sleep_ms));
    }

    /// Publishes notifications with these acts, until so many are confirmed.
    pub fn publish(&mut self, count: usize, prefix: &str, acts: Value) {
        let publishing = Publishing::begin(self, count, prefix, acts);
        publishing.end(self);
    }

    /// What the witness was told so far.
    pub fn seen(&mut self) -> &[worker_tests::Seen] {
        &self.log.read()[self.told_before..]
    }

    /// How often the witness was told of something whose id begins so.
    pub fn seen_of(&mut self, prefix: &str) -> usize {
        self.seen().iter().filter(|seen| seen.id.starts_with(prefix)).count()
    }

    /// The dead letters, which stay where they are.
    pub fn dead(&self) -> Vec<Dead> {
        match &self.place {
            Place::File(file) => file.dead(),
            Place::Vhost(vhost) => {
                let queue = format!("{}.dead", self.queue);
                let letters = if vhost.ready(&queue).is_some() { vhost.peek(&queue) } else { Vec::new() };
                let header = |letter: &worker_tests::Message, name| letter.header(name).unwrap_or_default();
                let dead = letters.into_iter().map(|letter| Dead {
                    worker: header(&letter, "x-ckan-worker-only"),
                    reason: header(&letter, "x-ckan-worker-reason"),
                    body: letter.body,
                });
                dead.collect()
            }
        }
    }

    /// Waits until everything that was confirmed has ended for every worker and nothing is left in hand, calling
    /// `meanwhile` now and then; then judges. What has not ended in time is lost.
    pub fn judge(&mut self, within: Duration, mut meanwhile: impl FnMut(&mut Self)) -> Verdict {
        let deadline = Instant::now() + within;
        let mut verdict = self.ledger.judge(&[], &[]);
        let complete = eventually(within, || {
            meanwhile(self);
            // Looking at all dead letters takes long: only when there may be enough.
            if self.may_be_complete() {
                verdict = self.look();
            }
            verdict.counts.lost == 0
        });
        if !complete {
            verdict = self.look();
        }
        // A duplicate may come late, until the last message is settled.
        let left = deadline.saturating_duration_since(Instant::now()).max(SOON);
        let settled = complete
            && eventually(left, || {
                meanwhile(self);
                self.left() == 0
            });
        if complete {
            verdict = self.look();
        }
        verdict.expect(settled, format!("everything settled in {within:?}, but {} messages are left", self.left()));
        self.look_at_hosts(&mut verdict);
        verdict
    }

    fn look(&mut self) -> Verdict {
        let dead = self.dead();
        self.ledger.judge(&self.log.read()[self.told_before..], &dead)
    }

    fn look_at_hosts(&self, verdict: &mut Verdict) {
        for host in &self.hosts {
            let stderr = host.stderr();
            let panic = stderr.lines().find(|line| line.contains("panicked at") && !line.contains("actor.rs"));
            verdict.expect(panic.is_none(), format!("no panic in the host, but {panic:?}"));
        }
    }

    fn may_be_complete(&mut self) -> bool {
        let wanted = self.ledger.ends_expected();
        let successes = self.seen().iter().filter(|seen| seen.is_success()).count();
        let dead = match &self.place {
            Place::File(file) => file.dead_count(),
            Place::Vhost(vhost) => {
                vhost.ready(&format!("{}.dead", self.queue)).and_then(|ready| ready.try_into().ok()).unwrap_or(0)
            }
        };
        successes + dead >= wanted
    }

    /// How many messages wait in the queue or on the ladder, or are in hand.
    pub fn left(&self) -> usize {
        match &self.place {
            Place::File(file) => file.left(),
            Place::Vhost(vhost) => {
                let waiting = |queue: &str| vhost.ready(queue).map_or(0, |ready| ready + vhost.unacked(queue));
                let rungs = ["200ms", "400ms"].map(|rung| waiting(&format!("{}.retry.{rung}", self.queue)));
                usize::try_from(waiting(&self.queue) + rungs.iter().sum::<u32>()).expect("a queue is no longer")
            }
        }
    }

    /// Ends all hosts in good order. Where the verdict is not good, it then has what they said.
    pub fn stop(&mut self, verdict: &mut Verdict) {
        for host in self.hosts.iter_mut().filter(|host| host.stderr() != String::new()) {
            if host.is_running() {
                host.terminate();
                let status = host.wait(Duration::from_secs(40));
                verdict.expect(status.success(), format!("the host ends well when it is asked to, but {status}"));
            }
        }
        if !verdict.is_good() {
            // The end of what the hosts said, for whoever reads why.
            for host in &self.hosts {
                let stderr = host.stderr();
                let from = stderr.len().saturating_sub(4000);
                let from = (from..stderr.len()).find(|at| stderr.is_char_boundary(*at)).unwrap_or(0);
                verdict.told.push(format!("the host said:\n{}", &stderr[from..]));
            }
        }
    }
}

/// Publishing that goes on while faults happen.
pub struct Publishing(JoinHandle<Ledger>);

impl Publishing {
    /// Begins to publish until so many are confirmed.
    pub fn begin(scene: &mut Scene, count: usize, prefix: &str, acts: Value) -> Self {
        let nobody = Ledger::new(Path::new("/dev/null"), &[]);
        let mut ledger = std::mem::replace(&mut scene.ledger, nobody);
        let prefix = prefix.to_owned();
        let message = move |number| {
            let id = format!("{prefix}{number:05}");
            let payload = json!({"id": id, "acts": acts});
            let body = json!({"routing_key": "Package", "operation": "changed", "payload": payload});
            (id, body.to_string().into_bytes())
        };
        let to_file = match &scene.place {
            Place::File(file) => Some(file.way_in()),
            Place::Vhost(_) => None,
        };
        let (url, site, named) = (scene.url(), scene.site.clone(), scene.named);
        Self(std::thread::spawn(move || {
            match to_file {
                Some(way_in) => way_in.publish(&mut ledger, count, message),
                None => ledger::publish(&mut ledger, &url, &site, named, count, LATER, message),
            }
            ledger
        }))
    }

    /// Waits until all are confirmed.
    pub fn end(self, scene: &mut Scene) {
        scene.ledger = self.0.join().expect("the publisher does not panic");
        assert!(scene.ledger.confirmed() > 0, "nothing could be published");
    }
}

/// What the three usual workers are told.
pub fn usual(sleep_ms: u64) -> Value {
    json!({"actor": format!("sleep_ms:{sleep_ms};witness"), "actor2": "witness;fail_times:2", "actor3": "witness;fail"})
}
