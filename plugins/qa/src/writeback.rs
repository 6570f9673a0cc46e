//! Tells CKAN what was found, each result once.

use std::sync::atomic::{AtomicBool, Ordering};

use ckan_worker_plugin::TaskStatus;
use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;

use crate::record::Record;

/// Where results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// As the status of a task: no notification follows, but it needs the token of a sysadmin.
    #[default]
    TaskStatus,
    /// As fields of the resource.
    Resource,
    /// Nowhere.
    None,
}

/// The way to CKAN.
pub struct WriteBack {
    write: Write,
    /// Whether CKAN has refused: it is not asked again before the next start.
    refused: AtomicBool,
}

impl WriteBack {
    /// Results are written there.
    pub fn new(write: Write) -> Self {
        Self { write, refused: AtomicBool::new(false) }
    }

    /// Tells CKAN about a resource, unless it was told so before. Answers whether it was told now.
    ///
    /// # Errors
    /// Those of CKAN; that the token may not do this is none, and leaves the result where it is.
    pub fn tell(&self, resource_id: &str, record: &mut Record, host: &Host<'_>) -> Result<bool> {
        if record.told || self.write == Write::None || self.refused.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let told = match self.write {
            Write::TaskStatus => host.ckan().task_status_update(&status(resource_id, record)).map(drop),
            Write::Resource => host.ckan().merge_resource(resource_id, fields(record)),
            Write::None => return Ok(false),
        };
        match told {
            Ok(()) => record.told = true,
            Err(error) if self.is_refusal(&error) => {
                if !self.refused.swap(true, Ordering::Relaxed) {
                    host.warn(&format!(
                        "CKAN does not take task statuses from this token, which has to be a sysadmin's; results are \
                         kept in the worker's state alone until it is started again; set `write = resource` or `none`, \
                         or use another token: {}",
                        error.message()
                    ));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(record.told)
    }

    /// Whether CKAN would refuse the next result as well: a portal without the action calls it a bad request.
    fn is_refusal(&self, error: &Error) -> bool {
        match error.code() {
            "ckan.not-authorized" => true,
            "ckan.bad-request" => self.write == Write::TaskStatus,
            _ => false,
        }
    }
}

/// The status that ckanext-qa's reports read.
fn status<'a>(resource_id: &'a str, record: &Record) -> TaskStatus<'a> {
    let value = json!({
        "openness_score": record.openness_score,
        "openness_score_reason": record.openness_score_reason,
        "format": record.format,
    });
    TaskStatus {
        entity_id: resource_id,
        entity_type: "resource",
        task_type: "qa",
        key: "status",
        value: value.to_string(),
        state: "complete",
        error: String::new(),
        last_updated: without_zone(record.updated),
    }
}

fn fields(record: &Record) -> Value {
    json!({ "openness_score": record.openness_score, "openness_score_reason": record.openness_score_reason })
}

/// As CKAN writes times: UTC, without saying so.
fn without_zone(time: Timestamp) -> String {
    time.to_string().trim_end_matches('Z').to_owned()
}
