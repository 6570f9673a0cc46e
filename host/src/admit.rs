//! Whether a worker that writes to CKAN is to be called: not if there is nothing new for it, not for what it wrote
//! itself, and not too often.

use std::collections::BTreeSet;

use ckan_worker_plugin::entity;

use crate::guard::{Budget, Quarantine, View};
use crate::notification::Notification;
use crate::retry::Outcome;
use crate::services::Failure;
use crate::services::call::{Call, Seen};
use crate::services::ckan::{NOT_AUTHORIZED, NOT_FOUND};
use crate::store::{Known, StoreError};
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
    let Some(dataset) = notification.package_id().filter(|id| member.watched.is_on() && entity::is_id(id)) else {
        return Ok(None);
    };
    // What is gone cannot be looked at, and comes once.
    if notification.operation() == "deleted" {
        return Ok(None);
    }
    let (store, worker) = (call.store(), call.worker());
    let known = store.known(worker, dataset)?;
    if let Some(quarantine) = &known.quarantine {
        store.wait_for_release(worker, dataset, quarantine.until, notification.body())?;
        return Err(skipped(quarantined(quarantine)));
    }
    let seen = look(member, notification, dataset, call)?;
    if let Some(seen) = &seen
        && notification.operation() != RECHECK
    {
        stop_echo(member, dataset, seen, history, call)?;
        stop_unchanged(seen, &known)?;
    }
    // What is tried again has been counted, and its tries are.
    if (history.is_woken || !history.is_copy)
        && let Err(quarantine) = store.begin(worker, dataset, budget)?
    {
        tracing::error!(
            worker,
            "{worker} is in quarantine for the dataset {dataset}: {}; `worker quarantine list` shows it, and \
             `worker quarantine release` ends it",
            quarantine.reason
        );
        store.quarantine(worker, dataset, &quarantine, notification.body())?;
        return Err(skipped(quarantined(&quarantine)));
    }
    Ok(seen)
}

/// Reads the dataset; `None` if CKAN does not show it to us, which is for the worker to find out.
fn look(member: &Member, notification: &Notification, dataset: &str, call: &Call<'_>) -> Result<Option<Seen>, Refused> {
    match call.dataset(dataset) {
        Ok(dataset) => Ok(Some(Seen { dataset, inputs: member.watched.inputs(), outputs: member.watched.outputs() })),
        Err(failure) if failure.code == NOT_FOUND && notification.operation() != RECHECK => {
            Err(skipped("CKAN does not know the dataset: it was never saved, or is gone".to_owned()))
        }
        Err(failure) if matches!(failure.code, NOT_FOUND | NOT_AUTHORIZED) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// Stops what the worker has written itself.
fn stop_echo(member: &Member, dataset: &str, seen: &Seen, history: History, call: &Call<'_>) -> Result<(), Refused> {
    // A try that failed has not done all, whatever it has written.
    if history.is_copy {
        return Ok(());
    }
    let image = View::whole().fingerprint(&seen.dataset);
    let Some(own) = call.store().own_write(call.worker(), dataset, image)? else { return Ok(()) };
    match own.run_end {
        // The process died after the write and before the end of the run was stored.
        Some(end) => {
            call.store().make_good(&end)?;
            member.watched.learn(end.outputs);
        }
        // It may be the very notification whose run wrote this and did not come to its end.
        None if history.redelivered => return Ok(()),
        None => {}
    }
    Err(skipped("echo: the dataset looks as this worker's own write has left it".to_owned()))
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

fn quarantined(quarantine: &Quarantine) -> String {
    let until = i64::try_from(quarantine.until).ok().and_then(|until| jiff::Timestamp::from_second(until).ok());
    let until = until.map_or_else(String::new, |until| format!(" until {until}"));
    format!("quarantined{until}: {}; the notification waits", quarantine.reason)
}

fn skipped(reason: String) -> Refused {
    Refused::Ended(Outcome::Skipped(reason.into()))
}
