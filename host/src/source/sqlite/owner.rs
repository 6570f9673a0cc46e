//! Which portal a queue in a file is fed from: what is known of one portal is wrong of every other.

use std::path::Path;

use rusqlite::{OptionalExtension as _, params};

use super::file::QueueFile;
use super::statements;
use crate::source::{Settings, SourceError};

/// The name under which the portal's address stands among the positions.
const PORTAL: &str = "portal";

/// Gives the queue of `settings` in the file at `path` to the portal at this address, if it is nobody's yet.
///
/// # Errors
/// It is another portal's, or the file cannot be used.
pub fn give_to(path: &Path, settings: &Settings, portal: &str) -> Result<(), SourceError> {
    let owner = QueueFile::open(path, settings)?.give_to(portal)?;
    if owner == portal {
        return Ok(());
    }
    Err(SourceError::Unusable(format!(
        "sqlite:{}: the queue {} in this file is fed from {owner}, not from {portal}: what is known of the one would \
         seem to be deleted at the other; name another file in `queue.file`, or move this one away",
        path.display(),
        settings.name
    )))
}

impl QueueFile {
    /// Gives the queue to a portal, if it is nobody's yet; answers whose it is.
    fn give_to(&mut self, portal: &str) -> Result<String, SourceError> {
        let queue = &self.queue;
        self.store.write(|change| {
            let mut owner = change.prepare_cached(statements::POSITION)?;
            if let Some(owner) = owner.query_row(params![queue, PORTAL], |row| row.get(0)).optional()? {
                return Ok(owner);
            }
            change.prepare_cached(statements::PROGRESS)?.execute(params![queue, PORTAL, portal])?;
            Ok(portal.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn a_queue_that_is_fed_from_one_portal_is_refused_to_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queue.db");
        let url = format!("sqlite:{}", path.display());
        let settings = Config::from_map([("ckan.site_id", "portal"), ("amqp.url", &url)]).unwrap().queue;
        give_to(&path, &settings, "https://staging.example").unwrap();
        give_to(&path, &settings, "https://staging.example").unwrap();
        let refused = give_to(&path, &settings, "https://data.example").unwrap_err().to_string();
        for part in ["is fed from https://staging.example, not from https://data.example", "`queue.file`"] {
            assert!(refused.contains(part), "{refused}");
        }
        let other = Settings { name: "other".to_owned(), ..settings };
        give_to(&path, &other, "https://data.example").unwrap();
    }
}
