//! The command line: what can be asked for, and the questions that make no sense.

mod backfill;
mod dead;
mod output;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Config, Flag, Request};
use crate::diagnostic::Findings;

pub use backfill::{BackfillArgs, Since};
pub use dead::{ActArgs, DeadCommand, Rate, WhichArgs};
pub use output::{Color, Format, LogFormat, OutputArgs};

/// Runs worker plugins on the changes a CKAN portal announces
#[derive(Debug, Clone, Parser)]
#[command(name = "worker", version, after_help = AFTER_HELP, max_term_width = 120)]
pub struct Cli {
    /// Workers to run, by plugin name
    #[arg(value_name = "WORKER")]
    pub workers: Vec<String>,
    /// What to do instead of running workers.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where to read settings, and settings.
    #[command(flatten)]
    pub settings: SettingArgs,
    /// How to talk.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to run workers.
    #[command(flatten)]
    pub running: RunningArgs,
}

/// What can be done instead of running workers.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Try it: a sample portal, an embedded queue and the archive worker
    Demo {
        /// Stop when all is done; exit 0 only if every outcome is the expected one
        #[arg(long)]
        once: bool,
    },
    /// Check configuration, plugins, queue and CKAN, and explain every finding
    Check {
        /// Look at files only, not at the queue or CKAN
        #[arg(long)]
        offline: bool,
        /// Workers to check, by plugin name
        #[arg(value_name = "WORKER")]
        workers: Vec<String>,
    },
    /// List and inspect plugin files, without running them
    Plugins {
        /// What to do with them.
        #[command(subcommand)]
        command: PluginsCommand,
    },
    /// Show what the worker needs where the queue is, and how that stands; changes nothing
    Topology {
        /// What to show.
        #[command(subcommand)]
        command: TopologyCommand,
    },
    /// List, show, replay, export and delete dead letters
    Dead {
        /// What to do with them.
        #[command(subcommand)]
        command: DeadCommand,
    },
    /// List and end quarantines: workers that were called too often for one dataset
    Quarantine {
        /// What to do with them.
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Show how the queue stands
    Queue {
        /// What to do with it.
        #[command(subcommand)]
        command: QueueCommand,
    },
    /// Have workers work on datasets that are there already, whenever nothing else waits
    Backfill {
        /// For whom, of which, how.
        #[command(flatten)]
        args: BackfillArgs,
    },
    /// Put notifications on the queue from a file or standard input
    Send {
        /// File with one notification in JSON per line; `-` for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// What can be shown of what a queue needs.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum TopologyCommand {
    /// Look at each part: there, missing, or not as the worker would make it
    Check,
    /// List each part, its arguments and what it is for; asks nobody
    Explain,
}

/// What can be done with plugin files.
#[derive(Debug, Clone, Subcommand)]
pub enum PluginsCommand {
    /// List every plugin file found, its state and the reason for it
    List,
    /// Show all there is to know about one file
    Inspect {
        /// The plugin file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Open the file, which runs its constructors, and compare its types with this worker's
        #[arg(long)]
        abi: bool,
    },
}

/// What can be done with quarantines.
#[derive(Debug, Clone, Subcommand)]
pub enum QuarantineCommand {
    /// List the workers that are in quarantine, for which dataset, until when, and why
    List,
    /// End quarantines: the notifications that waited are worked on at once
    Release {
        /// The worker
        #[arg(value_name = "WORKER")]
        worker: String,
        /// The ids of the datasets
        #[arg(value_name = "DATASET", required_unless_present = "all")]
        datasets: Vec<String>,
        /// All datasets that the worker is in quarantine for
        #[arg(long, conflicts_with = "datasets")]
        all: bool,
    },
}

/// What can be done with the queue.
#[derive(Debug, Clone, Subcommand)]
pub enum QueueCommand {
    /// Show how many notifications wait, are in hand, wait to be tried again, or are dead
    Status,
}

/// Where to read settings, and settings.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection and configuration")]
pub struct SettingArgs {
    /// Configuration file, INI [default: worker.cfg, if there is one]
    #[arg(short, long, value_name = "FILE", global = true, env = "CKAN_WORKER_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Section of the file to read [default: worker]
    #[arg(short, long, value_name = "NAME", global = true, hide_short_help = true)]
    pub section: Option<String>,
    /// Queue to consume from [setting: queue.name]
    #[arg(short, long, value_name = "QUEUE", global = true, hide_short_help = true)]
    pub queue: Option<String>,
    /// Which notifications to receive, as in Resource [setting: queue.routing_key]
    #[arg(short, long, value_name = "KEY", global = true, hide_short_help = true)]
    pub routing_key: Option<String>,
    /// Where notifications come from: amqp://user:password@host/virtual_host, poll:https://PORTAL, outbox:https://PORTAL,
    /// or sqlite:PATH for the embedded queue [setting: amqp.url] [env: CKAN_WORKER_AMQP_URL]
    #[arg(short, long, value_name = "URL", global = true, hide_short_help = true)]
    pub amqp_url: Option<String>,
    /// CKAN site id, names the exchange [setting: ckan.site_id]
    #[arg(short = 'i', long, value_name = "ID", global = true, hide_short_help = true)]
    pub site_id: Option<String>,
    /// CKAN address [setting: ckan.site_url]
    #[arg(short = 'u', long, value_name = "URL", global = true, hide_short_help = true)]
    pub site_url: Option<String>,
    /// CKAN API token; visible to other users in `ps`, prefer --api-key-file [setting: ckan.api_key]
    #[arg(short = 'k', long, value_name = "KEY", global = true, hide_short_help = true)]
    pub api_key: Option<Hidden>,
    /// File that holds the CKAN API token and nothing else
    /// [setting: ckan.api_key_file] [env: CKAN_WORKER_API_KEY_FILE]
    #[arg(long, value_name = "FILE", global = true, hide_short_help = true)]
    pub api_key_file: Option<String>,
    /// Set any other setting, may be repeated; `worker:NAME.KEY` for one of a worker
    #[arg(long, value_name = "KEY=VALUE", global = true, hide_short_help = true, value_parser = key_and_value)]
    pub set: Vec<(String, Hidden)>,
    /// Directory with plugin files, may be repeated [setting: plugin_dir]
    #[arg(short, long, value_name = "DIR", global = true, hide_short_help = true)]
    pub plugin_dir: Vec<String>,
}

/// How to run workers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Running")]
pub struct RunningArgs {
    /// Stop once the queue is empty, as for cron jobs and tests
    #[arg(long)]
    pub until_empty: bool,
    /// Write nothing to CKAN: print what would be written for what is in the queue now, and leave it there
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Work on this many notifications at once [setting: concurrency]
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<String>,
    /// Drop everything that waits in the queue before starting; asks first
    #[arg(long)]
    pub clear_queue: bool,
}

/// A text that is not to be shown.
#[derive(Clone)]
pub struct Hidden(String);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

const AFTER_HELP: &str = "\
Examples:
  worker -c worker.cfg archive          run the archive worker until stopped
  worker -c worker.cfg archive echo     two workers on one queue
  worker check -c worker.cfg            find mistakes before they cost a night
  worker demo                           try everything, nothing to set up

Settings come from, strongest first: flags, environment, the -c file,
~/.ckanworker.cfg, built-in defaults.

Exit status:
  0    done
  1    the command worked, but something it looked at failed
  2    the command line was wrong
  65   an input file has bad data
  69   RabbitMQ, CKAN or the system did not give what is needed
  70   a bug in worker itself (please report it)
  77   CKAN or RabbitMQ refused the credentials
  78   the configuration or a plugin is wrong; restarting will not help
  130  stopped by Ctrl-C before the work in hand was finished";

/// Reads the configuration as the program `worker` does: the command line, the environment and files. Prints help or a
/// usage error and ends the process if the command line says so.
///
/// # Errors
/// All that is wrong with the settings.
pub fn configure() -> Result<Config, Findings> {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    Config::load(&cli.request(Request::from_environment())).map(|(config, _)| config)
}

impl Cli {
    /// Reads a command line; the first argument is the program's name.
    ///
    /// # Errors
    /// Help, the version, or what is wrong; `clap::Error::exit` prints it and ends the process with 0 or 2.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args: Vec<OsString> = args.into_iter().collect();
        let cli = Self::try_parse_from(&args)?;
        let separated = args.iter().any(|arg| arg == "--");
        match cli.mixture(separated) {
            Some(sentence) => Err(Self::command().error(ErrorKind::ArgumentConflict, sentence)),
            None => Ok(cli),
        }
    }

    /// What in this command line asks for two things at once.
    fn mixture(&self, separated: bool) -> Option<String> {
        let command = match &self.command {
            Some(command) => Some(command.name()),
            None => self.workers.iter().map(String::as_str).find(|worker| is_command(worker)).filter(|_| !separated),
        };
        if let Some(coming) =
            self.workers.iter().find(|worker| COMING.contains(&worker.as_str())).filter(|_| !separated)
        {
            return Some(format!(
                "{coming:?} is the name of a command that this version does not have\n\n  to run a worker of that name: \
                 worker -- {coming}"
            ));
        }
        let worker = self.workers.iter().find(|worker| Some(worker.as_str()) != command);
        if let (Some(command), Some(worker)) = (command, worker) {
            return Some(format!(
                "{worker:?} is taken for a worker and {command:?} for a command: either workers run or a command \
                 does\n\n  to run the command:           worker {command} …\n  to run a worker of that name: worker -- \
                 {worker} {command}",
            ));
        }
        if let Some(twice) = (1..self.workers.len()).find(|&index| self.workers[..index].contains(&self.workers[index]))
        {
            return Some(format!(
                "worker {:?} is named twice; each runs once on every notification",
                self.workers[twice]
            ));
        }
        let command = self.command.as_ref()?.name();
        let running = [("--until-empty", self.running.until_empty), ("--clear-queue", self.running.clear_queue)];
        let running =
            running.into_iter().chain([("--dry-run", self.running.dry_run), ("--jobs", self.running.jobs.is_some())]);
        let flag = running.filter(|(_, given)| *given).map(|(flag, _)| flag).next()?;
        Some(format!("{flag} is for running workers; the command {command:?} runs none"))
    }

    /// Adds what this command line says about settings to `request`.
    #[must_use]
    pub fn request(&self, mut request: Request) -> Request {
        let settings = &self.settings;
        request.file.clone_from(&settings.config);
        request.section.clone_from(&settings.section);
        let mut flag = |flag: &str, key: &str, value: Option<&str>| {
            let value = value.map(str::to_owned);
            request.flags.extend(value.map(|value| Flag { flag: flag.to_owned(), key: key.to_owned(), value }));
        };
        flag("--queue", "queue.name", settings.queue.as_deref());
        flag("--routing-key", "queue.routing_key", settings.routing_key.as_deref());
        flag("--amqp-url", "amqp.url", settings.amqp_url.as_deref());
        flag("--site-id", "ckan.site_id", settings.site_id.as_deref());
        flag("--site-url", "ckan.site_url", settings.site_url.as_deref());
        flag("--api-key", "ckan.api_key", settings.api_key.as_ref().map(|key| key.0.as_str()));
        flag("--api-key-file", "ckan.api_key_file", settings.api_key_file.as_deref());
        flag("--jobs", "concurrency", self.running.jobs.as_deref());
        let plugin_dirs = settings.plugin_dir.join("\n");
        flag("--plugin-dir", "plugin_dir", Some(plugin_dirs.as_str()).filter(|dirs| !dirs.is_empty()));
        for (key, value) in &settings.set {
            flag("--set", key, Some(&value.0));
        }
        request
    }
}

impl Command {
    /// The word for it on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Demo { .. } => "demo",
            Self::Check { .. } => "check",
            Self::Plugins { .. } => "plugins",
            Self::Topology { .. } => "topology",
            Self::Dead { .. } => "dead",
            Self::Quarantine { .. } => "quarantine",
            Self::Queue { .. } => "queue",
            Self::Backfill { .. } => "backfill",
            Self::Send { .. } => "send",
        }
    }
}

/// Commands that later versions have: workers should not be called like them.
const COMING: [&str; 10] =
    ["completions", "config", "dev", "history", "init", "pause", "resume", "status", "tap", "top"];

/// Whether `name` is a command, and so no good name for a worker.
pub fn is_command(name: &str) -> bool {
    name == "help" || Cli::command().find_subcommand(name).is_some()
}

fn key_and_value(text: &str) -> Result<(String, Hidden), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), Hidden(value.to_owned()))),
        _ => Err("expected KEY=VALUE, as in queue.name=try".to_owned()),
    }
}
