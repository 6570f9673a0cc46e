//! A dry run: what would be written is told and not sent.
//!
//! A worker is to go on as if it were done. So a write that is not sent answers what CKAN most likely would, as far as
//! that is known without asking: `package_revise` answers the dataset's id in `package`, an action that creates or
//! changes something its own parameters, everything else `{}`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::counters::Ended;
use super::delta::{Change, Revision};
use super::{Client, bad_request, effects, kind};
use crate::services::Failure;
use crate::services::http::plain;

/// Who is told of a write that is not sent: the action and its parameters.
///
/// For what workers noted with `merge_…` the parameters are `{"id": …, "changes": [{"resource", "field", "from", "to"}]}`.
pub type Refused = dyn Fn(&str, &Value) + Send + Sync;

/// How much of a write goes into the log.
const TOLD_CHARS_MAX: usize = 2000;

/// Says it in the log.
pub(super) fn log(action: &str, parameters: &Value) {
    tracing::info!("dry run: {action} would be called with {}", plain(&parameters.to_string(), TOLD_CHARS_MAX));
}

impl Client {
    /// Has `refused` told of what a dry run does not send, in place of the log.
    #[must_use]
    pub fn telling(mut self, refused: Box<Refused>) -> Self {
        self.refused = refused;
        self
    }

    /// Whether nothing is written.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Tells of a write in place of sending it, and answers as if it were done.
    pub(super) fn refuse(&self, name: &str, parameters: Map<String, Value>) -> Bytes {
        let kind = kind::kind(name, b"{}");
        let parameters = Value::Object(parameters);
        (self.refused)(name, &parameters);
        self.counters.count(kind, Ended::DryRun);
        let ends_with = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        let result = if name == "package_revise" {
            json!({ "package": { "id": effects::package_of(name, &parameters) } })
        } else if ends_with(&["_create", "_update", "_patch"]) {
            parameters
        } else {
            json!({})
        };
        result.to_string().into()
    }

    /// The same for a call whose parameters are still text.
    pub(super) fn refuse_body(&self, name: &str, body: &[u8]) -> Result<Bytes, Failure> {
        let parameters = serde_json::from_slice(body)
            .map_err(|error| bad_request(name, &format!("the parameters are no JSON object: {error}")))?;
        Ok(self.refuse(name, parameters))
    }

    /// Tells field by field what a revision would change.
    pub(super) fn tell_revision(&self, revision: &Revision) {
        let change = |change: &Change| json!({ "resource": change.resource, "field": change.field, "from": change.from, "to": change.to });
        let changes: Vec<Value> = revision.changes.iter().map(change).collect();
        (self.refused)("package_revise", &json!({ "id": revision.package, "changes": changes }));
        self.counters.count(kind::Kind::Repeatable, Ended::DryRun);
    }
}
