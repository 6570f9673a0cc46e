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
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use file::JournalError;
pub use key::{DeliveryKey, RunKey, worker_hash};
pub use running::{Running, Slot, forgive_all};

use file::JournalFile;
use memory::Memory;
use place::Place;
use running::Left;

/// How long to wait before rows that could not be written are tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// For how long the end of a run is known for a delivery without an id: a little more than a broker takes to notice
/// that we are gone, and a restart takes.
const UNNAMED_KNOWN_SECONDS: u32 = 120;

/// How long the thread may take to write what is left when the journal is closed.
const CLOSE_MAX: Duration = Duration::from_secs(1);

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
    /// When, in seconds since 1970.
    pub at: u32,
    /// In which session, if its delivery has no name of its own; 0 otherwise.
    pub session: u32,
}

impl Ended {
    /// Stands in the file for an orderly stop: whatever was settled before is known to have been.
    const STOPPED: Self = Self { run: RunKey(u64::MAX), hops: 0, at: 0, session: 0 };
}

/// What the thread that writes says.
#[derive(Debug)]
pub enum Told {
    /// The batch that was handed over last is on file.
    Written,
    /// It could not be written, for this reason; it is tried again.
    Trouble(String),
    /// The thread has ended, and nothing will be written any more. Said once.
    Lost,
}

/// What was begun and what has ended. One owner, the dispatcher.
pub struct Journal {
    memory: Memory,
    suspects: HashMap<RunKey, u32>,
    suspected: HashMap<DeliveryKey, u32>,
    running: Arc<Running>,
    /// What has been noted and not yet been handed over.
    unwritten: Batch,
    batches: UnboundedSender<Batch>,
    told: UnboundedReceiver<Told>,
    /// A batch was handed over and is not yet written.
    is_writing: bool,
    /// The thread that writes has ended.
    is_lost: bool,
    thread: Option<JoinHandle<()>>,
    /// Held, so that no other process writes the same files.
    place: Place,
}

/// What is written in one transaction.
#[derive(Default)]
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
        file.read(|ended| if ended == Ended::STOPPED { memory.forget_unnamed() } else { memory.note(ended) })?;
        // A copy that was sent on later is another matter than the end of an earlier one.
        let had_ended = |left: &Left| memory.end(left.run).is_some_and(|end| left.hops < end.hops);
        let crashed: Vec<_> =
            left.into_iter().filter(|left| !had_ended(left)).map(|left| (left.delivery, left.run)).collect();
        file.count_crashes(&crashed)?;
        running.clear().map_err(|error| place.error(&error))?;
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
        let unwritten = Batch::default();
        Ok(Self {
            memory,
            suspects,
            suspected,
            running,
            unwritten,
            batches,
            told,
            is_writing: false,
            is_lost: false,
            thread,
            place,
        })
    }

    /// Learns of ends that were stored elsewhere, together with what their runs left behind: the key of each run, its hops
    /// and its time, as in [`Ended`].
    pub fn learn(&mut self, ended: impl IntoIterator<Item = (u64, u32, u32)>) {
        for (run, hops, at) in ended {
            self.memory.note(Ended { run: RunKey(run), hops, at, session: 0 });
        }
    }

    /// Where each thread notes what it runs.
    pub fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Whether a worker's run on a delivery has ended, when that had been sent on `hops` times before and is delivered
    /// again in `session`.
    pub fn has_ended(&self, delivery: DeliveryKey, worker: u64, hops: u32, session: u64) -> bool {
        let Some(end) = self.memory.end(delivery.run_hashed(worker)) else { return false };
        // Without a name, an equal body is rather done twice than not at all. What was settled in a session does not come
        // again in the same one, and long after it is another message, too.
        let is_same = || end.session != unnamed_session(session) && end.at.abs_diff(now()) < UNNAMED_KNOWN_SECONDS;
        hops < end.hops && (delivery.is_named() || is_same())
    }

    /// The hops beyond all with which a run is known to have ended.
    pub fn hops_beyond(&self, run: RunKey) -> u32 {
        self.memory.end(run).map_or(0, |end| end.hops.saturating_add(1))
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

    /// Notes that a worker's run on a delivery of `session` has ended, after that had been sent on `hops` times before:
    /// known at once, and written with the next batch.
    pub fn note(&mut self, delivery: DeliveryKey, worker: u64, hops: u32, session: u64) {
        let session = if delivery.is_named() { 0 } else { unnamed_session(session) };
        self.note_ended(delivery, Ended { run: delivery.run_hashed(worker), hops: hops + 1, at: now(), session });
    }

    fn note_ended(&mut self, delivery: DeliveryKey, ended: Ended) {
        self.memory.note(ended);
        self.unwritten.ended.push(ended);
        // Mostly there is no suspect at all.
        if !self.suspects.is_empty() && self.suspects.remove(&ended.run).is_some() {
            self.unwritten.cleared.push(ended.run);
            if let Some(left) = self.suspected.get_mut(&delivery) {
                *left -= 1;
                if *left == 0 {
                    self.suspected.remove(&delivery);
                }
            }
        }
    }

    /// Whether there is nothing that has been noted and not been handed over.
    pub fn is_handed_over(&self) -> bool {
        self.unwritten.ended.is_empty()
    }

    /// Hands over what has been noted; [`told`](Self::told) says when it is on file.
    pub fn write(&mut self) {
        debug_assert!(!self.is_writing, "one batch after another");
        // If the thread is gone, that is told instead of an end.
        let _ = self.batches.send(std::mem::take(&mut self.unwritten));
        self.is_writing = true;
    }

    /// Waits until the thread that writes says something; for ever, if nothing is being written.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn told(&mut self) -> Told {
        if !self.is_writing || self.is_lost {
            return std::future::pending().await;
        }
        match self.told.recv().await {
            Some(Told::Written) => {
                self.is_writing = false;
                Told::Written
            }
            Some(trouble) => trouble,
            None => {
                self.is_lost = true;
                Told::Lost
            }
        }
    }

    /// Lets go of the files after writing what is left. Whatever still runs was not interrupted by a crash.
    pub fn close(self) {
        self.running.forgive();
        let Self { batches, mut unwritten, thread, place, .. } = self;
        // All acknowledgements have been answered, or are taken for lost: then something is done twice.
        unwritten.ended.push(Ended::STOPPED);
        let _ = batches.send(unwritten);
        drop(batches);
        let Some(thread) = thread else { return };
        let since = Instant::now();
        while !thread.is_finished() && since.elapsed() < CLOSE_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
        // Only now may another process have it.
        drop(place);
    }
}

/// A session's number as it stands in the journal; never 0.
fn unnamed_session(session: u64) -> u32 {
    u32::try_from(session % u64::from(u32::MAX)).unwrap_or(0) + 1
}

/// Seconds since 1970, as they stand in the journal.
pub fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn open(dir: &Path) -> Journal {
        Journal::open(&Settings { path: dir.join("journal"), keep: 1000 }).unwrap()
    }

    fn key(number: u64) -> DeliveryKey {
        DeliveryKey(number << 1 | 1)
    }

    /// Writes that the first worker is through with a delivery, and waits until it is on file.
    fn end(journal: &mut Journal, delivery: DeliveryKey, hops: u32) {
        journal.note(delivery, 1, hops - 1, 1);
        journal.write();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(matches!(runtime.block_on(journal.told()), Told::Written));
        assert!(!journal.is_writing());
    }

    /// As the end of the process: nothing is told or tidied up.
    fn crash(journal: Journal) {
        let Journal { place, running, .. } = journal;
        std::mem::forget(running);
        // Only the lock goes with the process.
        drop(place);
    }

    #[test]
    fn what_has_ended_is_known_after_a_restart_for_that_worker_and_that_hop() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        end(&mut journal, key(7), 2);
        assert!(journal.has_ended(key(7), 1, 1, 2));
        journal.close();
        let journal = open(dir.path());
        assert!(journal.has_ended(key(7), 1, 0, 2) && journal.has_ended(key(7), 1, 1, 2));
        assert!(!journal.has_ended(key(7), 1, 2, 2), "the copy that was sent on then is another matter");
        assert!(!journal.has_ended(key(7), 2, 0, 2), "another worker");
        assert!(!journal.has_ended(key(8), 1, 0, 2));
    }

    #[test]
    fn without_an_id_an_end_is_only_known_for_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        let unnamed = DeliveryKey(14);
        assert!(!unnamed.is_named() && key(7).is_named());
        let long_ago = now() - UNNAMED_KNOWN_SECONDS;
        for (delivery, at) in [(unnamed, now()), (DeliveryKey(16), long_ago), (key(9), long_ago)] {
            let session = if delivery.is_named() { 0 } else { unnamed_session(1) };
            journal.memory.note(Ended { run: delivery.run_hashed(1), hops: 1, at, session });
        }
        assert!(journal.has_ended(unnamed, 1, 0, 2));
        assert!(!journal.has_ended(unnamed, 1, 0, 1), "what was settled in a session does not come again in it");
        assert!(!journal.has_ended(DeliveryKey(16), 1, 0, 2));
        assert!(journal.has_ended(key(9), 1, 0, 2));
    }

    #[test]
    fn a_crash_is_counted_for_what_was_running_until_that_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        for crashes in 0..3 {
            let mut journal = open(dir.path());
            assert_eq!(journal.crashes(key(7).run_hashed(1)), crashes);
            assert_eq!(journal.is_suspect(key(7)), crashes > 0);
            assert!(!journal.is_suspect(key(8)));
            let (mut slot, mut bystander) = (journal.running().slot(), journal.running().slot());
            slot.begin(key(7), key(7).run_hashed(1), 0);
            bystander.begin(key(8), key(8).run_hashed(1), 0);
            bystander.idle();
            end(&mut journal, key(8), 1);
            std::mem::forget(slot);
            crash(journal);
        }
        let mut journal = open(dir.path());
        assert_eq!(journal.crashes(key(7).run_hashed(1)), 3);
        end(&mut journal, key(7), 1);
        assert!(!journal.is_suspect(key(7)));
        journal.close();
        assert!(!open(dir.path()).is_suspect(key(7)), "it is forgotten on file, too");
    }

    #[test]
    fn what_had_ended_when_the_process_died_is_no_suspect() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        let mut slot = journal.running().slot();
        slot.begin(key(7), key(7).run_hashed(1), 0);
        end(&mut journal, key(7), 1);
        std::mem::forget(slot);
        crash(journal);
        let journal = open(dir.path());
        assert!(!journal.is_suspect(key(7)) && journal.has_ended(key(7), 1, 0, 2));
    }

    #[test]
    fn after_an_orderly_stop_an_equal_body_without_an_id_is_another_message() {
        let dir = tempfile::tempdir().unwrap();
        let unnamed = DeliveryKey(14);
        let mut journal = open(dir.path());
        end(&mut journal, unnamed, 1);
        crash(journal);
        let mut journal = open(dir.path());
        assert!(journal.has_ended(unnamed, 1, 0, 2), "after a crash it may be the same one");
        end(&mut journal, key(7), 1);
        journal.close();
        let journal = open(dir.path());
        assert!(!journal.has_ended(unnamed, 1, 0, 3) && journal.has_ended(key(7), 1, 0, 3));
    }

    #[test]
    fn a_crash_in_a_copy_counts_although_an_earlier_one_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        end(&mut journal, key(7), 1);
        let mut slot = journal.running().slot();
        slot.begin(key(7), key(7).run_hashed(1), 1);
        std::mem::forget(slot);
        crash(journal);
        assert_eq!(open(dir.path()).crashes(key(7).run_hashed(1)), 1);
    }

    #[test]
    fn what_was_noted_and_not_yet_handed_over_is_written_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        journal.note(key(7), 1, 0, 1);
        journal.write();
        journal.note(key(8), 1, 0, 1);
        journal.close();
        let journal = open(dir.path());
        assert!(journal.has_ended(key(7), 1, 0, 2) && journal.has_ended(key(8), 1, 0, 2));
    }

    #[test]
    fn a_stop_on_purpose_is_no_crash() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path());
        let mut slot = journal.running().slot();
        slot.begin(key(7), key(7).run_hashed(1), 0);
        journal.close();
        std::mem::forget(slot);
        assert!(!open(dir.path()).is_suspect(key(7)));
    }

    #[test]
    fn two_processes_have_two_places_and_a_free_one_is_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, other) = (open(dir.path()), open(dir.path()));
        end(&mut one, key(7), 1);
        assert!(!other.has_ended(key(7), 1, 0, 2));
        one.close();
        assert!(open(dir.path()).has_ended(key(7), 1, 0, 2));
        other.close();
    }

    #[test]
    fn a_damaged_journal_is_set_aside_and_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("journal/0.db");
        let mut journal = open(dir.path());
        end(&mut journal, key(7), 1);
        journal.close();
        fs::write(&file, "no database, but long enough to be looked at as one ".repeat(100)).unwrap();
        let mut journal = open(dir.path());
        assert!(!journal.has_ended(key(7), 1, 0, 2), "nothing is known any more");
        end(&mut journal, key(8), 1);
        journal.close();
        assert!(open(dir.path()).has_ended(key(8), 1, 0, 2));
        let aside = fs::read_dir(dir.path().join("journal")).unwrap();
        let aside = aside.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("damaged-"));
        assert_eq!(aside.count(), 1);
    }

    #[test]
    fn a_journal_of_a_later_version_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).close();
        let file = rusqlite::Connection::open(dir.path().join("journal/0.db")).unwrap();
        file.pragma_update(None, "user_version", 2).unwrap();
        drop(file);
        let settings = Settings { path: dir.path().join("journal"), keep: 1000 };
        let error = Journal::open(&settings).err().unwrap();
        assert!(error.to_string().contains("was written by a later version of worker"), "{error}");
    }

    #[test]
    fn the_file_stays_small_however_much_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for batch in 0..200 {
            for key in (0..100).map(|number| key(batch * 100 + number)) {
                journal.note(key, 1, 0, 1);
            }
            journal.write();
            assert!(matches!(runtime.block_on(journal.told()), Told::Written));
        }
        journal.close();
        let file = rusqlite::Connection::open(dir.path().join("journal/0.db")).unwrap();
        let bytes: i64 = file.query_row("SELECT sum(length(runs)) FROM ended", [], |row| row.get(0)).unwrap();
        assert!((1000..=1300).contains(&(bytes / 20)), "{bytes} bytes of 20,000 runs");
        let bytes = fs::metadata(dir.path().join("journal/0.db")).unwrap().len();
        assert!(bytes < 200_000, "{bytes}");
        assert!(open(dir.path()).has_ended(key(19_999), 1, 0, 2));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_said_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("journal"), "a file").unwrap();
        let settings = Settings { path: dir.path().join("journal"), keep: 1000 };
        let error = Journal::open(&settings).err().unwrap().to_string();
        assert!(error.contains("cannot be written") && error.contains("`journal.path`"), "{error}");
    }
}
