//! What can be asked of dead letters.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// What can be done with dead letters.
#[derive(Debug, Clone, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, the oldest first
    List {
        /// Which.
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Show all there is to know about one, its body too
    Show {
        /// Its id, or the beginning of it if no other begins so
        #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Put dead letters back on the queue, each for the worker it died for; asks first
    Retry {
        /// Which, and how.
        #[command(flatten)]
        act: ActArgs,
        /// Put back no more than this in a second, as in 5/s. At a broker all of it has to be done within its
        /// consumer_timeout (30 minutes if nothing else is set): what is passed over is held until the end
        #[arg(long, value_name = "N/s", value_parser = rate, help_heading = "How")]
        rate: Option<Rate>,
    },
    /// Write dead letters to a file, one JSON object per line; they stay where they are
    Export {
        /// The file to write; `-` for standard output
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Which.
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Delete dead letters for good; asks first
    Drop {
        /// Which, and how.
        #[command(flatten)]
        act: ActArgs,
    },
}

/// Which dead letters are meant: those that all of this is true of.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which dead letters")]
pub struct WhichArgs {
    /// Only those of this worker
    #[arg(long, value_name = "WORKER")]
    pub worker: Option<String>,
    /// Only those with this reason, as in permanent or attempts_exhausted
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only those that died since then: a time ago as in 2h or 3d, or a day or time in UTC as in 2026-11-01
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<SystemTime>,
    /// Only those with this text in their error or body, in capitals or not
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub text: Option<String>,
    /// Only so many, the oldest (a broker may hand out in another order what was looked at a moment ago)
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// Which dead letters something is done to, and whether it is done.
#[derive(Debug, Clone, Default, Args)]
pub struct ActArgs {
    /// Only those with this id, or the beginning of it if no other begins so
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub ids: Vec<String>,
    /// Which else.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Only list them
    #[arg(long, help_heading = "How")]
    pub dry_run: bool,
}

/// How many in a second at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    per_second: f64,
}

impl Rate {
    /// How many to take together, and how long to wait after each lot.
    pub fn lots(self) -> (usize, Duration) {
        // Ten lots in a second are smooth enough.
        let together = (self.per_second / 10.0).ceil().clamp(1.0, 64.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 1 to 64")]
        (together as usize, Duration::from_secs_f64(together / self.per_second))
    }
}

pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim().parse().ok();
    let rate = number.filter(|number| (0.001..=1_000_000.0).contains(number));
    rate.map(|per_second| Rate { per_second }).ok_or_else(|| "expected a number in a second, as in 5/s".to_owned())
}

pub(super) fn since(text: &str) -> Result<SystemTime, String> {
    let now = Timestamp::now().to_zoned_datetime(TimeZone::UTC);
    let ago = text.parse::<Span>().ok().and_then(|span| now.checked_sub(span.abs()).ok()).map(|then| then.timestamp());
    let time = || text.parse::<Timestamp>().ok();
    let day = || text.parse::<DateTime>().ok()?.to_zoned_datetime(TimeZone::UTC).ok().map(|then| then.timestamp());
    let then = ago.or_else(time).or_else(day);
    then.and_then(|then| SystemTime::try_from(then).ok()).ok_or_else(|| {
        "expected a time ago as in 2h or 3d, or a day or time as in 2026-11-01 or 2026-11-01T12:00Z".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_so_long_ago_or_in_the_calendar() {
        let is_ago = |text: &str, seconds: u64| {
            let ago = SystemTime::now().duration_since(since(text).unwrap()).unwrap();
            assert!(ago.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(5), "{text}: {ago:?}");
        };
        is_ago("2h", 7200);
        is_ago("3d", 259_200);
        is_ago("90s", 90);
        is_ago("1h30m", 5400);
        let at = |text: &str| since(text).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(at("2026-11-01"), 1_793_491_200);
        assert_eq!(at("2026-11-01T12:00Z"), 1_793_491_200 + 43_200);
        assert_eq!(at("2026-11-01T12:00"), at("2026-11-01T13:00+01:00"));
        for wrong in ["yesterday", "", "2h and more", "2026-13-01"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_so_many_in_a_second() {
        let lots = |text: &str| rate(text).unwrap().lots();
        assert_eq!(lots("5/s"), (1, Duration::from_millis(200)));
        assert_eq!(lots("100"), (10, Duration::from_millis(100)));
        assert_eq!(lots("0.5/s"), (1, Duration::from_secs(2)));
        for wrong in ["0", "-1/s", "5/m", "NaN", "inf", ""] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
