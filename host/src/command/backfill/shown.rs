//! Shows how far a backfill has come: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::command::say;
use crate::store::Backfill;

/// How often a line is said where there is no terminal.
const SAY_EVERY: Duration = Duration::from_secs(10);

const BAR: &str = "{bar:30} {pos} of {len} datasets, {per_sec}, {eta} left  {msg}";

/// What somebody sees of it.
pub struct Shown {
    /// `None` where there is no terminal.
    bar: Option<ProgressBar>,
    begun: Instant,
    said: Instant,
    /// How many datasets were through when it began here.
    before: u64,
}

impl Shown {
    /// Begins to show.
    pub fn begin(progress: &Backfill) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(progress.total), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar.set_position(progress.datasets);
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        Self { bar, begun: now, said: now, before: progress.datasets }
    }

    /// Shows how far it is now.
    pub fn update(&mut self, progress: &Backfill, note: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total.max(progress.datasets));
            bar.set_position(progress.datasets);
            bar.set_message(note.to_owned());
        } else if self.said.elapsed() >= SAY_EVERY {
            self.said = Instant::now();
            let line = line(progress.datasets, progress.total, progress.datasets - self.before, self.begun.elapsed());
            say(&format!("{line}{}{note}", if note.is_empty() { "" } else { "; " }));
        }
    }

    /// Says something besides.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// Leaves what was shown last.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// `done` of `total`, with what was done in `elapsed`.
fn line(done: u64, total: u64, lately: u64, elapsed: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is for people")]
    let (rate, left) = (lately as f64 / elapsed.as_secs_f64().max(0.001), total.saturating_sub(done) as f64);
    let eta = if rate > 0.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive; for people")]
        let seconds = (left / rate).ceil() as u64;
        format!("about {} min {:02} s left", seconds / 60, seconds % 60)
    } else {
        "nobody knows how long it takes".to_owned()
    };
    format!("backfill: {done} of {total} datasets, {rate:.1} a second, {eta}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_how_fast_and_how_long_it_takes() {
        let check = |lately, seconds, expected: &str| {
            assert_eq!(line(2500, 10_000, lately, Duration::from_secs(seconds)), expected);
        };
        check(1000, 10, "backfill: 2500 of 10000 datasets, 100.0 a second, about 1 min 15 s left");
        check(0, 10, "backfill: 2500 of 10000 datasets, 0.0 a second, nobody knows how long it takes");
    }
}
