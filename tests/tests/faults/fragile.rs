//! Brokers of the suite's own, which cases may stop, kill and starve, one after another.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

use worker_tests::{Broker, wait::eventually_some};

/// A broker, for one case at a time; well again when the case is over.
pub struct Fragile {
    broker: &'static Broker,
    _turn: MutexGuard<'static, ()>,
}

/// A place for such a broker. There are as many as tests run side by side on a small machine: none waits for another.
struct Place {
    turn: Mutex<()>,
    broker: OnceLock<Option<Broker>>,
}

static PLACES: [Place; 2] = [const { Place { turn: Mutex::new(()), broker: OnceLock::new() } }; 2];

/// Waits for a broker that no other case has; `None` if tests that need a broker are left out.
pub fn fragile() -> Option<Fragile> {
    let (place, turn) = eventually_some(TURN_MAX, || PLACES.iter().find_map(|place| Some((place, place.take()?))))
        .expect("other cases are over at some time");
    let broker = place.broker.get_or_init(Broker::private).as_ref()?;
    Some(Fragile { broker, _turn: turn })
}

/// How long other cases may take.
const TURN_MAX: Duration = Duration::from_secs(3600);

impl Place {
    /// The right to use it, if nobody has it now.
    fn take(&'static self) -> Option<MutexGuard<'static, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            // A case that failed is no reason for the next one to fail.
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Fragile {
    /// The broker, which lives as long as the test run.
    pub fn broker(&self) -> &'static Broker {
        self.broker
    }

    /// Runs out of memory, or has enough again. Connections that publish are blocked meanwhile.
    pub fn is_short_of_memory(&self, is_so: bool) {
        let limit = if is_so { "0" } else { "0.4" };
        self.broker.eval(&format!("vm_memory_monitor:set_vm_memory_high_watermark({limit})."));
    }

    /// Runs out of disk, or has enough again.
    pub fn is_short_of_disk(&self, is_so: bool) {
        let limit = if is_so { "\"1000000GB\"" } else { "\"50MB\"" };
        self.broker.eval(&format!("rabbit_disk_monitor:set_disk_free_limit({limit})."));
    }

    /// How long a connection that is made from now on may take to acknowledge, in milliseconds.
    pub fn acknowledgements_take_at_most(&self, ms: u32) {
        let tick = ms.min(60_000) / 4;
        self.broker.eval(&format!(
            "application:set_env(rabbit, consumer_timeout, {ms}), \
             application:set_env(rabbit, channel_tick_interval, {tick})."
        ));
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        // Where the case failed with the broker down there is nothing to undo, and nobody to ask.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.broker.start_app();
            self.is_short_of_memory(false);
            self.is_short_of_disk(false);
            self.acknowledgements_take_at_most(1_800_000);
        }));
    }
}

impl Deref for Fragile {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        self.broker
    }
}
