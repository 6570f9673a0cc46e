//! One message's way, seen from the one who owns it: take, hand to the threads, hear how it ended, settle.

mod alone;
mod finish;
mod gather;
mod hear;
mod hold;
mod look;
mod take;
mod wake;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::delivery::Receipt;
use crate::desk::Board;
use crate::journal::{DeliveryKey, Journal};
use crate::lanes::Lanes;
use crate::pool::Pool;
use crate::services::call::Services;
use crate::source::{Letters, Source, SourceError};
use crate::store::Wake;
use crate::subscription::Member;
use crate::task::{Job, Task};
use gather::Gathering;
use hear::Kept;
use hold::Hold;
use wake::Wakes;

/// How often overdue runs and waiting work are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often an empty queue is asked whether it is still empty, when that is what is waited for.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How often the store is asked whether a worker wants to be called.
const WAKE_EVERY: Duration = Duration::from_secs(1);

/// How long a queue that is asked whether it is empty may be away.
const UNANSWERED_MAX: Duration = Duration::from_secs(30);

/// How work is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many threads work at once.
    pub concurrency: usize,
    /// How many deliveries may be in hand, unsettled.
    pub in_hand_max: usize,
    /// How long a run may go on after its deadline before it is given up.
    pub grace: Duration,
    /// How long work in hand may take once the host is to stop.
    pub drain: Duration,
    /// The longest body that is read, in bytes.
    pub body_bytes_max: usize,
    /// How long notifications about one dataset are gathered; zero if no worker wants that.
    pub coalesce: Duration,
    /// Stop once the queue is empty.
    pub until_empty: bool,
    /// Only look at what is in the queue: nothing is settled, and all of it goes back at the end.
    pub dry_run: bool,
}

/// Why the work stopped.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The queue cannot be consumed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The system gives no threads.
    #[error("no thread to run workers on: {0}")]
    Threads(#[source] io::Error),
    /// As many threads as may work at once are stuck in runs that outlived their deadline.
    #[error("{0} runs outlived their deadline and cannot be stopped; only a restart gets their threads back")]
    AllStuck(usize),
    /// A worker that takes one notification at a time is stuck in one.
    #[error(
        "{0} takes one notification at a time, outlived its deadline with one, and cannot be stopped; only a restart gets it back"
    )]
    SerialStuck(String),
    /// Nothing could be started for long, and somebody waits for the queue to become empty.
    #[error("nothing could be started for {UNANSWERED_MAX:?}: {0}")]
    Held(String),
    /// The thread that writes the journal has ended.
    #[error(
        "the thread that writes the journal has ended by a panic, which is a bug in the host; what is in hand comes back"
    )]
    JournalLost,
    /// A thread panicked outside of any worker.
    #[error(
        "a thread that runs workers has ended by a panic, which is a bug in the host; what it had in hand comes back"
    )]
    ThreadLost,
}

/// What was done until the work stopped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Deliveries that were settled.
    pub settled: u64,
    /// Deliveries that were given back.
    pub released: u64,
    /// Runs that were sent to wait until they are tried again.
    pub retried: u64,
    /// Dead letters that were kept.
    pub dead: u64,
    /// Deliveries that a dry run looked at, and gave back.
    pub looked_at: u64,
    /// Runs that were still going when the time to stop was over.
    pub left_running: usize,
}

/// Takes deliveries, hands them to the threads, settles them. Owns everything about a delivery but its run.
pub struct Dispatcher {
    source: Box<dyn Source>,
    letters: Arc<dyn Letters>,
    journal: Journal,
    settings: Settings,
    members: Arc<[Member]>,
    services: Arc<Services>,
    board: Arc<Board>,
    pool: Pool,
    lanes: Lanes<Job>,
    gathering: Gathering,
    in_hand: Slab<InHand>,
    /// Notifications that the threads have, or will have without more ado.
    running: usize,
    /// What has to run alone, with its lane, and which of it does.
    alone: VecDeque<(Option<u64>, Job)>,
    alone_in_hand: Option<usize>,
    keeping: JoinSet<Kept>,
    /// Which notification a letter is about that is on its way.
    kept_for: HashMap<Id, usize>,
    /// How many letters have failed several times and are still tried.
    failing: Arc<AtomicUsize>,
    /// What is settled once what has ended so far is on file.
    unwritten: Vec<usize>,
    /// What waits for the journal to say that it is on file.
    writing: Vec<usize>,
    journal_trouble: Option<String>,
    hold: Option<Hold>,
    /// When CKAN was last asked whether it is back.
    probed: Option<Instant>,
    probes: JoinSet<()>,
    wakes: Wakes,
    /// What was looked at in a dry run.
    looked_at: Vec<Receipt>,
    settled: Vec<Receipt>,
    released: Vec<Receipt>,
    give_up: watch::Sender<bool>,
    summary: Summary,
    /// Since when the queue has not said whether it is empty.
    unanswered_since: Option<Instant>,
}

/// A delivery that is not yet settled.
struct InHand {
    receipt: Receipt,
    key: DeliveryKey,
    /// How often it had been sent on before.
    hops: u32,
    /// The journal's part for the one worker it is for.
    only: u64,
    /// Letters about it that are on their way.
    letters: usize,
    /// Runs of it that end when those of a newer one do.
    waits: usize,
    /// The runs that end with it: the ticket of the older notification, and the worker's key.
    heirs: Vec<(usize, u64)>,
    /// All workers have had it.
    is_over: bool,
    /// It is to come back.
    is_unsettled: bool,
    /// The worker's wish that it is the answer to.
    wake: Option<Box<Wake>>,
}

impl Dispatcher {
    /// Puts the parts together. `give_up` becomes `true` when runs are to be broken off.
    pub fn new(
        source: Box<dyn Source>,
        journal: Journal,
        members: Arc<[Member]>,
        services: Arc<Services>,
        give_up: watch::Sender<bool>,
        settings: Settings,
    ) -> Self {
        assert!(!members.is_empty(), "at least one worker takes part");
        // A program that embeds the host may ask for nothing at all; nothing would ever be done then.
        let (concurrency, in_hand_max) = (settings.concurrency.max(1), settings.in_hand_max.max(1));
        let settings = Settings { concurrency, in_hand_max, ..settings };
        let board = Arc::new(Board::new());
        let pool = Pool::new(
            Arc::clone(&members),
            Arc::clone(&services),
            Arc::clone(&board),
            Arc::clone(journal.running()),
            settings.concurrency,
            settings.grace,
        );
        Self {
            letters: source.letters(),
            source,
            journal,
            settings,
            members,
            services,
            board,
            pool,
            lanes: Lanes::default(),
            gathering: Gathering::default(),
            in_hand: Slab::new(),
            running: 0,
            alone: VecDeque::new(),
            alone_in_hand: None,
            keeping: JoinSet::new(),
            kept_for: HashMap::new(),
            failing: Arc::default(),
            unwritten: Vec::new(),
            writing: Vec::new(),
            journal_trouble: None,
            hold: None,
            probed: None,
            probes: JoinSet::new(),
            wakes: Wakes::default(),
            looked_at: Vec::new(),
            settled: Vec::new(),
            released: Vec::new(),
            give_up,
            summary: Summary::default(),
            unanswered_since: None,
        }
    }

    /// Works until `stop` becomes `true` or, if that was asked for, the queue is empty.
    ///
    /// # Errors
    /// The queue cannot be consumed, or no thread can work. What is in hand is finished or given back first.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Summary, DispatchError> {
        let stopped = self.work(&mut stop).await;
        let summary = self.finish().await;
        stopped.map(|()| summary)
    }

    async fn work(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), DispatchError> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ask = tokio::time::interval(ASK_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wake = tokio::time::interval(WAKE_EVERY);
        wake.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let board = Arc::clone(&self.board);
        loop {
            let room = self.room();
            let due = self.gathering.due();
            tokio::select! {
                biased;
                () = told_to_stop(stop) => return Ok(()),
                () = board.ready.notified() => {}
                told = self.journal.told() => self.journal_told(told)?,
                Some(kept) = self.keeping.join_next_with_id() => self.letter_ended(kept),
                batch = self.source.next(room), if room > 0 => self.take(batch?)?,
                Some(due) = self.wakes.looking.join_next() => self.woken(due)?,
                _ = wake.tick(), if self.has_room_for_wakes() => self.look_for_wakes(),
                () = until(due), if due.is_some() => self.start_gathered()?,
                _ = look.tick(), if self.has_something_to_look_after() => {
                    self.look_after()?;
                    if self.settings.until_empty {
                        self.give_up_if_held_long()?;
                    }
                }
                _ = ask.tick(), if self.settings.until_empty && self.in_hand.is_empty() => {
                    self.give_up_if_held_long()?;
                    let is_empty = tokio::select! {
                        biased;
                        // A broker that is away may take long to answer.
                        () = told_to_stop(stop) => return Ok(()),
                        answer = self.is_queue_empty() => answer?,
                    };
                    if is_empty {
                        return Ok(());
                    }
                }
            }
            self.hear()?;
            self.settle();
            if self.has_looked_at_enough() {
                return Ok(());
            }
        }
    }

    /// How many more deliveries may be taken now.
    fn room(&self) -> usize {
        if self.is_held() || self.is_anything_alone() {
            return 0;
        }
        self.settings.in_hand_max.saturating_sub(self.in_hand.len() + self.looked_at.len())
    }

    /// Whether a dry run has looked at as much as can be held unsettled.
    fn has_looked_at_enough(&self) -> bool {
        self.settings.dry_run && self.in_hand.is_empty() && self.looked_at.len() >= self.settings.in_hand_max
    }

    /// Asks whether the queue is empty. A queue that is briefly away cannot say, and is asked again.
    async fn is_queue_empty(&mut self) -> Result<bool, DispatchError> {
        match self.source.depth().await {
            Ok(depth) => {
                self.unanswered_since = None;
                Ok(depth <= self.looked_at.len() as u64)
            }
            Err(error) => {
                let since = *self.unanswered_since.get_or_insert_with(Instant::now);
                if since.elapsed() > UNANSWERED_MAX { Err(error.into()) } else { Ok(false) }
            }
        }
    }

    fn start(&mut self, groups: Vec<(Option<u64>, Vec<Job>)>) -> Result<(), DispatchError> {
        let tasks = groups.into_iter().map(|(lane, jobs)| Arc::new(Task::new(lane, jobs.into(), 0)));
        self.pool.submit(tasks).map_err(DispatchError::Threads)
    }

    fn settle(&mut self) {
        self.settle_wakes();
        if self.settings.dry_run {
            self.looked_at.append(&mut self.settled);
            self.looked_at.append(&mut self.released);
            return;
        }
        if !self.settled.is_empty() {
            self.summary.settled += self.settled.len() as u64;
            self.source.settle(std::mem::take(&mut self.settled));
        }
        if !self.released.is_empty() {
            self.summary.released += self.released.len() as u64;
            self.source.release(std::mem::take(&mut self.released));
        }
    }
}

/// Waits until `stop` becomes `true`; for ever, if nobody is left who could say so.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until then; for ever without a time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

impl InHand {
    fn new(receipt: Receipt, key: DeliveryKey, hops: u32, only: u64) -> Self {
        Self {
            receipt,
            key,
            hops,
            only,
            letters: 0,
            waits: 0,
            heirs: Vec::new(),
            is_over: false,
            is_unsettled: false,
            wake: None,
        }
    }
}
