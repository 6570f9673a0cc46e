//! Reasons to start nothing for a while: what would come of it could not be written down, or could not be done.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{DispatchError, Dispatcher, UNANSWERED_MAX};

/// How often CKAN is asked whether it is back.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// A hold lasts at least so long: each gives back what is in hand, and the broker counts that.
const HELD_MIN: Duration = Duration::from_secs(1);

/// Why nothing is started just now, and since when.
#[derive(Debug)]
pub(super) struct Hold {
    reason: Reason,
    since: Instant,
}

/// A reason to start nothing.
#[derive(Debug, PartialEq, Eq)]
enum Reason {
    /// It is ours alone: what has not begun goes back to the queue, where another host may take it.
    Here(String),
    /// It is the same for every host: what has not begun waits here, for each time it goes back the broker counts.
    Everywhere(String),
}

impl Reason {
    fn text(&self) -> &str {
        match self {
            Self::Here(text) | Self::Everywhere(text) => text,
        }
    }
}

impl Dispatcher {
    /// Whether nothing is started just now.
    pub(super) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Looks whether there is a reason to start nothing, and acts when that has changed.
    pub(super) fn look_at_holds(&mut self) {
        self.probe_ckan();
        let reason = self.reason_to_hold();
        match (&mut self.hold, reason) {
            (None, Some(reason)) => {
                tracing::error!("nothing new is started: {}", reason.text());
                self.source.pause();
                self.begin_hold(&reason);
                self.hold = Some(Hold { reason, since: Instant::now() });
            }
            (Some(hold), Some(reason)) if hold.reason != reason => {
                tracing::error!("still nothing new is started: {}", reason.text());
                let since = hold.since;
                self.begin_hold(&reason);
                self.hold = Some(Hold { reason, since });
            }
            (Some(hold), None) if hold.since.elapsed() >= HELD_MIN => {
                tracing::info!("going on after {:?}", hold.since.elapsed());
                self.hold = None;
                self.board.held.store(false, Ordering::Release);
                self.board.parked.store(false, Ordering::Release);
                self.source.resume();
            }
            _ => {}
        }
    }

    /// Keeps the threads from starting anything.
    fn begin_hold(&mut self, reason: &Reason) {
        let is_here = matches!(reason, Reason::Here(_));
        self.board.parked.store(!is_here, Ordering::Release);
        self.board.held.store(is_here, Ordering::Release);
        if is_here {
            // What was told before may be about what is given back.
            let _ = self.hear();
            self.give_back_unstarted();
        }
    }

    /// Whoever waits for the queue to become empty does not wait for a hold to end.
    pub(super) fn give_up_if_held_long(&self) -> Result<(), DispatchError> {
        match &self.hold {
            Some(hold) if hold.since.elapsed() > UNANSWERED_MAX => {
                Err(DispatchError::Held(hold.reason.text().to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn reason_to_hold(&self) -> Option<Reason> {
        let journal =
            self.journal_trouble.as_ref().map(|trouble| format!("what is done cannot be written down: {trouble}"));
        let letters = || self.letters.blocked().map(|why| format!("what fails could not be sent on: {why}"));
        let failing = || {
            let failing = self.failing.load(Ordering::Relaxed) > 0;
            failing.then(|| "what failed cannot be sent on; the lines above say why".to_owned())
        };
        let ckan = || {
            let is_away = self.services.ckan.breaker().is_open();
            is_away.then(|| format!("CKAN is away; it is asked every {PROBE_EVERY:?} whether it is back"))
        };
        let gates = || {
            let now = Instant::now();
            let are_closed = self.members.iter().all(|member| member.gate.closed_for(now).is_some());
            are_closed.then(|| "CKAN refuses what the workers do; the lines above say why".to_owned())
        };
        let here = journal.or_else(letters).or_else(failing).map(Reason::Here);
        here.or_else(|| ckan().or_else(gates).map(Reason::Everywhere))
    }

    /// Asks CKAN from time to time whether it is back. The call itself closes the breaker.
    fn probe_ckan(&mut self) {
        if !self.services.ckan.breaker().is_open() {
            self.probed = None;
            return;
        }
        let is_time = self.probed.is_none_or(|probed| probed.elapsed() >= PROBE_EVERY);
        if is_time && self.probes.is_empty() {
            // The first is not at once: whatever opened the breaker has just asked.
            if self.probed.replace(Instant::now()).is_some() {
                let services = std::sync::Arc::clone(&self.services);
                self.probes.spawn(async move { drop(services.ckan.check().await) });
            }
        }
    }
}
