//! A portal whose search is asked what has changed, for portals that publish nothing.
//!
//! One task does it: a look for what has a new stamp every few seconds, and between two looks, a page at a time, a sweep
//! over all datasets for what has none. Whatever a step finds is written down together with how far it came.

mod look;
mod notices;
mod portal;
mod progress;
mod self_test;
mod sweep;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::fed::{Ground, Outage, Trouble};
use super::sqlite::{Book, Intake};
use crate::services::Failure;
use crate::services::ckan::{Listed, Listing, Order};
use portal::Portal;
use progress::Progress;
pub use self_test::self_test;

/// How soon it is looked again whether a sweep that waits may go on.
const WAITING_AGAIN: Duration = Duration::from_secs(1);

/// How a portal is asked what has changed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often.
    pub interval: Duration,
    /// How far back each time.
    pub overlap: Duration,
    /// How often all datasets are compared with what is known of them; zero for the first time only.
    pub sweep: Duration,
    /// How many requests a second at most.
    pub rate: u32,
    /// What is new the first time.
    pub start: Start,
}

/// What is new to a portal's first listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Every dataset there is.
    #[default]
    Everything,
    /// What changes from now on.
    Now,
}

impl Start {
    /// Reads a setting.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "everything" => Ok(Self::Everything),
            "now" => Ok(Self::Now),
            _ => Err("expected `everything` or `now`".to_owned()),
        }
    }
}

/// Asks a portal for ever.
pub async fn run(ground: Ground, settings: Settings) {
    let portal = Portal::new(ground.client, settings.rate);
    let Ground { site_url, book, queue, has_looked, trouble, .. } = ground;
    let (progress, introduced, has_swept, owed) = (Progress::default(), None, false, BTreeMap::new());
    let poll =
        Poll { portal, site_url, book, queue, has_looked, trouble, settings, progress, introduced, has_swept, owed };
    poll.go_on().await;
}

/// The polling of a portal.
struct Poll {
    portal: Portal,
    /// The portal's address, without a slash at its end.
    site_url: String,
    book: Book,
    queue: String,
    has_looked: watch::Sender<bool>,
    trouble: watch::Sender<Option<String>>,
    settings: Settings,
    progress: Progress,
    /// When the portal last knew our token; `None` before it has.
    introduced: Option<Instant>,
    /// Whether a sweep has ended since the start.
    has_swept: bool,
    /// What is to be told of when the portal no longer fails at it.
    owed: BTreeMap<String, Listed>,
}

/// When something is to be done next, and why that may be later than it was to be.
struct Turn {
    due: Instant,
    outage: Outage,
}

impl Turn {
    fn now() -> Self {
        Self { due: Instant::now(), outage: Outage::default() }
    }

    /// Notes how it went; it comes again after a while, or sooner or later if it went wrong.
    fn is_over(&mut self, site_url: &str, done: &Result<(), Trouble>, after: Duration) {
        let wait = match done {
            Ok(()) => {
                self.outage.worked(site_url);
                after
            }
            Err(trouble) => self.outage.failed(site_url, trouble, fastrand::f64()),
        };
        self.due = Instant::now() + wait;
    }
}

impl Poll {
    async fn go_on(mut self) {
        let (mut start, mut look, mut sweep) = (Turn::now(), Turn::now(), Turn::now());
        loop {
            let begun = self.begin().await;
            start.is_over(&self.site_url, &begun, Duration::ZERO);
            self.tell_trouble([&start, &sweep]);
            if begun.is_ok() {
                break;
            }
            sleep_until(start.due).await;
        }
        look.due = Instant::now();
        loop {
            if look.due <= Instant::now() {
                let looked = self.look().await;
                look.is_over(&self.site_url, &looked, self.settings.interval);
            }
            // Whoever cannot be asked for little is not asked for much.
            if !look.outage.is_on() {
                self.sweep_if_due(&mut sweep).await;
                self.tell_whether_all_was_asked();
            }
            self.tell_trouble([&look, &sweep]);
            let sweeps = if look.outage.is_on() { None } else { self.sweeps_in() };
            let sweeps = sweeps.map(|wait| sweep.due.max(Instant::now() + wait));
            sleep_until(sweeps.map_or(look.due, |sweeps| sweeps.min(look.due))).await;
        }
    }

    /// Finds out how far it has come, or begins.
    async fn begin(&mut self) -> Result<(), Trouble> {
        self_test(self.portal.turn().await).await?;
        // Who is not known is shown less, and would begin with less.
        self.portal.introduce_us().await?;
        let kept = self.book.progress().await?;
        self.progress = match Progress::read(&kept) {
            Some(progress) => progress,
            None => self.first_time().await?,
        };
        let since = match self.progress.cursor.as_str() {
            "" => "the beginning",
            stamp => stamp,
        };
        tracing::info!("asking {} every {:?} what has changed since {since}", self.site_url, self.settings.interval);
        Ok(())
    }

    async fn first_time(&mut self) -> Result<Progress, Trouble> {
        let until = self.until();
        let newest = Listing { query: None, since: None, until: Some(&until), order: Order::Newest, rows: 1 };
        let newest = self.portal.list(newest).await?.into_iter().next().map(|listed| listed.stamp).unwrap_or_default();
        if newest.is_empty() && self.settings.start == Start::Now {
            // Its index may be in the making: all that is listed later would seem to be new.
            return Err(Failure::retryable(
                "ckan.empty",
                "its search lists no dataset yet, and with `poll.start = now` what is there already must be known first",
            )
            .into());
        }
        let progress = Progress { begin: newest.clone(), cursor: newest, ..Progress::default() };
        self.book.take_in(Intake { progress: progress.write(), ..Intake::default() }).await?;
        Ok(progress)
    }

    /// The latest stamp that is looked at, by the search's own clock, with some room for another one of CKAN's.
    fn until(&self) -> String {
        format!("NOW+{}SECONDS", self.settings.overlap.as_secs())
    }

    fn sweeps_in(&self) -> Option<Duration> {
        self.progress.sweeps_in(self.settings.sweep, now_ms())
    }

    async fn sweep_if_due(&mut self, turn: &mut Turn) {
        if turn.due > Instant::now() || self.sweeps_in() != Some(Duration::ZERO) {
            return;
        }
        let (swept, after) = match self.is_enough_waiting().await {
            Ok(true) => (Ok(()), WAITING_AGAIN),
            Ok(false) => (self.sweep().await, Duration::ZERO),
            Err(trouble) => (Err(trouble), Duration::ZERO),
        };
        turn.is_over(&self.site_url, &swept, after);
    }

    /// Tells those who wait for the queue to be empty why it does not come to that.
    fn tell_trouble(&self, turns: [&Turn; 2]) {
        let trouble = turns.into_iter().find_map(|turn| turn.outage.trouble());
        self.trouble.send_replace(trouble.map(ToOwned::to_owned));
    }

    /// Tells those who wait for the queue to be empty once a look and the sweep that was due have ended.
    fn tell_whether_all_was_asked(&self) {
        let is_due = self.sweeps_in() == Some(Duration::ZERO);
        if self.progress.sweep.is_none() && (self.has_swept || !is_due) {
            let _ = self.has_looked.send(true);
        }
    }
}

/// The time of day, for what has to outlast the process.
fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
