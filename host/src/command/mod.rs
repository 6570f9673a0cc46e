//! What the commands do. Results go to standard output, everything else to standard error.

mod backfill;
mod check;
mod dead;
mod demo;
pub mod plugins;
mod quarantine;
mod queue;
mod run;
mod send;
mod stop;
mod topology;

use std::io::{self, ErrorKind, IsTerminal as _, Write as _, stderr, stdout};

use tokio::runtime::Runtime;

use crate::app::AppError;
use crate::catalog::{Catalog, Entry, Options, places};
use crate::cli::{Cli, Command, Format, PluginsCommand, QueueCommand};
use crate::config::{Config, Request};
use crate::diagnostic::Findings;
use crate::dispatch::DispatchError;
use crate::exit::Exit;
use crate::journal::JournalError;
use crate::source::SourceError;
use crate::store::StoreError;

/// Does what the command line asks for.
pub fn run(cli: &Cli) -> Exit {
    match &cli.command {
        None => run::run(cli),
        Some(Command::Demo { once }) => demo::demo(cli, *once),
        Some(Command::Check { offline, workers }) => check::check(cli, *offline, workers),
        Some(Command::Backfill { args }) => backfill::backfill(cli, args),
        Some(Command::Send { file }) => send::send(cli, file),
        Some(Command::Topology { command }) => topology::topology(cli, *command),
        Some(Command::Dead { command }) => dead::dead(cli, command),
        Some(Command::Quarantine { command }) => quarantine::quarantine(cli, command),
        Some(Command::Queue { command: QueueCommand::Status }) => queue::status(cli),
        Some(Command::Plugins { command }) => show_plugins(cli, command),
    }
}

/// Reads the configuration; what is found in it goes to standard error, errors end the command.
fn configured(cli: &Cli) -> Result<Config, Exit> {
    let request = cli.request(Request::from_environment());
    match Config::load(&request) {
        Ok((config, findings)) => {
            print_findings(cli, &findings);
            Ok(config)
        }
        Err(findings) => {
            print_findings(cli, &findings);
            say(&findings.summary("worker check"));
            Err(Exit::Config)
        }
    }
}

fn print_findings(cli: &Cli, findings: &Findings) {
    if !findings.is_empty() {
        say(&findings.render(cli.output.color.wanted(stderr().is_terminal())));
    }
}

/// Says something to the person at the terminal.
fn say(text: &str) {
    // Nobody is left to be told when this fails.
    let _ = writeln!(stderr(), "{text}");
}

/// Says an error and answers the exit status that goes with it.
fn fail(error: &AppError) -> Exit {
    say(&format!("error: {error}"));
    match error {
        AppError::NoWorkers => Exit::Usage,
        AppError::Refused(_)
        | AppError::Services(_)
        | AppError::Journal(JournalError::Later(_))
        | AppError::Store(StoreError::Later(_)) => Exit::Config,
        AppError::TokenRefused(_) => Exit::Refused,
        AppError::Dispatch(DispatchError::ThreadLost | DispatchError::JournalLost) => Exit::Internal,
        AppError::Source(error) | AppError::Dispatch(DispatchError::Source(error)) => exit_of(error),
        AppError::System { .. }
        | AppError::Journal(JournalError::Unwritable { .. })
        | AppError::Store(StoreError::Unusable { .. })
        | AppError::Dispatch(
            DispatchError::Threads(_)
            | DispatchError::AllStuck(_)
            | DispatchError::SerialStuck(_)
            | DispatchError::Held(_),
        ) => Exit::Unavailable,
    }
}

/// A runtime to reach the queue with.
fn runtime() -> Result<Runtime, Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        say(&format!("error: no runtime to reach the queue with: {error}"));
        Exit::Unavailable
    })
}

/// Says that the result could not be written. Whoever reads, as in `| head`, may have seen enough.
fn not_written(error: &io::Error) -> Exit {
    if error.kind() == ErrorKind::BrokenPipe {
        return Exit::Done;
    }
    say(&format!("error: the result could not be written: {error}"));
    Exit::Failed
}

fn exit_of(error: &SourceError) -> Exit {
    match error {
        SourceError::Unavailable { .. } => Exit::Unavailable,
        SourceError::Refused { .. } => Exit::Refused,
        SourceError::Unusable(_) => Exit::Config,
    }
}

fn show_plugins(cli: &Cli, command: &PluginsCommand) -> Exit {
    let config = match configured(cli) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let options = Options { allow_insecure_dir: config.allow_insecure_plugin_dir };
    let scan = || Catalog::scan_places(&places(&config.plugin_dirs), options);
    let out = &mut stdout().lock();
    let is_json = cli.output.format == Format::Json;
    let shown = match command {
        PluginsCommand::List if is_json => plugins::list_json(&scan(), out).map(|()| Exit::Done),
        PluginsCommand::List => plugins::list_text(&scan(), out).map(|()| Exit::Done),
        PluginsCommand::Inspect { file, abi: true } => plugins::inspect_abi(&Entry::at(file, options), out),
        PluginsCommand::Inspect { file, .. } if is_json => plugins::inspect_json(&Entry::at(file, options), out),
        PluginsCommand::Inspect { file, .. } => plugins::inspect_text(&Entry::at(file, options), out),
    };
    shown.unwrap_or_else(|error| not_written(&error))
}
