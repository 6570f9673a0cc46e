//! What was begun and what has ended, on disk, so that nothing is done twice after a crash or a lost connection.
//!
//! Two things with two ways of writing. What has *ended* goes to an SQLite file, many rows in one transaction, on a
//! thread of its own; a delivery is settled only after its rows are there. What is *running* stands in a small file
//! beside it, one place for each thread, overwritten before each call: that costs a microsecond and survives the death
//! of the process, which is when it is read. Neither is synced to the disk for every row: after a power cut something
//! may be done again, and nothing is lost, for what is not settled comes again from the queue.

mod file;
mod key;
mod memory;
mod place;
mod running;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use file::JournalError;
pub use key::{DeliveryKey, RunKey, worker_hash};
pub use running::{Running, Slot, forgive_all};

use file::JournalFile;
use memory::Memory;
use place::Place;

/// How long to wait before rows that could not be written are tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// How long the thread may take to write what is left when the journal is closed.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Where the journal lies, and how much it remembers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its directory.
    pub path: PathBuf,
    /// How many ended runs it remembers.
    pub keep: usize,
}

/// One run that has ended: it was done, skipped, sent to wait, or kept as a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which run.
    pub run: RunKey,
    /// How often its notification had been sent on for its worker when it ended, plus one: of two copies of a
    /// notification, it says for which it holds.
    pub hops: u32,
}

/// What the thread that writes says.
#[derive(Debug)]
pub enum Told {
    /// The batch that was handed over last is on file.
    Written,
    /// It could not be written, for this reason; it is tried again.
    Trouble(String),
}

/// What was begun and what has ended. One owner, the dispatcher.
pub struct Journal {
    memory: Memory,
    suspects: HashMap<RunKey, u32>,
    suspected: HashMap<DeliveryKey, u32>,
    running: Arc<Running>,
    batches: UnboundedSender<Batch>,
    told: UnboundedReceiver<Told>,
    /// A batch was handed over and is not yet written.
    is_writing: bool,
    thread: Option<JoinHandle<()>>,
    /// Held, so that no other process writes the same files.
    _place: Place,
}

/// What is written in one transaction.
struct Batch {
    ended: Vec<Ended>,
    /// Runs that have ended after the process had died in them.
    cleared: Vec<RunKey>,
}

impl Journal {
    /// Opens the journal in the first place of its directory that no living process has; counts a crash for each run
    /// that was going on when the process before us died.
    ///
    /// # Errors
    /// The directory or its files cannot be written. Files that are damaged are set aside, and that is said.
    pub fn open(settings: &Settings) -> Result<Self, JournalError> {
        let place = Place::take(&settings.path)?;
        let mut file = JournalFile::open(&place.database(), settings.keep)?;
        let (running, left) = Running::open(&place.running()).map_err(|error| place.error(&error))?;
        let mut memory = Memory::new(settings.keep);
        file.read(|ended| memory.note(ended))?;
        let crashed = left.into_iter().filter(|(_, run)| !memory.knows(*run)).collect::<Vec<_>>();
        file.count_crashes(&crashed)?;
        let (mut suspects, mut suspected) = (HashMap::new(), HashMap::new());
        for (delivery, run, crashes) in file.crashes()? {
            suspects.insert(run, crashes);
            *suspected.entry(delivery).or_default() += 1;
        }
        if !crashed.is_empty() {
            tracing::warn!(
                "the process before this one died with {} runs going on; they are tried again one by one",
                crashed.len()
            );
        }
        let (batches, inbox) = unbounded_channel();
        let (tell, told) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("worker-journal".to_owned())
            .spawn(move || write_all(file, inbox, &tell))
            .map_err(|error| place.error(&error))?;
        let (running, thread) = (Arc::new(running), Some(thread));
        running.register();
        Ok(Self { memory, suspects, suspected, running, batches, told, is_writing: false, thread, _place: place })
    }

    /// Where each thread notes what it runs.
    pub fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Whether a run has ended, for a notification that had been sent on `hops` times before.
    pub fn has_ended(&self, run: RunKey, hops: u32) -> bool {
        self.memory.hops(run).is_some_and(|ended| hops < ended)
    }

    /// How often the process died in a run.
    pub fn crashes(&self, run: RunKey) -> u32 {
        self.suspects.get(&run).copied().unwrap_or(0)
    }

    /// Whether the process died in any run on a delivery.
    pub fn is_suspect(&self, delivery: DeliveryKey) -> bool {
        self.suspected.contains_key(&delivery)
    }

    /// Whether a batch is being written; until that is told, none can be handed over.
    pub fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// Hands over what has ended, with its deliveries; [`told`](Self::told) says when it is on file.
    pub fn write(&mut self, ended: Vec<(DeliveryKey, Ended)>) {
        debug_assert!(!self.is_writing, "one batch after another");
        let mut cleared = Vec::new();
        let mut rows = Vec::with_capacity(ended.len());
        for (delivery, ended) in ended {
            self.memory.note(ended);
            // Mostly there is no suspect at all.
            if !self.suspects.is_empty() && self.suspects.remove(&ended.run).is_some() {
                cleared.push(ended.run);
                if let Some(left) = self.suspected.get_mut(&delivery) {
                    *left -= 1;
                    if *left == 0 {
                        self.suspected.remove(&delivery);
                    }
                }
            }
            rows.push(ended);
        }
        self.is_writing = self.batches.send(Batch { ended: rows, cleared }).is_ok();
    }

    /// Waits until the thread that writes says something; for ever, if nothing is being written.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn told(&mut self) -> Told {
        if !self.is_writing {
            return std::future::pending().await;
        }
        match self.told.recv().await {
            Some(Told::Written) => {
                self.is_writing = false;
                Told::Written
            }
            Some(trouble) => trouble,
            None => Told::Trouble("its thread has ended, which is a bug in the host".to_owned()),
        }
    }

    /// Lets go of the files after writing what is left. Whatever still runs was not interrupted by a crash.
    pub fn close(self) {
        self.running.forgive();
        let Self { batches, thread, .. } = self;
        drop(batches);
        let Some(thread) = thread else { return };
        let since = std::time::Instant::now();
        while !thread.is_finished() && since.elapsed() < CLOSE_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// The life of the thread that writes: one transaction for each batch, however often that has to be tried.
fn write_all(mut file: JournalFile, mut inbox: UnboundedReceiver<Batch>, tell: &UnboundedSender<Told>) {
    while let Some(batch) = inbox.blocking_recv() {
        while let Err(error) = file.write(&batch.ended, &batch.cleared) {
            // Whoever closes the journal does not wait for a disk that is full.
            if tell.send(Told::Trouble(error.to_string())).is_err() || inbox.is_closed() {
                return;
            }
            std::thread::sleep(WRITE_AGAIN);
        }
        if tell.send(Told::Written).is_err() {
            return;
        }
    }
}
