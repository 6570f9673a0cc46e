//! Keeps us from asking one server too often: how many requests at once, how many a second, and not at all for as long
//! as it wants to be left alone.
//!
//! Only few wait for one server, and not for long: whoever waits holds a thread that others could use. The rest is told
//! at once when to come back, each a little later than the one before.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The soonest that one who was sent away should come back, and the latest.
const COME_BACK_MIN: Duration = Duration::from_secs(1);
const COME_BACK_MAX: Duration = Duration::from_secs(60 * 60);
/// How many servers are remembered.
const HOSTS_MAX: usize = 10_000;

/// How one server is treated by all workers together.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many requests it gets at once.
    pub concurrency: usize,
    /// How many requests it gets in a second; 0 for no limit.
    pub rate: u32,
    /// How long a request waits for its turn.
    pub patience: Duration,
}

/// Who is asked how often.
#[derive(Debug)]
pub(super) struct Pace {
    settings: Settings,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// The right to ask one server, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    /// A server that is being asked is not forgotten.
    _host: Arc<Host>,
}

/// Come back later.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy {
    /// How much later.
    pub wait: Duration,
    /// Whether the server itself asked for that.
    pub by_request: bool,
}

#[derive(Debug)]
struct Host {
    permits: Arc<Semaphore>,
    line: Semaphore,
    rate: Option<Limiter>,
    times: Mutex<Times>,
}

#[derive(Debug)]
struct Times {
    last_asked: Instant,
    alone_until: Instant,
    /// When the last one that was sent away is to come back.
    come_back: Instant,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<std::time::Instant>>;

/// The runtime's clock, which tests can wind on.
#[derive(Debug, Clone, Copy)]
struct RuntimeClock;

impl Clock for RuntimeClock {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        Instant::now().into_std()
    }
}

impl Pace {
    pub fn new(settings: Settings) -> Self {
        Self { settings, hosts: Mutex::new(HashMap::new()) }
    }

    /// Waits a little for the right to ask `host`.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the line back.
    pub async fn enter(&self, host: &str) -> Result<Turn, Busy> {
        let host = self.host(host);
        host.is_alone()?;
        let patient_until = Instant::now() + self.settings.patience;
        let permit = match Arc::clone(&host.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => host.wait_in_line(patient_until).await.ok_or_else(|| self.come_back(&host))?,
        };
        while let Some(wait) = host.too_early() {
            if Instant::now() + wait > patient_until {
                return Err(self.come_back(&host));
            }
            tokio::time::sleep(wait).await;
        }
        // While we waited, the server may have said something to another.
        host.is_alone()?;
        Ok(Turn { _permit: permit, _host: host })
    }

    /// Lets a server alone that asked for it.
    pub fn leave_alone(&self, host: &str, wait: Duration) {
        let host = self.host(host);
        let mut times = host.times();
        times.alone_until = times.alone_until.max(Instant::now() + wait);
    }

    fn come_back(&self, host: &Host) -> Busy {
        let interval = match self.settings.rate {
            0 => Duration::from_secs(1) / u32::try_from(self.settings.concurrency).unwrap_or(u32::MAX).max(1),
            rate => Duration::from_secs(1) / rate,
        };
        let now = Instant::now();
        let mut times = host.times();
        times.come_back = (times.come_back.max(now + COME_BACK_MIN) + interval).min(now + COME_BACK_MAX);
        Busy { wait: times.come_back - now, by_request: false }
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            host.times().last_asked = Instant::now();
            return Arc::clone(host);
        }
        if hosts.len() >= HOSTS_MAX {
            forget_idle(&mut hosts);
        }
        let host = Arc::new(Host::new(self.settings));
        hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }
}

impl Host {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let limiter = |rate| RateLimiter::direct_with_clock(Quota::per_second(rate), RuntimeClock);
        Self {
            permits: Arc::new(Semaphore::new(settings.concurrency.max(1))),
            // Whoever has a turn holds a thread, too: half as many again may wait for one.
            line: Semaphore::new(settings.concurrency / 2),
            rate: NonZeroU32::new(settings.rate).map(limiter),
            times: Mutex::new(Times { last_asked: now, alone_until: now, come_back: now }),
        }
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_alone(&self) -> Result<(), Busy> {
        let wait = self.times().alone_until.saturating_duration_since(Instant::now());
        if wait.is_zero() { Ok(()) } else { Err(Busy { wait, by_request: true }) }
    }

    /// Waits for a permit; `None` if the line is full, or does not move.
    async fn wait_in_line(&self, until: Instant) -> Option<OwnedSemaphorePermit> {
        let _place = self.line.try_acquire().ok()?;
        let permit = Arc::clone(&self.permits).acquire_owned();
        tokio::time::timeout_at(until, permit).await.ok()?.ok()
    }

    /// How long to wait before another request fits the rate; `None` if it does, and then it is counted.
    fn too_early(&self) -> Option<Duration> {
        let not_until = self.rate.as_ref()?.check().err()?;
        Some(not_until.wait_time_from(RuntimeClock.now()))
    }
}

/// Forgets the servers that nobody asks at the moment: first those that do not mind, then those that want to be left
/// alone, the soonest over first. At least half of the room is free afterwards, unless the servers are all being asked.
fn forget_idle(hosts: &mut HashMap<String, Arc<Host>>) {
    let now = Instant::now();
    // A second after the last request the rate has room for a full burst again.
    let is_idle = |host: &Arc<Host>| {
        Arc::strong_count(host) == 1 && {
            let times = host.times();
            times.alone_until <= now && times.last_asked + Duration::from_secs(1) <= now
        }
    };
    hosts.retain(|_, host| !is_idle(host));
    let mut rest: Vec<_> = hosts
        .iter()
        .filter(|(_, host)| Arc::strong_count(host) == 1)
        .map(|(name, host)| (host.times().alone_until, name.clone()))
        .collect();
    rest.sort_unstable();
    for (_, name) in rest.into_iter().take(hosts.len().saturating_sub(HOSTS_MAX / 2)) {
        hosts.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn pace(concurrency: usize, rate: u32) -> Pace {
        Pace::new(Settings { concurrency, rate, patience: PATIENCE })
    }

    async fn busy(pace: &Pace, host: &str) -> Busy {
        pace.enter(host).await.expect_err("the server is busy")
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_gets_so_many_requests_a_second_after_its_first_few() {
        let pace = pace(100, 5);
        let begun = Instant::now();
        for _ in 0..5 {
            pace.enter("a.example").await.unwrap();
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            pace.enter("a.example").await.unwrap();
        }
        let took = begun.elapsed().as_millis();
        assert!((2_000..2_050).contains(&took), "{took} ms");
        pace.enter("b.example").await.unwrap();
        assert_eq!(begun.elapsed().as_millis(), took);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_sent_away_and_told_when_to_come_back() {
        let pace = pace(1, 0);
        let _turn = pace.enter("a.example").await.unwrap();
        let begun = Instant::now();
        // There is no room in the line for one server that gets one request at a time.
        assert_eq!(busy(&pace, "a.example").await, Busy { wait: Duration::from_secs(2), by_request: false });
        assert_eq!(busy(&pace, "a.example.").await, Busy { wait: Duration::from_secs(3), by_request: false });
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_line_gets_the_next_turn_or_is_sent_away_after_a_while() {
        let pace = pace(2, 0);
        let first = pace.enter("a.example").await.unwrap();
        let _second = pace.enter("a.example").await.unwrap();
        let begun = Instant::now();
        busy(&pace, "a.example").await;
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
        let (waited, ()) = tokio::join!(pace.enter("a.example"), async {
            // The line has room for one, and that one is not overtaken.
            assert!(!busy(&pace, "a.example").await.by_request);
            drop(first);
        });
        assert!(waited.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_left_alone_for_as_long_as_it_wants() {
        let pace = pace(4, 5);
        pace.leave_alone("a.example", Duration::from_secs(60));
        pace.leave_alone("a.example", Duration::from_secs(10));
        assert_eq!(busy(&pace, "a.example").await, Busy { wait: Duration::from_secs(60), by_request: true });
        tokio::time::advance(Duration::from_secs(45)).await;
        assert_eq!(busy(&pace, "a.example").await, Busy { wait: Duration::from_secs(15), by_request: true });
        pace.enter("b.example").await.unwrap();
        tokio::time::advance(Duration::from_secs(15)).await;
        pace.enter("a.example").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_servers_are_remembered_and_those_that_are_asked_always() {
        let pace = pace(1, 5);
        let _turn = pace.enter("asked.example").await.unwrap();
        pace.leave_alone("alone.example", Duration::from_secs(600));
        for number in 0..HOSTS_MAX * 2 {
            pace.enter(&format!("{number}.example")).await.unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(pace.hosts.lock().unwrap().len() <= HOSTS_MAX);
        assert!(!busy(&pace, "asked.example").await.by_request);
        assert!(busy(&pace, "alone.example").await.by_request);
        // A flood of servers that all want to be left alone is forgotten, too.
        for number in 0..HOSTS_MAX * 2 {
            pace.leave_alone(&format!("{number}.flood.example"), Duration::from_secs(60 + number as u64));
        }
        assert!(pace.hosts.lock().unwrap().len() <= HOSTS_MAX);
        assert!(!busy(&pace, "asked.example").await.by_request);
    }
}
