//! Waiting for what other processes do, always with a bound.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// How often something outside this process is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Whether `condition` becomes true within that time.
pub fn eventually(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    eventually_some(within, || condition().then_some(())).is_some()
}

/// The first thing that `find` answers within that time.
pub fn eventually_some<T>(within: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let found = find();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A lock between processes; given back when dropped, and by the system when the process ends.
pub struct FileLock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl FileLock {
    /// Waits for the lock.
    ///
    /// # Panics
    /// The file cannot be made or locked.
    pub fn acquire(path: &Path) -> Self {
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.unwrap_or_else(|error| panic!("cannot make the lock {}: {error}", path.display()));
        flock(&file, FlockOperation::LockExclusive)
            .unwrap_or_else(|error| panic!("cannot take the lock {}: {error}", path.display()));
        Self(file)
    }
}
