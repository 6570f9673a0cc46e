//! What can be asked of a backfill.

use std::time::SystemTime;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::dead::{Rate, rate, since};

/// For whom, of which datasets, and how fast.
#[derive(Debug, Clone, Args)]
pub struct BackfillArgs {
    /// Workers that are to work on the datasets, by plugin name
    #[arg(value_name = "WORKER", required = true)]
    pub workers: Vec<String>,
    /// Only datasets that this finds, in the language of CKAN's search, as in organization:city
    #[arg(long, value_name = "QUERY", value_parser = NonEmptyStringValueParser::new())]
    pub query: Option<String>,
    /// Only datasets that were changed since then: a time ago as in 2h or 3d, or a day or time in UTC as in 2026-11-01
    #[arg(long, value_name = "TIME", value_parser = since_as_given)]
    pub since: Option<Since>,
    /// No more notifications than this in a second, as in 5/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub rate: Option<Rate>,
    /// Go on with the one that was interrupted
    #[arg(long)]
    pub resume: bool,
}

/// A time, and how it was given.
#[derive(Debug, Clone)]
pub struct Since {
    /// As it stands on the command line.
    pub text: String,
    /// When that is.
    pub time: SystemTime,
}

fn since_as_given(text: &str) -> Result<Since, String> {
    since(text).map(|time| Since { text: text.to_owned(), time })
}
