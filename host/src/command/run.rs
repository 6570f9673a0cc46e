//! `worker WORKER…`: runs workers until it is told to stop.

mod dry;

use std::io::{BufRead as _, IsTerminal as _, stdin};
use std::sync::Arc;

use super::{configured, exit_of, fail, say, stop};
use crate::app::App;
use crate::cli::Cli;
use crate::config::Config;
use crate::dispatch::Summary;
use crate::exit::Exit;
use crate::source;

/// Runs the workers of the command line.
pub fn run(cli: &Cli) -> Exit {
    if cli.workers.is_empty() {
        say("Runs worker plugins on the changes a CKAN portal announces.\n\
             To try it:   worker demo\n\
             To run one:  worker -c worker.cfg archive      (worker --help says the rest)");
        return Exit::Usage;
    }
    let mut config = match configured(cli) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    config.ckan.dry_run = cli.running.dry_run;
    if config.queue_is_default() {
        say(&format!("no broker is named: using the queue in {}; set amqp.url to name one", config.queue.address));
    }
    if cli.running.clear_queue && cli.running.dry_run {
        say("error: --dry-run changes nothing, and --clear-queue deletes what waits in the queue: one of them");
        return Exit::Usage;
    }
    if cli.running.clear_queue
        && let Err(exit) = clear_queue(cli, &config)
    {
        return exit;
    }
    let is_asked = config.queue.feed.is_some();
    let mut app = cli.workers.iter().fold(App::new(config), App::worker);
    if cli.running.dry_run {
        app = app.observer(Arc::new(dry::Printer::new(cli.output.format)));
    }
    let stop = stop::on_signals();
    match app.until_empty(cli.running.until_empty || cli.running.dry_run).run(stop.stopping.clone()) {
        Ok(summary) => {
            let Summary { settled, released, retried, dead, looked_at, left_running } = summary;
            // What was still running was not settled either, and comes back with what was given back.
            let released = released + left_running as u64;
            if cli.running.dry_run {
                say(&format!("dry run: {looked_at} notifications were looked at; all of them are still in the queue"));
                if looked_at == 0 && is_asked {
                    say("a dry run does not ask the portal; `worker backfill WORKER` puts what it has on the queue");
                }
                return Exit::Done;
            }
            tracing::info!(
                "stopped: {settled} settled, {released} given back, {retried} to be retried, {dead} dead letters"
            );
            if left_running > 0 && stop.is_by_hand() { Exit::Interrupted } else { Exit::Done }
        }
        Err(error) => fail(&error),
    }
}

/// Deletes what waits in the queue, if that is really wanted.
fn clear_queue(cli: &Cli, config: &Config) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        say(&format!("error: no runtime to reach the queue with: {error}"));
        Exit::Unavailable
    })?;
    let trouble = |error: source::SourceError| {
        say(&format!("error: the queue could not be cleared: {error}"));
        exit_of(&error)
    };
    // What a backfill has put beside the queue waits for the same workers.
    let mut queues = Vec::new();
    for queue in [&config.queue, &config.queue.lane()] {
        if let Some(waiting) = runtime.block_on(source::look(queue)).map_err(trouble)? {
            queues.push((queue.clone(), waiting));
        }
    }
    if queues.len() == 2 && queues[1].1 == 0 {
        queues.truncate(1);
    }
    let counted: Vec<_> =
        queues.iter().map(|(queue, waiting)| format!("{waiting} messages from queue {}", queue.name)).collect();
    let question = format!("Delete {} at {}?", counted.join(" and "), config.queue.address);
    if !queues.is_empty() && !cli.output.yes && !is_confirmed(&question) {
        say("nothing was deleted; pass --yes to delete without being asked");
        return Err(Exit::Usage);
    }
    for (queue, _) in queues {
        let deleted = runtime.block_on(source::purge(&queue)).map_err(trouble)?;
        say(&format!("deleted {deleted} messages from queue {} at {}", queue.name, queue.address));
    }
    Ok(())
}

/// Asks the person at the terminal; nobody there means no.
pub(super) fn is_confirmed(question: &str) -> bool {
    if !stdin().is_terminal() {
        return false;
    }
    say(&format!("{question} [y/N]"));
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
