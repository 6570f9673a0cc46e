//! The way in for programs: builds everything from a [`Config`], in order, and runs it.

mod ground;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use ckan_worker_plugin::{Worker, glue};
use serde_json::Value;
use tokio::sync::watch;

use crate::catalog::{Catalog, Entry, LoadedLibrary, LoadedWorker, Manifest, Options, Refusal, State, load, places};
use crate::config::Config;
use crate::dispatch::{self, DispatchError, Dispatcher, Summary};
use crate::gate::Gate;
use crate::guard::{Declared, Watched};
use crate::journal::{Journal, JournalError, worker_hash};
use crate::observe::Observer;
use crate::retry::RetryPolicy;
use crate::services::ckan::CheckReport;
use crate::services::{Failure, fetch, ffi};
use crate::source::{self, Feed, SourceError};
use crate::store::{Store, StoreError};
use crate::subscription::Member;
use ground::Ground;

/// How many deliveries are held when bursts are gathered, unless that is set.
const GATHERED_AT_ONCE: usize = 256;

/// The host, as a program embeds it: which workers it runs, from files or linked in, on the queue of its settings.
///
/// ```no_run
/// use ckan_worker::{App, Config};
/// use tokio::sync::watch;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::from_map([("ckan.site_id", "portal"), ("amqp.url", "sqlite:queue.db")])?;
/// let (stop, stopping) = watch::channel(false);
/// let summary = App::new(config).worker("archive").run(stopping)?;
/// println!("{} notifications settled", summary.settled);
/// # drop(stop);
/// # Ok(())
/// # }
/// ```
pub struct App {
    config: Config,
    workers: Vec<Wanted>,
    observer: Option<Arc<dyn Observer>>,
    until_empty: bool,
}

/// A worker that is to run: its name, and its code if that is linked in.
struct Wanted {
    name: String,
    linked_in: Option<LoadedLibrary>,
}

/// Why the host could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No worker was named.
    #[error("no worker is named; name at least one, as in: worker archive")]
    NoWorkers,
    /// Workers cannot run that must.
    #[error("{}", sentences(.0))]
    Refused(Vec<Refused>),
    /// The system does not give what is needed.
    #[error("{what}: {source}")]
    System {
        /// What is needed.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A service cannot be set up.
    #[error("{0}")]
    Services(String),
    /// CKAN does not know the token.
    #[error("{0}")]
    TokenRefused(String),
    /// The queue cannot be consumed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What is done cannot be written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What workers remember cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work stopped.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
}

/// A worker that was named and cannot run.
#[derive(Debug)]
pub struct Refused {
    /// The worker.
    pub worker: String,
    /// Why.
    pub refusal: Refusal,
}

fn sentences(refused: &[Refused]) -> String {
    refused.iter().map(|refused| refused.refusal.to_string()).collect::<Vec<_>>().join("\n")
}

/// Destroys the workers, while there is still a runtime; who has not ended within `grace` is left behind.
fn let_go(members: Arc<[Member]>, grace: Duration) {
    let (ended, has_ended) = mpsc::channel();
    let end = move || {
        drop(members);
        // Whoever no longer waits has said so.
        let _ = ended.send(());
    };
    // Without a thread the workers have just been destroyed here.
    if std::thread::Builder::new().name("worker-end".to_owned()).spawn(end).is_ok()
        && let Err(RecvTimeoutError::Timeout) = has_ended.recv_timeout(grace)
    {
        tracing::warn!("a worker has not ended within {grace:?} and is left behind");
    }
}

impl App {
    /// A host with these settings and no workers yet.
    pub fn new(config: Config) -> Self {
        Self { config, workers: Vec::new(), observer: None, until_empty: false }
    }

    /// Runs the worker of this name, from a plugin file, behind those named before.
    #[must_use]
    pub fn worker(mut self, name: impl Into<String>) -> Self {
        self.workers.push(Wanted { name: name.into(), linked_in: None });
        self
    }

    /// Runs a worker that is linked into this program, under this name, behind those named before.
    #[must_use]
    pub fn linked_in<W: Worker>(self, name: impl Into<String>) -> Self {
        self.linked_in_as::<W>(Manifest { name: name.into(), ..Manifest::default() })
    }

    /// As [`linked_in`](Self::linked_in), with all that a plugin file could say of itself: which notifications it wants,
    /// whether its calls must come one after another.
    #[must_use]
    pub fn linked_in_as<W: Worker>(mut self, manifest: Manifest) -> Self {
        let name = manifest.name.clone();
        let library = LoadedLibrary::linked_in(glue::module::<W>(), manifest);
        self.workers.push(Wanted { name, linked_in: Some(library) });
        self
    }

    /// Tells `observer` what happens.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Stops once the queue is empty.
    #[must_use]
    pub fn until_empty(mut self, until_empty: bool) -> Self {
        self.until_empty = until_empty;
        self
    }

    /// Makes the workers and lets them go again; answers those that cannot run. Nothing is consumed.
    ///
    /// # Errors
    /// A service cannot be set up.
    pub fn check(&self) -> Result<Vec<Refused>, AppError> {
        let ground = Ground::lay(self, Store::in_memory()?)?;
        Ok(self.members(&self.catalog(), &ground)?.1)
    }

    /// What an operator should know of the plugin files of these workers although they can run: directories that are
    /// not used, and files that would provide one of them if they could be used.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings_of(&self.catalog())
    }

    /// Asks CKAN whether it answers, and whom it takes us for.
    ///
    /// # Errors
    /// A service cannot be set up.
    pub fn check_ckan(&self) -> Result<CheckReport, AppError> {
        let ground = Ground::lay(self, Store::in_memory()?)?;
        Ok(ground.runtime.block_on(ground.services.ckan.check()))
    }

    /// Looks whether the queue is there, changing nothing; answers how many messages wait in it.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn check_queue(&self) -> Result<Option<u64>, AppError> {
        let ground = Ground::lay(self, Store::in_memory()?)?;
        Ok(ground.runtime.block_on(source::look(&self.config.queue))?)
    }

    /// Looks whether the portal that is asked for notifications can be asked; answers what it found, or `None` if none
    /// is asked.
    ///
    /// # Errors
    /// A service cannot be set up. The inner failure says that nothing would ever be found, or that it does not answer.
    pub fn check_feed(&self) -> Result<Option<Result<String, Failure>>, AppError> {
        let Some(Feed { way, .. }) = &self.config.queue.feed else { return Ok(None) };
        let ground = Ground::lay(self, Store::in_memory()?)?;
        Ok(Some(ground.runtime.block_on(source::try_feed(way, &ground.services.ckan))))
    }

    /// Works on this thread until `stop` becomes `true` or, if that was asked for, the queue is empty.
    ///
    /// Workers that cannot run are reported in the log; the others run, unless one of them is `required`.
    ///
    /// # Errors
    /// No worker can run, or a required one cannot; the queue cannot be consumed; the system does not give what is
    /// needed.
    pub fn run(self, stop: watch::Receiver<bool>) -> Result<Summary, AppError> {
        let store = Store::open(&self.config.store)?.dry(self.config.ckan.dry_run);
        let ground = Ground::lay(&self, store)?;
        let catalog = self.catalog();
        let (members, refused) = self.members(&catalog, &ground)?;
        if members.is_empty() || refused.iter().any(|refused| self.is_required(&refused.worker)) {
            return Err(AppError::Refused(refused));
        }
        for warning in self.warnings_of(&catalog) {
            tracing::warn!("{warning}");
        }
        for Refused { worker, refusal } in refused {
            tracing::error!(worker, "{refusal}; the other workers run without it");
        }
        ground.introduce_us(&stop)?;
        let Ground { runtime, services, give_up, _room, .. } = ground;
        // Whatever may come again at once is to be known.
        let mut journal = self.config.journal.clone();
        journal.keep = journal.keep.max(self.in_hand_max(&members) * 4);
        let keep = journal.keep;
        let mut journal = Journal::open(&journal)?;
        journal.learn(services.store.ended(keep)?);
        let members: Arc<[Member]> = members.into();
        let source = {
            // Opening a source starts its tasks.
            let _entered = runtime.enter();
            let in_hand_max = self.in_hand_max(&members);
            if self.config.ckan.dry_run {
                source::open_without_lane(&runtime.block_on(source::to_look_at(&self.config.queue))?, in_hand_max)?
            } else {
                source::open(&self.config.queue, in_hand_max)?
            }
        };
        let settings = self.dispatch_settings(&members);
        let used = Arc::clone(&services);
        let dispatcher = Dispatcher::new(source, journal, Arc::clone(&members), services, give_up, settings);
        let stopped = runtime.block_on(dispatcher.run(stop));
        if let Some(usage) = used.usage() {
            tracing::info!("what workers asked for: {usage}");
        }
        let_go(members, self.config.run.grace);
        runtime.shutdown_background();
        Ok(stopped?)
    }

    fn options(&self) -> Options {
        Options { allow_insecure_dir: self.config.allow_insecure_plugin_dir }
    }

    fn catalog(&self) -> Catalog {
        Catalog::scan_places(&places(&self.config.plugin_dirs), self.options())
    }

    /// The file that an operator has named for a worker, instead of leaving it to be found.
    fn path_of(&self, worker: &str) -> Option<&Path> {
        self.config.workers.get(worker)?.path.as_deref()
    }

    fn warnings_of(&self, catalog: &Catalog) -> Vec<String> {
        let mut warnings: Vec<String> = catalog.problems().iter().map(ToString::to_string).collect();
        let looked_for =
            self.workers.iter().filter(|wanted| wanted.linked_in.is_none() && self.path_of(&wanted.name).is_none());
        for wanted in looked_for {
            let Ok(found) = catalog.find(&wanted.name) else { continue };
            let passed_over = catalog.entries().iter().filter(|entry| entry.name() == wanted.name);
            let passed_over =
                passed_over.filter_map(Entry::refusal).filter(|refusal| refusal.state() != State::Duplicate);
            warnings
                .extend(passed_over.map(|refusal| format!("{refusal}; {} is used instead", found.path().display())));
        }
        warnings
    }

    fn is_required(&self, worker: &str) -> bool {
        self.config.workers.get(worker).is_some_and(|section| section.required)
    }

    fn members(&self, catalog: &Catalog, ground: &Ground) -> Result<(Vec<Member>, Vec<Refused>), AppError> {
        if self.workers.is_empty() {
            return Err(AppError::NoWorkers);
        }
        let (mut members, mut refused) = (Vec::new(), Vec::new());
        for wanted in &self.workers {
            match self.load(wanted, catalog, ground).and_then(|library| self.create(wanted, &library, ground)) {
                Ok(worker) => members.push(self.member(worker, ground)?),
                Err(refusal) => refused.push(Refused { worker: wanted.name.clone(), refusal }),
            }
        }
        Ok((members, refused))
    }

    fn load(&self, wanted: &Wanted, catalog: &Catalog, ground: &Ground) -> Result<LoadedLibrary, Refusal> {
        if let Some(library) = &wanted.linked_in {
            return Ok(library.clone());
        }
        match self.path_of(&wanted.name) {
            Some(path) => load(&Entry::at(path, self.options()), &ground.copies),
            None => load(catalog.find(&wanted.name)?, &ground.copies),
        }
    }

    fn create(&self, wanted: &Wanted, library: &LoadedLibrary, ground: &Ground) -> Result<LoadedWorker, Refusal> {
        let settings = self.config.workers.get(&wanted.name).map(|section| section.settings.clone());
        let settings = Value::Object(settings.unwrap_or_default()).to_string();
        ffi::create(library, &wanted.name, &settings, Arc::clone(&ground.services))
    }

    fn member(&self, worker: LoadedWorker, ground: &Ground) -> Result<Member, AppError> {
        let section = self.config.workers.get(worker.name());
        let manifest = worker.manifest();
        let seen = ground.services.store.outputs(worker.name())?;
        let declared = Declared {
            inputs: manifest.inputs.clone(),
            outputs: manifest.outputs.clone(),
            writes: manifest.writes.clone(),
            coalesces: self.coalesce(&worker) > Duration::ZERO,
            edition: self.edition(&worker),
        };
        let watched = Watched::new(declared, seen);
        Ok(Member {
            routing_keys: manifest.routing_keys.clone(),
            operations: manifest.operations.clone(),
            hears_outcomes: manifest.outcomes,
            retry: RetryPolicy {
                attempts: section.and_then(|section| section.attempts).unwrap_or(self.config.run.attempts),
                ladder: self.config.queue.ladder.clone(),
            },
            key: worker_hash(worker.name()),
            coalesces: self.coalesce(&worker) > Duration::ZERO,
            // Without a portal there is nothing to react to.
            watched: if ground.services.ckan.is_set() { watched } else { Watched::default() },
            gate: Gate::default(),
            deadline: section.and_then(|section| section.deadline).unwrap_or(self.config.run.deadline),
            serial: manifest.serial.then(Default::default),
            worker,
        })
    }

    /// A worker's version and its settings; a hash, for settings may be secrets.
    fn edition(&self, worker: &LoadedWorker) -> String {
        let settings = self.config.workers.get(worker.name()).map(|section| section.settings.clone());
        let settings = Value::Object(settings.unwrap_or_default()).to_string();
        // What may be fetched decides what a worker finds.
        let fetch::Settings { allow, ports, proxy, .. } = &self.config.fetch;
        let all = format!("{} {settings} {allow:?} {ports:?} {proxy:?}", worker.manifest().version);
        format!("{:x}", worker_hash(&all))
    }

    /// How many deliveries may be in hand: enough to keep the threads busy, and what is gathered keeps none.
    fn in_hand_max(&self, members: &[Member]) -> usize {
        let busy = self.config.run.concurrency * 2;
        let gathers = members.iter().any(|member| member.coalesces);
        let computed = if gathers { busy.max(GATHERED_AT_ONCE) } else { busy };
        self.config.queue.prefetch.map_or(computed, usize::from)
    }

    fn dispatch_settings(&self, members: &[Member]) -> dispatch::Settings {
        let run = &self.config.run;
        dispatch::Settings {
            concurrency: run.concurrency,
            in_hand_max: self.in_hand_max(members),
            grace: run.grace,
            drain: run.drain,
            body_bytes_max: run.body_bytes_max,
            coalesce: members.iter().map(|member| self.coalesce(&member.worker)).max().unwrap_or_default(),
            until_empty: self.until_empty,
            dry_run: self.config.ckan.dry_run,
        }
    }

    /// How long notifications about one dataset are gathered for a worker.
    fn coalesce(&self, worker: &LoadedWorker) -> Duration {
        let set = self.config.workers.get(worker.name()).and_then(|section| section.coalesce);
        set.unwrap_or_else(|| Duration::from_millis(worker.manifest().coalesce_ms))
    }
}
