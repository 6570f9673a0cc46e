//! The threads that workers run on. Never the runtime's own: a worker may block them for as long as it likes.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_queue::SegQueue;

use crate::desk::{Board, Desk};
use crate::journal::Running;
use crate::process::process;
use crate::services::call::Services;
use crate::subscription::Member;
use crate::task::Task;

/// The threads, and what waits for one of them. Threads are added while there is work that waits.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
    /// Threads that are stuck in a run that was taken away from them; each has been replaced.
    stuck: Vec<Thread>,
    threads_max: usize,
    grace: Duration,
}

struct Thread {
    desk: Arc<Desk>,
    handle: JoinHandle<()>,
}

struct Shared {
    members: Arc<[Member]>,
    services: Arc<Services>,
    board: Arc<Board>,
    running: Arc<Running>,
    waiting: SegQueue<Arc<Task>>,
    /// How many threads sleep. Changed with `bed` held, read without.
    sleepers: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
    closed: AtomicBool,
}

/// A task whose run in hand was taken away from a stuck thread.
pub struct Overdue {
    /// The task.
    pub task: Arc<Task>,
    /// The run that was in hand.
    pub turn: usize,
}

impl Pool {
    /// A pool without threads; at most `threads_max` will work at once.
    pub fn new(
        members: Arc<[Member]>,
        services: Arc<Services>,
        board: Arc<Board>,
        running: Arc<Running>,
        threads_max: usize,
        grace: Duration,
    ) -> Self {
        let shared = Shared {
            members,
            services,
            board,
            running,
            waiting: SegQueue::new(),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::new(()),
            alarm: Condvar::new(),
            closed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), threads: Vec::new(), stuck: Vec::new(), threads_max, grace }
    }

    /// Hands tasks over, and wakes or adds threads if that is worth it.
    ///
    /// # Errors
    /// The system gives no thread at all; with at least one, the tasks only wait longer.
    pub fn submit(&mut self, tasks: impl IntoIterator<Item = Arc<Task>>) -> io::Result<()> {
        let mut count = 0;
        for task in tasks {
            self.shared.waiting.push(task);
            count += 1;
        }
        if count == 0 { Ok(()) } else { self.staff(count) }
    }

    /// Brings threads to what waits. Runs that are over in no time are left to a thread that is already awake.
    fn staff(&mut self, waiting: usize) -> io::Result<()> {
        let asleep = self.shared.sleepers.load(Ordering::SeqCst);
        let awake = self.threads.len() - asleep.min(self.threads.len());
        let wanted = if self.is_quick() { usize::from(awake == 0) } else { waiting };
        let woken = wanted.min(asleep);
        if woken > 0 {
            // With the bed held, a thread is either still before its last look or already asleep.
            let _bed = self.shared.bed.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..woken {
                self.shared.alarm.notify_one();
            }
        }
        for _ in 0..(wanted - woken).min(self.threads_max - self.threads.len()) {
            match self.add_thread() {
                Ok(()) => {}
                Err(error) if self.threads.is_empty() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "no more threads than {} are to be had", self.threads.len());
                    break;
                }
            }
        }
        Ok(())
    }

    /// Looks after what the quick way forgets: work that waits behind a run that turned out to be long.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn look_after(&mut self) -> io::Result<()> {
        let waiting = self.shared.waiting.len();
        if waiting == 0 {
            return Ok(());
        }
        let asleep = self.shared.sleepers.load(Ordering::SeqCst);
        if asleep > 0 {
            let _bed = self.shared.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.alarm.notify_all();
        } else if self.threads.len() < self.threads_max {
            self.add_thread()?;
        }
        Ok(())
    }

    /// Takes away what outlived its deadline and the grace time, and gives the stuck threads' places to new ones.
    pub fn take_overdue(&mut self, now: Instant) -> Vec<Overdue> {
        self.stuck.retain(|thread| !thread.handle.is_finished());
        let mut overdue = Vec::new();
        let mut index = 0;
        while index < self.threads.len() {
            match self.threads[index].desk.take_overdue(now, self.grace) {
                Some((task, turn)) => {
                    overdue.push(Overdue { task, turn });
                    self.stuck.push(self.threads.swap_remove(index));
                }
                None => index += 1,
            }
        }
        overdue
    }

    /// How many threads are stuck in runs that were taken away from them.
    pub fn stuck(&self) -> usize {
        self.stuck.len()
    }

    /// Whether a thread has ended although nobody sent it home; its run will not be told about.
    pub fn has_lost_a_thread(&self) -> bool {
        self.threads.iter().any(|thread| thread.handle.is_finished())
    }

    /// Takes back what no thread has begun.
    pub fn drain(&self) -> Vec<Arc<Task>> {
        std::iter::from_fn(|| self.shared.waiting.pop()).collect()
    }

    /// Sends the threads home and waits for them, but not for those that are stuck.
    pub fn close(self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        {
            let _bed = self.shared.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.alarm.notify_all();
        }
        for thread in self.threads {
            // A thread only ends by a panic if the host has a bug; that panic has been printed.
            let _ = thread.handle.join();
        }
    }

    /// Whether runs take so little time that one thread gets through them soonest.
    fn is_quick(&self) -> bool {
        !self.threads.is_empty() && self.threads.iter().all(|thread| thread.desk.is_quick())
    }

    fn add_thread(&mut self) -> io::Result<()> {
        let desk = Arc::new(Desk::new(Arc::clone(&self.shared.board)));
        let (shared, theirs) = (Arc::clone(&self.shared), Arc::clone(&desk));
        let handle = std::thread::Builder::new().name("worker-run".to_owned()).spawn(move || work(&shared, &theirs))?;
        self.threads.push(Thread { desk, handle });
        Ok(())
    }
}

/// A thread's life: takes what waits, sleeps when nothing does.
fn work(shared: &Shared, desk: &Desk) {
    let mut slot = shared.running.slot();
    loop {
        while let Some(task) = shared.waiting.pop() {
            desk.put(Some(Arc::clone(&task)));
            process(&task, &shared.members, &shared.services, desk, &mut slot);
            desk.put(None);
            if task.was_taken_away() {
                tracing::warn!("a worker has come back from a run that was given up; its result is not used");
                return;
            }
        }
        desk.wake_dispatcher();
        slot.idle();
        if !sleep(shared) {
            return;
        }
    }
}

/// Sleeps until something waits; `false` once the pool is closed.
fn sleep(shared: &Shared) -> bool {
    let mut bed = shared.bed.lock().unwrap_or_else(PoisonError::into_inner);
    shared.sleepers.fetch_add(1, Ordering::SeqCst);
    // Whoever submits pushes before looking for sleepers, so either this look finds it or that one finds us.
    while shared.waiting.is_empty() && !shared.closed.load(Ordering::SeqCst) {
        bed = shared.alarm.wait(bed).unwrap_or_else(PoisonError::into_inner);
    }
    shared.sleepers.fetch_sub(1, Ordering::SeqCst);
    drop(bed);
    !shared.closed.load(Ordering::SeqCst)
}
