//! `worker quarantine list` and `release`: workers that are not called for a dataset for a while.

use std::io::{Write as _, stdout};

use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde_json::json;

use super::{configured, not_written, say};
use crate::cli::{Cli, Format, QuarantineCommand};
use crate::config::Config;
use crate::exit::Exit;
use crate::store::{Quarantined, Store, StoreError};

/// Does what is asked for with quarantines.
pub fn quarantine(cli: &Cli, command: &QuarantineCommand) -> Exit {
    let config = match configured(cli) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let done = match command {
        QuarantineCommand::List => list(cli, &config),
        QuarantineCommand::Release { worker, datasets, all } => release(&config, worker, datasets, *all),
    };
    done.unwrap_or_else(|error| {
        say(&format!("error: {error}"));
        match error {
            StoreError::Later(_) => Exit::Config,
            StoreError::Unusable { .. } => Exit::Unavailable,
        }
    })
}

/// The quarantines as they stand; none where there is no store yet, and none is made for looking.
fn all(config: &Config) -> Result<(Option<Store>, Vec<Quarantined>), StoreError> {
    if !config.store.path.exists() {
        return Ok((None, Vec::new()));
    }
    let store = Store::open(&config.store)?;
    let quarantined = store.quarantined()?;
    Ok((Some(store), quarantined))
}

fn list(cli: &Cli, config: &Config) -> Result<Exit, StoreError> {
    let (_, quarantined) = all(config)?;
    let text = match cli.output.format {
        Format::Json => {
            let rows = quarantined.iter().map(|row| {
                json!({
                    "worker": row.worker, "about": row.subject, "since": time(row.since), "until": time(row.until),
                    "strikes": row.strikes, "reason": row.reason,
                })
            });
            format!("{:#}", json!({ "schema": "ckan-worker/1", "quarantined": rows.collect::<Vec<_>>() }))
        }
        Format::Text if quarantined.is_empty() => "nothing is in quarantine".to_owned(),
        Format::Text => table(&quarantined),
    };
    Ok(match writeln!(stdout(), "{text}") {
        Ok(()) => Exit::Done,
        Err(error) => not_written(&error),
    })
}

fn table(quarantined: &[Quarantined]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["WORKER", "ABOUT", "SINCE", "UNTIL", "TIMES", "REASON"]);
    for row in quarantined {
        table.add_row([
            row.worker.clone(),
            row.subject.clone(),
            time(row.since),
            time(row.until),
            row.strikes.to_string(),
            row.reason.clone(),
        ]);
    }
    table.trim_fmt()
}

fn release(config: &Config, worker: &str, datasets: &[String], everything: bool) -> Result<Exit, StoreError> {
    let (store, quarantined) = all(config)?;
    let of_worker = || quarantined.iter().filter(|row| row.worker == worker).map(|row| row.subject.clone());
    let asked: Vec<String> = if everything { of_worker().collect() } else { datasets.to_vec() };
    let (mut released, mut unknown) = (0, Vec::new());
    for dataset in &asked {
        match &store {
            Some(store) if store.release(worker, dataset)? => released += 1,
            _ => unknown.push(dataset),
        }
    }
    for dataset in &unknown {
        say(&format!(
            "error: {worker} is not in quarantine for the dataset {dataset}; `worker quarantine list` shows what is"
        ));
    }
    if released > 0 || unknown.is_empty() {
        let what = if released == 1 { "quarantine is ended" } else { "quarantines are ended" };
        say(&format!(
            "{released} {what}; a running worker takes up the notifications that waited within a second or two"
        ));
    }
    Ok(if unknown.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Seconds since 1970 as a person reads them, in UTC.
fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
