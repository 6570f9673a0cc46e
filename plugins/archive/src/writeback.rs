//! Tells CKAN what was found: all of a dataset at once, and nothing where CKAN knows it.

use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::serde_json::Map;
use ckan_worker_plugin::{Delta, Written};
use jiff::Timestamp;

use crate::dataset::Resource;
use crate::memory::Memory;
use crate::record::Record;
use crate::report;
use crate::round::Round;

/// Writes back what CKAN does not know yet, and answers of how many resources it did not.
///
/// A record says whether it was written back, so that a run which fails here is made good by the next, without
/// fetching again, and that what somebody sets by hand afterwards is left alone.
///
/// A dataset that CKAN itself finds invalid cannot be written to. That is for its owner to correct; the record says so,
/// and the next run tries again.
pub fn tell(round: &Round<'_>, untold: Vec<(&Resource, Record)>, memory: &mut Memory<'_>) -> Result<usize> {
    if untold.is_empty() {
        return Ok(0);
    }
    for (resource, record) in &untold {
        note(round, &resource.id, fields(record))?;
    }
    let (written, not_stored) = flush(round)?;
    for (resource, mut record) in untold {
        record.written_back = not_stored.is_none();
        record.not_stored.clone_from(&not_stored);
        memory.keep(&record)?;
        if let Some(place) = round.place(resource) {
            place.remember(&record)?;
        }
    }
    Ok(written.changed)
}

/// Has CKAN forget where the copies of a dataset were served, now that they are not.
pub fn forget_cache_urls(round: &Round<'_>) -> Result<()> {
    let Some(root) = &round.policy.cache_url_root else { return Ok(()) };
    for resource in round.dataset.resources() {
        if resource.cache_url.as_ref().is_some_and(|url| url.starts_with(root.as_str())) {
            let fields = Map::from_iter([("cache_url".to_owned(), json!(""))]);
            note(round, &resource.id, fields)?;
        }
    }
    flush(round).map(drop)
}

/// Has the host write what was noted, and answers why CKAN does not take it, if it finds the dataset invalid.
fn flush(round: &Round<'_>) -> Result<(Written, Option<String>)> {
    match round.host.ckan().flush() {
        Ok(written) => Ok((written, None)),
        Err(error) if error.code() == "ckan.validation" => {
            let reason = one_line(&format!("result not stored: dataset invalid: {}", error.message()));
            report::not_stored(round.dataset, &reason, round.host);
            Ok((Written::default(), Some(reason)))
        }
        Err(error) => Err(error),
    }
}

fn note(round: &Round<'_>, resource_id: &str, fields: Map<String, Value>) -> Result<()> {
    let (package, resource) = (Some(round.dataset.id.clone()), Some(resource_id.to_owned()));
    round.host.ckan().merge(&Delta { package, resource, fields, ..Delta::default() })
}

/// What CKAN is to know of a copy. Numbers are numbers: the text "7" for 7 would be a change.
fn fields(record: &Record) -> Map<String, Value> {
    let known = [("hash", json!(record.hash)), ("size", json!(record.size)), ("mimetype", json!(record.mimetype))];
    let mut fields: Map<String, Value> = known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if let Some(url) = &record.cache_url {
        fields.insert("cache_url".to_owned(), json!(url));
        fields.insert("cache_last_updated".to_owned(), json!(record.cache_last_updated.map(in_ckans_form)));
    }
    fields
}

/// As CKAN writes times: in UTC, without saying so. Whole seconds come back as they were sent.
fn in_ckans_form(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}
