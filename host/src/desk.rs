//! Where one thread works: what it tells the dispatcher, and what the dispatcher sees of it from outside.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_queue::SegQueue;
use tokio::sync::Notify;

use crate::task::{Event, Task};

/// A thread that told this many events wakes the dispatcher, even if it has more to do.
const UNTOLD_MAX: u32 = 32;

/// How often a thread that must not start anything looks whether it may again.
const PARKED: Duration = Duration::from_millis(50);

/// A run longer than this is worth waking somebody for; a shorter one is told together with others.
const QUICK: Duration = Duration::from_micros(50);

/// What all threads tell the dispatcher, and it them.
pub struct Board {
    /// What the dispatcher has not yet read.
    pub events: SegQueue<Event>,
    /// Wakes the dispatcher.
    pub ready: Notify,
    /// Nothing new is to be started, for good.
    pub stopping: AtomicBool,
    /// Nothing at all is to be started just now.
    pub held: AtomicBool,
    /// Nothing is to be started just now, and what has not begun waits.
    pub parked: AtomicBool,
    /// Times are counted from here.
    epoch: Instant,
}

impl Board {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            events: SegQueue::new(),
            ready: Notify::new(),
            stopping: AtomicBool::new(false),
            held: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            epoch: Instant::now(),
        }
    }

    /// Microseconds since the board was made; never 0.
    fn time(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX).max(1)
    }
}

/// Where one thread works.
pub struct Desk {
    board: Arc<Board>,
    /// The task in hand. Held only to look at it or to change it, twice per task.
    task: Mutex<Option<Arc<Task>>>,
    /// When the attempt in hand is over time; 0 between attempts.
    due: AtomicU64,
    /// When the attempt in hand began.
    began: AtomicU64,
    /// How long the last attempt took, in microseconds; 0 before the first.
    recent: AtomicU64,
    /// Events that were put on the board without waking the dispatcher.
    untold: AtomicU32,
}

impl Desk {
    /// A desk with nothing on it.
    pub fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            task: Mutex::new(None),
            due: AtomicU64::new(0),
            began: AtomicU64::new(0),
            recent: AtomicU64::new(0),
            untold: AtomicU32::new(0),
        }
    }

    /// Puts a task on it, or clears it.
    pub fn put(&self, task: Option<Arc<Task>>) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = task;
    }

    /// An attempt begins that has time until `deadline`.
    pub fn begin(&self, deadline: Instant) {
        self.began.store(self.board.time(Instant::now()), Ordering::Relaxed);
        self.due.store(self.board.time(deadline), Ordering::Release);
    }

    /// The attempt is over.
    pub fn end(&self) {
        self.due.store(0, Ordering::Release);
        let took = self.board.time(Instant::now()).saturating_sub(self.began.load(Ordering::Relaxed));
        self.recent.store(took, Ordering::Relaxed);
    }

    /// Tells the dispatcher; soon, or together with what is told next.
    pub fn tell(&self, event: Event) {
        self.board.events.push(event);
        let untold = self.untold.load(Ordering::Relaxed) + 1;
        self.untold.store(untold, Ordering::Relaxed);
        if untold >= UNTOLD_MAX || !self.is_quick() {
            self.wake_dispatcher();
        }
    }

    /// Makes sure that the dispatcher reads what was told.
    pub fn wake_dispatcher(&self) {
        if self.untold.swap(0, Ordering::Relaxed) > 0 {
            self.board.ready.notify_one();
        }
    }

    /// Whether nothing at all is to be started just now.
    pub fn is_held(&self) -> bool {
        self.board.held.load(Ordering::Acquire)
    }

    /// Waits while nothing is to be started just now.
    pub fn wait_while_parked(&self) {
        while self.board.parked.load(Ordering::Acquire) && !self.is_stopping() {
            std::thread::sleep(PARKED);
        }
    }

    /// Whether nothing new is to be started.
    pub fn is_stopping(&self) -> bool {
        self.board.stopping.load(Ordering::Acquire)
    }

    /// Whether runs here are so short that waking another thread costs more than it gains.
    pub fn is_quick(&self) -> bool {
        let quick = u64::try_from(QUICK.as_micros()).unwrap_or(u64::MAX);
        if self.recent.load(Ordering::Relaxed) > quick {
            return false;
        }
        // The attempt in hand may already have taken longer than the last one did.
        let in_hand = self.due.load(Ordering::Acquire) != 0;
        !in_hand || self.board.time(Instant::now()).saturating_sub(self.began.load(Ordering::Relaxed)) <= quick
    }

    /// Takes the task away if the run in hand outlived its deadline by more than `grace`; answers it and the run.
    pub fn take_overdue(&self, now: Instant, grace: Duration) -> Option<(Arc<Task>, usize)> {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        // The run is read before its time: if both change in between, taking away fails.
        let turn = task.turn();
        let due = self.due.load(Ordering::Acquire);
        let is_overdue =
            due != 0 && self.board.time(now) > due.saturating_add(self.board.time(self.board.epoch + grace));
        (is_overdue && task.take_away(turn)).then_some((task, turn))
    }
}
