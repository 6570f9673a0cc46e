//! `worker backfill WORKER…`: has workers work on datasets that are there already.
//!
//! Each dataset that is found becomes one notification for each worker, for that worker alone, in the lane beside the
//! queue: what changes on the portal meanwhile is worked on first. How far it has come is kept after every lot that the
//! queue has confirmed, so that it can be interrupted.

mod again;
mod read;
mod shown;
mod work;

use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::json;

use super::{configured, exit_of, not_written, runtime, say, stop};
use crate::catalog::{Catalog, Entry, Options, Refusal, places};
use crate::cli::{BackfillArgs, Cli, Format};
use crate::config::Config;
use crate::exit::Exit;
use crate::services::Failure;
use crate::services::ckan::{Client, NOT_AUTHORIZED, SetupError};
use crate::source::{self, SourceError};
use crate::store::{Backfill, Store, StoreError};
use shown::Shown;
use work::{BAD_QUERY, Ended, Work};

const STOPPING: &str = "stopping after the notifications in hand; once more to stop at once";

/// Why a backfill does not go on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Refusal(Box<Refusal>),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("{}", .0.message)]
    Ckan(Failure),
    #[error(transparent)]
    Queue(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Trouble {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refusal(_) | Self::Setup(_) | Self::Store(StoreError::Later(_)) => Exit::Config,
            Self::Ckan(failure) if failure.code == NOT_AUTHORIZED => Exit::Refused,
            Self::Ckan(failure) if failure.code == BAD_QUERY => Exit::Usage,
            Self::Ckan(_) | Self::Store(StoreError::Unusable { .. }) => Exit::Unavailable,
            Self::Queue(error) => exit_of(error),
        }
    }
}

/// Puts what the portal has into the lane.
pub fn backfill(cli: &Cli, args: &BackfillArgs) -> Exit {
    let config = match configured(cli) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let stop = stop::on_signals_saying(STOPPING);
    let work = async {
        let plan = Plan::make(cli, args, &config)?;
        plan.carry_out(cli, stop.stopping.clone()).await
    };
    match runtime.block_on(work) {
        Ok(exit) => exit,
        Err(trouble) => {
            say(&format!("error: {trouble}"));
            trouble.exit()
        }
    }
}

/// What is to be done.
struct Plan<'a> {
    config: &'a Config,
    args: &'a BackfillArgs,
    workers: Vec<String>,
    client: Client,
    store: Store,
    place: String,
    arguments: String,
    /// The one that goes on.
    unfinished: Option<Backfill>,
}

impl<'a> Plan<'a> {
    fn make(cli: &Cli, args: &'a BackfillArgs, config: &'a Config) -> Result<Self, Trouble> {
        let workers = workers(args, config)?;
        let Some(site_url) = &config.ckan.site_url else {
            let where_to = "no portal is named, so there is nothing to list; name it in `ckan.site_url`";
            return Err(Trouble::Usage(where_to.to_owned()));
        };
        let place = format!("{site_url} {} {}", config.queue.address, config.queue.name);
        let arguments = arguments(args, &workers);
        let store = Store::open(&config.store)?;
        let mut begun = store.backfills(&place)?;
        let unfinished = begun.iter().position(|one| one.arguments == arguments).map(|index| begun.remove(index));
        let unfinished = match (unfinished, args.resume) {
            (None, true) => return Err(Trouble::Usage(nothing_to_resume(&arguments, &begun))),
            (Some(one), false) if !cli.output.yes => {
                return Err(Trouble::Usage(format!(
                    "{arguments} was begun and not finished, after {} of {} datasets; pass --resume to go on with it, or \
                     --yes to begin anew",
                    one.datasets, one.total
                )));
            }
            (Some(one), true) => Some(one),
            (_, false) => None,
        };
        let client = Client::new(config.ckan.clone())?;
        Ok(Self { config, args, workers, client, store, place, arguments, unfinished })
    }

    async fn carry_out(self, cli: &Cli, stopping: tokio::sync::watch::Receiver<bool>) -> Result<Exit, Trouble> {
        // A token that CKAN does not know makes us a stranger without a word, who sees less.
        if let Some(failure) = self.client.check().await.failure().filter(|failure| failure.code == NOT_AUTHORIZED) {
            return Err(Trouble::Ckan(failure.clone()));
        }
        let publisher = source::open_lane_publisher(&self.config.queue)?;
        let work = Work {
            config: self.config,
            client: &self.client,
            store: &self.store,
            publisher: &*publisher,
            workers: &self.workers,
            query: self.args.query.as_deref(),
            rate: self.args.rate,
            stopping,
        };
        let since = self.args.since.as_ref().map(|since| stamp(since.time));
        let begun = match self.unfinished.clone() {
            Some(unfinished) => Some(unfinished),
            None => work.begin(&self.place, &self.arguments, since).await?,
        };
        let Some(mut progress) = begun else { return Ok(Exit::Interrupted) };
        let mut shown = Shown::begin(&progress);
        let ended = work.run(&mut progress, &mut shown).await;
        publisher.close().await;
        shown.end();
        let ended = ended.inspect_err(|_| self.say_how_to_go_on(&progress))?;
        if ended == Ended::Stopped {
            self.say_how_to_go_on(&progress);
            return Ok(Exit::Interrupted);
        }
        self.store.end_backfill(&progress)?;
        match writeln!(stdout(), "{}", self.result(cli, &progress)) {
            Ok(()) => Ok(Exit::Done),
            Err(error) => Ok(not_written(&error)),
        }
    }

    fn say_how_to_go_on(&self, progress: &Backfill) {
        say(&format!(
            "{} of {} datasets are through, with {} notifications confirmed; to go on: {} --resume",
            progress.datasets, progress.total, progress.notifications, self.arguments
        ));
    }

    fn result(&self, cli: &Cli, progress: &Backfill) -> String {
        let (lane, address) = (self.config.queue.lane().name, self.config.queue.address.to_string());
        let Backfill { datasets, notifications, waiting, unreadable, .. } = progress;
        match cli.output.format {
            Format::Json => {
                let result = json!({
                    "schema": "ckan-worker/1", "run": progress.run, "queue": lane, "address": address,
                    "workers": self.workers, "datasets": datasets, "notifications": notifications,
                    "waiting_already": waiting, "not_readable": unreadable,
                });
                format!("{result:#}")
            }
            Format::Text => {
                let not_readable = match unreadable {
                    0 => String::new(),
                    some => format!("; {some} datasets are not readable, the lines above name them"),
                };
                format!(
                    "{datasets} datasets: {notifications} notifications for {} are on queue {lane} and confirmed, \
                     {waiting} were left out because the same waits there already{not_readable}",
                    self.workers.join(" and ")
                )
            }
        }
    }
}

/// The workers, each once; says which of them will not be called.
fn workers(args: &BackfillArgs, config: &Config) -> Result<Vec<String>, Trouble> {
    let mut workers = args.workers.clone();
    workers.sort();
    workers.dedup();
    let options = Options { allow_insecure_dir: config.allow_insecure_plugin_dir };
    let catalog = Catalog::scan_places(&places(&config.plugin_dirs), options);
    for worker in &workers {
        let path = config.workers.get(worker).and_then(|section| section.path.as_ref());
        let at_path = path.map(|path| Entry::at(path, options));
        let entry = match &at_path {
            Some(entry) => entry,
            None => catalog.find(worker).map_err(|refusal| Trouble::Refusal(Box::new(refusal)))?,
        };
        if let Some(refusal) = entry.refusal() {
            return Err(Trouble::Refusal(Box::new(refusal.clone())));
        }
        let Some(manifest) = entry.manifest() else { continue };
        let asks = |wanted: &[String], word: &str| wanted.is_empty() || wanted.iter().any(|one| one == word);
        if !asks(&manifest.routing_keys, "Package") || !asks(&manifest.operations, "changed") {
            say(&format!(
                "worker {worker} does not ask for changes of datasets (Package changed): these notifications will pass it \
                 by"
            ));
        }
    }
    Ok(workers)
}

/// What was asked for, as it stands on the command line, with workers in order; without what may be otherwise when it
/// goes on.
fn arguments(args: &BackfillArgs, workers: &[String]) -> String {
    let mut text = format!("worker backfill {}", workers.join(" "));
    if let Some(query) = &args.query {
        // Writing to a `String` cannot fail.
        let _ = write!(text, " --query '{}'", query.replace('\'', r"'\''"));
    }
    if let Some(since) = &args.since {
        let _ = write!(text, " --since {}", since.text);
    }
    text
}

fn nothing_to_resume(arguments: &str, others: &[Backfill]) -> String {
    let others: Vec<_> = others.iter().map(|other| format!("\n  {} --resume", other.arguments)).collect();
    let hint = if others.is_empty() { String::new() } else { format!("; what can be resumed:{}", others.concat()) };
    format!("there is nothing to resume: no {arguments} was interrupted{hint}")
}

/// A time in the form that the search compares.
fn stamp(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_known_again_whatever_the_order_of_its_workers() {
        let args = |line: &str| {
            let line = ["worker", "backfill"].into_iter().chain(line.split(' ')).map(Into::into);
            let Some(crate::cli::Command::Backfill { args }) = Cli::read(line).unwrap().command else {
                panic!("it is a backfill")
            };
            args
        };
        let text = |line: &str| {
            let args = args(line);
            let mut workers = args.workers.clone();
            workers.sort();
            arguments(&args, &workers)
        };
        assert_eq!(text("qa archive"), "worker backfill archive qa");
        assert_eq!(text("archive qa --rate 5/s --resume"), text("qa archive"));
        let expected = r"worker backfill qa --query 'title:it'\''s' --since 3d";
        assert_eq!(text("--since 3d qa --query title:it's"), expected);
    }

    #[test]
    fn a_time_is_a_stamp_of_the_searchs() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_793_491_200_250);
        assert_eq!(stamp(time), "2026-11-01T00:00:00.250Z");
    }
}
