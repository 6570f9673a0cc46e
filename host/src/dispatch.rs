//! One message's way, seen from the one who owns it: take, hand to the threads, hear how it ended, settle.

mod finish;
mod take;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::delivery::{DeadReason, Letter, Receipt};
use crate::desk::Board;
use crate::lanes::Lanes;
use crate::pool::{Overdue, Pool};
use crate::process::{self, Ended};
use crate::retry::{Disposition, Outcome};
use crate::services::ffi::Services;
use crate::source::{Letters, Source, SourceError};
use crate::subscription::Member;
use crate::task::{Event, Job, Task};

/// How often overdue runs and waiting work are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often an empty queue is asked whether it is still empty, when that is what is waited for.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How long a queue that is asked whether it is empty may be away.
const UNANSWERED_MAX: Duration = Duration::from_secs(30);

/// How long to wait before a dead letter that could not be kept is tried again.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

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
    /// Stop once the queue is empty.
    pub until_empty: bool,
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
    /// Dead letters that were kept.
    pub dead: u64,
    /// Runs that were still going when the time to stop was over.
    pub left_running: usize,
}

/// Takes deliveries, hands them to the threads, settles them. Owns everything about a delivery but its run.
pub struct Dispatcher {
    source: Box<dyn Source>,
    letters: Arc<dyn Letters>,
    settings: Settings,
    members: Arc<[Member]>,
    services: Arc<Services>,
    board: Arc<Board>,
    pool: Pool,
    lanes: Lanes<Job>,
    in_hand: Slab<InHand>,
    keeping: JoinSet<(usize, bool)>,
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
    /// Dead letters that are on their way to be kept.
    letters: usize,
    /// All workers are through with it.
    is_over: bool,
    /// It is to come back.
    is_unsettled: bool,
}

impl Dispatcher {
    /// Puts the parts together. `give_up` becomes `true` when runs are to be broken off.
    pub fn new(
        source: Box<dyn Source>,
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
            settings.concurrency,
            settings.grace,
        );
        Self {
            letters: source.letters(),
            source,
            settings,
            members,
            services,
            board,
            pool,
            lanes: Lanes::default(),
            in_hand: Slab::new(),
            keeping: JoinSet::new(),
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
        let board = Arc::clone(&self.board);
        loop {
            let room = self.settings.in_hand_max.saturating_sub(self.in_hand.len());
            tokio::select! {
                biased;
                () = told_to_stop(stop) => return Ok(()),
                () = board.ready.notified() => {}
                Some(kept) = self.keeping.join_next() => self.letter_ended(&kept),
                batch = self.source.next(room), if room > 0 => self.take(batch?)?,
                _ = look.tick(), if !self.in_hand.is_empty() => self.look_after()?,
                _ = ask.tick(), if self.settings.until_empty && self.in_hand.is_empty() => {
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
        }
    }

    /// Asks whether the queue is empty. A queue that is briefly away cannot say, and is asked again.
    async fn is_queue_empty(&mut self) -> Result<bool, DispatchError> {
        match self.source.depth().await {
            Ok(depth) => {
                self.unanswered_since = None;
                Ok(depth == 0)
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

    /// Hears what the threads have told.
    fn hear(&mut self) -> Result<(), DispatchError> {
        let mut groups = Vec::new();
        while let Some(event) = self.board.events.pop() {
            match event {
                Event::Dead(ticket, letter) => self.keep(ticket, *letter),
                Event::Unsettled(ticket) => self.in_hand[ticket].is_unsettled = true,
                Event::Over(ticket, lane) => {
                    let next = lane.and_then(|lane| self.lanes.leave(lane).map(|jobs| (Some(lane), jobs)));
                    groups.extend(next);
                    self.over(ticket);
                }
            }
        }
        if groups.is_empty() { Ok(()) } else { self.start(groups) }
    }

    fn over(&mut self, ticket: usize) {
        self.in_hand[ticket].is_over = true;
        self.close_if_ended(ticket);
    }

    /// A delivery whose runs have all ended, durably, is settled; one that a run of which did not end comes back.
    fn close_if_ended(&mut self, ticket: usize) {
        let delivery = &self.in_hand[ticket];
        if !delivery.is_over || delivery.letters > 0 {
            return;
        }
        let InHand { receipt, is_unsettled, .. } = self.in_hand.remove(ticket);
        if is_unsettled { self.released.push(receipt) } else { self.settled.push(receipt) }
    }

    fn settle(&mut self) {
        if !self.settled.is_empty() {
            self.summary.settled += self.settled.len() as u64;
            self.source.settle(std::mem::take(&mut self.settled));
        }
        if !self.released.is_empty() {
            self.summary.released += self.released.len() as u64;
            self.source.release(std::mem::take(&mut self.released));
        }
    }

    /// Keeps a dead letter, however often that has to be tried; the delivery is not settled before.
    fn keep(&mut self, ticket: usize, letter: Letter) {
        self.in_hand[ticket].letters += 1;
        let (letters, mut give_up) = (Arc::clone(&self.letters), self.give_up.subscribe());
        self.keeping.spawn(async move {
            while let Err(error) = letters.keep(&letter).await {
                tracing::error!(delivery = %letter.delivery, %error, "a dead letter could not be kept; trying again");
                tokio::select! {
                    _ = give_up.wait_for(|given_up| *given_up) => return (ticket, false),
                    () = tokio::time::sleep(KEEP_AGAIN) => {}
                }
            }
            (ticket, true)
        });
    }

    fn letter_ended(&mut self, kept: &Result<(usize, bool), JoinError>) {
        // A task that panicked has not said which letter it had: that delivery stays unsettled and comes back.
        let &Ok((ticket, is_kept)) = kept else {
            tracing::error!("keeping a dead letter ended with a bug; its notification comes back after a restart");
            return;
        };
        let delivery = &mut self.in_hand[ticket];
        delivery.letters -= 1;
        delivery.is_unsettled |= !is_kept;
        self.summary.dead += u64::from(is_kept);
        self.close_if_ended(ticket);
    }

    /// Gives up runs that outlived their deadline, and brings threads to what waits too long.
    fn look_after(&mut self) -> Result<(), DispatchError> {
        let mut given_up = Ok(());
        for Overdue { task, turn } in self.pool.take_overdue(Instant::now()) {
            // All of them, whatever comes of the first: nobody else ends what was taken away.
            given_up = given_up.and(self.give_up_run(&task, turn));
        }
        given_up?;
        if self.pool.stuck() >= self.settings.concurrency {
            return Err(DispatchError::AllStuck(self.pool.stuck()));
        }
        if self.pool.has_lost_a_thread() {
            return Err(DispatchError::ThreadLost);
        }
        self.pool.look_after().map_err(DispatchError::Threads)
    }

    /// Ends a run that a stuck thread will not end; another thread goes on behind it.
    fn give_up_run(&mut self, task: &Arc<Task>, turn: usize) -> Result<(), DispatchError> {
        let (position, index) = (turn / self.members.len(), turn % self.members.len());
        let (job, member) = (&task.jobs[position], &self.members[index]);
        let error = format!(
            "outlived its deadline of {:?} by more than {:?}; its thread is lost until it comes back",
            member.deadline, self.settings.grace
        );
        let ended = Ended {
            member,
            outcome: Outcome::TimedOut(error),
            attempts: task.attempt(),
            duration: member.deadline + self.settings.grace,
            disposition: Disposition::Dead(DeadReason::TimedOut),
        };
        process::report(job, &ended, &self.services);
        let letter = job.letter(member.worker.name(), DeadReason::TimedOut, ended.outcome.into_error(), ended.attempts);
        // Other threads wait for their turn with it, for ever.
        let is_blocked = member.serial.is_some().then(|| DispatchError::SerialStuck(member.worker.name().to_owned()));
        let ticket = job.ticket;
        self.keep(ticket, letter);
        if index + 1 == self.members.len() {
            let is_last = position + 1 == task.jobs.len();
            self.board.events.push(Event::Over(ticket, task.lane.filter(|_| is_last)));
            if is_last {
                return is_blocked.map_or(Ok(()), Err);
            }
        }
        let rest = Arc::new(Task::new(task.lane, Arc::clone(&task.jobs), turn + 1));
        self.pool.submit([rest]).map_err(DispatchError::Threads)?;
        is_blocked.map_or(Ok(()), Err)
    }
}

/// Waits until `stop` becomes `true`; for ever, if nobody is left who could say so.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl InHand {
    fn new(receipt: Receipt) -> Self {
        Self { receipt, letters: 0, is_over: false, is_unsettled: false }
    }
}
