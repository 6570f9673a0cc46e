//! What is running just now: one place for each thread in a small file, overwritten before each call.
//!
//! The file is read only when the process that wrote it has died. A write reaches the system's memory, not the disk:
//! that is enough to outlive the process.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crossbeam_queue::ArrayQueue;

use super::{DeliveryKey, RunKey};

/// How many threads can be noted; those beyond are not, and a crash in them is not counted.
const SLOTS_MAX: usize = 4096;

/// The keys of a delivery and of a run, and its hops; all zero when nothing runs.
const SLOT_BYTES: usize = 24;

/// The file with a slot for each thread.
pub struct Running {
    file: File,
    /// Nothing is noted any more: the process is being ended on purpose.
    is_closed: AtomicBool,
    free: ArrayQueue<u64>,
}

/// A run that was going on when a process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) delivery: DeliveryKey,
    pub(super) run: RunKey,
    /// How often its notification had been sent on.
    pub(super) hops: u32,
}

/// Where one thread notes what it runs.
pub struct Slot {
    running: Arc<Running>,
    /// Where in the file; `None` if there are more threads than slots.
    offset: Option<u64>,
    is_idle: bool,
}

impl Running {
    /// Opens the file; answers what stands in it, which is to be [cleared](Self::clear) once it has been counted.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Left>)> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let mut left = Vec::new();
        (&file).take((SLOTS_MAX * SLOT_BYTES) as u64).read_to_end(&mut left)?;
        let left = left.chunks_exact(SLOT_BYTES).filter_map(self::left).collect();
        let free = ArrayQueue::new(SLOTS_MAX);
        for slot in 0..SLOTS_MAX {
            let _ = free.push((slot * SLOT_BYTES) as u64);
        }
        Ok((Self { file, is_closed: AtomicBool::new(false), free }, left))
    }

    /// Empties the file; in full, so that the disk cannot be full later.
    pub(super) fn clear(&self) -> io::Result<()> {
        write_at(&self.file, &vec![0; SLOTS_MAX * SLOT_BYTES], 0)
    }

    /// A slot for one more thread.
    pub fn slot(self: &Arc<Self>) -> Slot {
        Slot { running: Arc::clone(self), offset: self.free.pop(), is_idle: true }
    }

    /// Notes that nothing runs: what is cut off from here on is not the fault of the notifications.
    pub fn forgive(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        let _ = self.clear();
    }

    /// Makes it known to [`forgive_all`].
    pub(super) fn register(self: &Arc<Self>) {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|running| running.strong_count() > 0);
        open.push(Arc::downgrade(self));
    }
}

/// The journals of this process: somebody who ends it on purpose does not mean a crash.
static OPEN: Mutex<Vec<Weak<Running>>> = Mutex::new(Vec::new());

/// Notes for all journals of this process that nothing runs, before it is ended on purpose.
pub fn forgive_all() {
    for running in OPEN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if let Some(running) = running.upgrade() {
            running.forgive();
        }
    }
}

impl Slot {
    /// Notes that a run begins.
    pub fn begin(&mut self, delivery: DeliveryKey, run: RunKey, hops: u32) {
        let mut keys = [0; SLOT_BYTES];
        keys[..8].copy_from_slice(&delivery.0.to_le_bytes());
        keys[8..16].copy_from_slice(&run.0.to_le_bytes());
        keys[16..20].copy_from_slice(&hops.to_le_bytes());
        self.is_idle = false;
        self.write(&keys);
    }

    /// Notes that nothing runs here any more.
    pub fn idle(&mut self) {
        if !self.is_idle {
            self.is_idle = true;
            self.write(&[0; SLOT_BYTES]);
        }
    }

    fn write(&self, keys: &[u8; SLOT_BYTES]) {
        // The room was taken when the file was opened. If the disk fails all the same, a crash is not counted.
        if let Some(offset) = self.offset
            && !self.running.is_closed.load(Ordering::SeqCst)
        {
            let _ = write_at(&self.running.file, keys, offset);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.idle();
        if let Some(offset) = self.offset {
            let _ = self.running.free.push(offset);
        }
    }
}

fn left(slot: &[u8]) -> Option<Left> {
    let delivery = u64::from_le_bytes(slot.get(..8)?.try_into().ok()?);
    let run = u64::from_le_bytes(slot.get(8..16)?.try_into().ok()?);
    let hops = u32::from_le_bytes(slot.get(16..20)?.try_into().ok()?);
    (run != 0).then_some(Left { delivery: DeliveryKey(delivery), run: RunKey(run), hops })
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_running_is_found_again_and_what_was_not_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.running");
        let (running, left) = Running::open(&path).unwrap();
        assert_eq!(left, []);
        let running = Arc::new(running);
        let (mut one, mut other, mut third) = (running.slot(), running.slot(), running.slot());
        running.clear().unwrap();
        one.begin(DeliveryKey(1), RunKey(11), 0);
        one.begin(DeliveryKey(2), RunKey(12), 0);
        other.begin(DeliveryKey(3), RunKey(13), 0);
        other.idle();
        third.begin(DeliveryKey(4), RunKey(14), 7);
        // As if the process had died: nothing is dropped in an orderly way.
        std::mem::forget(one);
        let found = [(2, 12, 0), (4, 14, 7)];
        let found = found.map(|(delivery, run, hops)| Left { delivery: DeliveryKey(delivery), run: RunKey(run), hops });
        let (again, left) = Running::open(&path).unwrap();
        assert_eq!(left, found);
        again.clear().unwrap();
        let (_, left) = Running::open(&path).unwrap();
        assert_eq!(left, [], "it is counted once");
    }

    #[test]
    fn what_ends_on_purpose_is_forgiven() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.running");
        let running = Arc::new(Running::open(&path).unwrap().0);
        running.register();
        let mut slot = running.slot();
        slot.begin(DeliveryKey(1), RunKey(11), 0);
        forgive_all();
        slot.begin(DeliveryKey(2), RunKey(12), 0);
        assert_eq!(Running::open(&path).unwrap().1, []);
    }
}
