//! How a queue in a file stands.

use std::path::Path;
use std::time::Duration;

use super::statements;
use super::store::Store;
use crate::retry::rung_name;
use crate::source::{QueueStatus, Settings, SourceError};

/// Looks how the queue in a file that is there stands.
///
/// # Errors
/// The file cannot be used.
pub fn status(path: &Path, settings: &Settings) -> Result<QueueStatus, SourceError> {
    Store::open(path)?.read(|file| {
        // All of it at one moment: what moves meanwhile would be counted twice or not at all.
        let _one_moment = file.unchecked_transaction()?;
        let queue = &settings.name;
        let number = |sql: &str, column: usize| file.query_row(sql, [queue], |row| row.get::<_, i64>(column));
        let mut rungs = Vec::new();
        let mut waits = file.prepare(statements::RUNGS)?;
        for row in waits.query_map([queue], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))? {
            let (delay, count) = row?;
            rungs.push((Duration::from_millis(delay.max(0).unsigned_abs()), count.unsigned_abs()));
        }
        Ok(QueueStatus {
            ready: Some(number(statements::READY, 0)?.unsigned_abs()),
            in_hand: Some(number(statements::HELD_BY_ALL, 0)?.unsigned_abs()),
            rungs: settings
                .ladder
                .rungs()
                .iter()
                .map(|rung| {
                    let on_it = rungs.iter().filter(|(delay, _)| settings.ladder.rung(*delay) == *rung);
                    (rung_name(*rung), Some(on_it.map(|(_, count)| count).sum()))
                })
                .collect(),
            dead: Some(number(statements::DEAD, 1)?.unsigned_abs()),
            backfill: {
                let lane = settings.lane().name;
                let waiting = file.query_row(statements::READY, [lane], |row| row.get::<_, i64>(0))?;
                Some(waiting.unsigned_abs())
            },
        })
    })
}

/// Whether anything waits in a queue or is in hand; a file that is not there has nothing.
///
/// # Errors
/// The file cannot be used.
pub fn is_used(path: &Path, settings: &Settings) -> Result<bool, SourceError> {
    if !path.exists() {
        return Ok(false);
    }
    Store::open(path)?.read(|file| file.query_row(statements::IS_USED, [&settings.name], |row| row.get(0)))
}

/// The ids of what waits in a queue for one worker each.
///
/// # Errors
/// The file cannot be used.
pub fn names(path: &Path, settings: &Settings) -> Result<Vec<String>, SourceError> {
    Store::open(path)?.read(|file| {
        let mut names = file.prepare(statements::NAMES)?;
        names.query_map([&settings.name], |row| row.get(0))?.collect()
    })
}
