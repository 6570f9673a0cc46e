//! Whether a worker that writes to CKAN is to be called: not if there is nothing new for it, not for what it wrote
//! itself, and not too often.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ckan_worker_plugin::entity;

use crate::guard::{Budget, Quarantine, Subject, View};
use crate::notification::Notification;
use crate::retry::Outcome;
use crate::services::Failure;
use crate::services::call::{Call, Seen};
use crate::services::ckan::{NOT_AUTHORIZED, NOT_FOUND};
use crate::store::{self, Known, StoreError, Stored};
use crate::subscription::Member;

/// The operation of a notification that the host sends when a worker wants to look again.
pub const RECHECK: &str = "recheck";

/// What has happened with a notification before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// It is the answer to a wish of the worker's, or it waited for the end of a quarantine.
    pub is_woken: bool,
    /// It is tried again, or for the worker alone for another reason.
    pub is_copy: bool,
    /// It may have been delivered before.
    pub redelivered: bool,
}

/// Why a worker is not called.
pub enum Refused {
    /// There is no need to: the run has ended so.
    Ended(Outcome),
    /// It could not be found out.
    Failed(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Decides whether a worker is called; answers what it will look at, as the host has seen it.
///
/// # Errors
/// Why it is not called.
pub fn admit(
    member: &Member,
    notification: &Notification,
    history: History,
    budget: &Budget,
    call: &Call<'_>,
) -> Result<Option<Seen>, Refused> {
    if !member.watched.is_on() {
        return Ok(None);
    }
    let subject = call.subject().filter(|subject| entity::is_id(subject.dataset()));
    let Some(subject) = subject else { return Ok(None) };
    // The extension at the portal heard who wrote it: then nothing needs to be read.
    if !history.is_copy && notification.origin().is_some_and(|origin| origin == call.origin()) {
        return Err(skipped("echo: this worker wrote it itself".to_owned()));
    }
    let (store, worker) = (call.store(), call.worker());
    let known = store.known(worker, subject.key())?;
    if let Some(quarantine) = &known.quarantine {
        if notification.operation() == RECHECK {
            return Err(Refused::Failed(not_before(quarantine)));
        }
        // A copy that comes again is older than what waits.
        if !history.is_copy {
            store.wait_for_release(worker, subject.key(), quarantine.until, notification.body())?;
        }
        return Err(skipped(quarantined(quarantine)));
    }
    let seen = look(member, notification, &subject, call)?;
    if let Some(seen) = &seen
        && notification.operation() != RECHECK
    {
        stop_echo(member, &subject, seen, history, call)?;
        stop_unchanged(seen, &known)?;
    }
    // What is tried again has been counted, and its tries are.
    if (history.is_woken || !history.is_copy)
        && let Err(quarantine) = store.begin(worker, subject.key(), budget)?
    {
        let key = subject.key();
        tracing::error!(
            worker,
            "{worker} is in quarantine for {key}: {}; `worker quarantine list` shows it, and `worker quarantine release` \
             ends it",
            quarantine.reason
        );
        store.quarantine(worker, key, &quarantine, notification.body())?;
        return Err(skipped(quarantined(&quarantine)));
    }
    Ok(seen)
}

/// Reads the dataset; `None` if CKAN does not show it to us, which is for the worker to find out.
fn look(
    member: &Member,
    notification: &Notification,
    subject: &Subject,
    call: &Call<'_>,
) -> Result<Option<Seen>, Refused> {
    match call.dataset(subject.dataset()) {
        Ok(dataset) => {
            let part = match subject.part(&dataset) {
                Cow::Borrowed(_) => Arc::clone(&dataset),
                Cow::Owned(part) => Arc::new(part),
            };
            let is_deletion = notification.operation() == "deleted";
            Ok(Some(Seen { part, look: member.watched.look(), is_deletion }))
        }
        Err(failure) if failure.code == NOT_FOUND && !matches!(notification.operation(), RECHECK | "deleted") => {
            Err(skipped("CKAN does not know the dataset: it was never saved, or is gone".to_owned()))
        }
        Err(failure) if matches!(failure.code, NOT_FOUND | NOT_AUTHORIZED) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// Stops what the worker has written itself.
fn stop_echo(
    member: &Member,
    subject: &Subject,
    seen: &Seen,
    history: History,
    call: &Call<'_>,
) -> Result<(), Refused> {
    // A try that failed has not done all, whatever it has written.
    if history.is_copy {
        return Ok(());
    }
    let image = View::whole().fingerprint(&seen.part);
    let Some(own) = call.store().own_write(call.worker(), subject.key(), image)? else { return Ok(()) };
    match own.run_end {
        // The process died after the write and before the end of the run was stored.
        Some(end) => match call.store().end(&end)? {
            Stored::All => member.watched.learn(end.outputs),
            Stored::Overtaken(_) => return Ok(()),
        },
        // It may be the very notification whose run wrote this and did not come to its end.
        None if history.redelivered => return Ok(()),
        None => {}
    }
    Err(skipped("echo: it looks as this worker's own write has left it".to_owned()))
}

/// Stops what has nothing new for the worker.
fn stop_unchanged(seen: &Seen, known: &Known) -> Result<(), Refused> {
    match known.fingerprint {
        Some(fingerprint) if fingerprint == seen.fingerprint(&BTreeSet::new()) => {
            Err(skipped("unchanged: nothing that this worker looks at is different".to_owned()))
        }
        _ => Ok(()),
    }
}

/// A wish to look again is not given up for a quarantine; it waits.
fn not_before(quarantine: &Quarantine) -> Failure {
    let wait = Duration::from_secs(quarantine.until.saturating_sub(store::now()).max(1));
    Failure { retry_after: Some(wait), ..Failure::retryable("guard.quarantined", quarantined(quarantine)) }
}

fn quarantined(quarantine: &Quarantine) -> String {
    let until = i64::try_from(quarantine.until).ok().and_then(|until| jiff::Timestamp::from_second(until).ok());
    let until = until.map_or_else(String::new, |until| format!(" until {until}"));
    format!("quarantined{until}: {}; the notification waits", quarantine.reason)
}

fn skipped(reason: String) -> Refused {
    Refused::Ended(Outcome::Skipped(reason.into()))
}
