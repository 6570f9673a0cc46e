//! How to go on when the portal or the queue is away for a while.

use std::time::Duration;

use tokio::sync::watch;

/// The bound of the first wait, and the highest.
const FIRST: Duration = Duration::from_secs(1);
const HIGHEST: Duration = Duration::from_secs(60);

/// The waits between tries: anything below a bound that doubles.
pub struct Again {
    bound: Duration,
}

impl Again {
    /// The first wait comes.
    pub fn new() -> Self {
        Self { bound: FIRST }
    }

    /// How long to wait now, and at least `least`; `jitter` is between 0 and 1.
    pub fn wait(&mut self, least: Option<Duration>, jitter: f64) -> Duration {
        let wait = self.bound.mul_f64(jitter).max(least.unwrap_or_default());
        self.bound = (self.bound * 2).min(HIGHEST);
        wait
    }
}

/// Waits; answers whether to go on afterwards, and at once if not.
pub async fn goes_on_after(wait: Duration, stopping: &watch::Receiver<bool>) -> bool {
    let mut stopping = stopping.clone();
    tokio::select! {
        biased;
        () = stopped(&mut stopping) => false,
        () = tokio::time::sleep(wait) => true,
    }
}

/// Waits until it is to stop; for ever, if nobody is left who could say so.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_become_longer_up_to_a_minute_and_are_no_shorter_than_the_portal_asks_for() {
        let mut again = Again::new();
        let waits: Vec<_> = (0..8).map(|_| again.wait(None, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(again.wait(None, 0.5), HIGHEST / 2);
        assert_eq!(Again::new().wait(Some(Duration::from_secs(90)), 0.1), Duration::from_secs(90));
    }
}
