//! `worker queue status`: how the queue stands. Nothing is changed.

use std::io::{Write as _, stdout};

use serde_json::json;

use super::{configured, exit_of, not_written, runtime, say};
use crate::cli::{Cli, Format};
use crate::config::Config;
use crate::exit::Exit;
use crate::source::{self, QueueStatus};

/// Shows how the queue stands.
pub fn status(cli: &Cli) -> Exit {
    let config = match configured(cli) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let status = match runtime.block_on(source::status(&config.queue)) {
        Ok(status) => status,
        Err(error) => {
            say(&format!("error: {error}"));
            return exit_of(&error);
        }
    };
    let text = match cli.output.format {
        Format::Json => as_json(&config, &status),
        Format::Text => as_text(&config, &status),
    };
    match writeln!(stdout(), "{text}") {
        Ok(()) => Exit::Done,
        Err(error) => not_written(&error),
    }
}

fn as_json(config: &Config, status: &QueueStatus) -> String {
    let rungs = status.rungs.iter().map(|(rung, count)| json!({ "delay": rung, "waiting": count }));
    let document = json!({
        "schema": "ckan-worker/1",
        "queue": config.queue.name,
        "address": config.queue.address.to_string(),
        "ready": status.ready,
        "in_hand": status.in_hand,
        "rungs": rungs.collect::<Vec<_>>(),
        "waiting": waiting(status),
        "dead": status.dead,
        "backfill": status.backfill,
    });
    format!("{document:#}")
}

fn as_text(config: &Config, status: &QueueStatus) -> String {
    let count = |count: Option<u64>, missing: &str| count.map_or_else(|| missing.to_owned(), |count| count.to_string());
    let mut lines = vec![
        ("queue", config.queue.name.clone()),
        ("address", config.queue.address.to_string()),
        ("ready", count(status.ready, "the queue is not there yet")),
    ];
    if let Some(in_hand) = status.in_hand {
        lines.push(("in hand", in_hand.to_string()));
    }
    lines.push(("waiting", waiting(status).to_string()));
    lines.push(("dead", count(status.dead, "0")));
    if let Some(backfill) = status.backfill.filter(|backfill| *backfill > 0) {
        lines.push(("backfill", format!("{backfill}, when nothing else is ready")));
    }
    let lines = lines.into_iter().map(|(key, value)| format!("{key:<10} {value}"));
    let rungs = status.rungs.iter().filter_map(|(rung, waiting)| {
        let waiting = waiting.filter(|waiting| *waiting > 0)?;
        Some(format!("  {rung:<8} {waiting}"))
    });
    // The waits stand below what they are the sum of.
    let (mut all, last): (Vec<String>, Vec<String>) =
        lines.partition(|line| !line.starts_with("dead") && !line.starts_with("backfill"));
    all.extend(rungs);
    all.extend(last);
    all.join("\n")
}

/// How many wait to be tried again, on all rungs together.
fn waiting(status: &QueueStatus) -> u64 {
    status.rungs.iter().filter_map(|(_, waiting)| *waiting).sum()
}
