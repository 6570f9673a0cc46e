#![expect(unsafe_code, reason = "the plugin's side of the host's vtable")]

use std::path::Path;

use ckan_worker_abi::abi_stable::std_types::RSlice;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Result;
use crate::host::{Host, received, too_old};

/// The portal, by its action API.
///
/// The host calls again what may be repeated: reads, and of the writes those that leave the same behind when they are
/// done twice. What creates something is sent once.
#[derive(Clone, Copy)]
pub struct Ckan<'a> {
    pub(crate) host: Host<'a>,
}

impl<'a> Ckan<'a> {
    /// Calls an action, by POST, and answers its `result`.
    ///
    /// ```
    /// # use ckan_worker_plugin::prelude::*;
    /// fn touch(host: &Host<'_>, id: &str) -> Result<Value> {
    ///     host.ckan().action("package_patch", json!({ "id": id, "notes": "seen" }))
    /// }
    /// ```
    ///
    /// # Errors
    /// `ckan.not-found`, `ckan.not-authorized`, `ckan.validation`, `ckan.lost-race`, `ckan.bad-request`,
    /// `ckan.rate-limited`, `ckan.unavailable`, …: see [`Error::code`](crate::Error::code). Those that cannot pass are
    /// permanent.
    pub fn action<T: DeserializeOwned>(&self, name: &str, parameters: impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(&parameters)?;
        let raw = self.host.raw;
        // SAFETY: the context is valid while `Host` is; name and body outlive the call.
        received(unsafe { (raw.vt.ckan_action())(raw.ctx, name.into(), RSlice::from_slice(&body)) })
    }

    /// Calls an action that changes nothing, by GET, and answers its `result`. Parameters are texts and numbers.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub fn get<T: DeserializeOwned>(&self, name: &str, parameters: impl Serialize) -> Result<T> {
        let query = serde_json::to_vec(&parameters)?;
        let raw = self.host.raw;
        // SAFETY: the context is valid while `Host` is; name and query outlive the call.
        received(unsafe { (raw.vt.ckan_get())(raw.ctx, name.into(), RSlice::from_slice(&query)) })
    }

    /// The dataset that a notification is about, in the shape of `package_show`; `None` if CKAN does not know it.
    ///
    /// CKAN announces a change before it is committed. So the host waits a moment, about two seconds at most, for a
    /// dataset that is not there yet or not yet as new as it was announced. What the host has read for this run before is
    /// not asked for again.
    ///
    /// # Errors
    /// As [`action`](Self::action), but for `ckan.not-found`.
    pub fn dataset<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>> {
        let show = self.host.raw.vt.ckan_dataset().ok_or_else(too_old)?;
        // SAFETY: the context is valid while `Host` is; the id outlives the call.
        match received(unsafe { show(self.host.raw.ctx, id.into()) }) {
            Ok(dataset) => Ok(Some(dataset)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `package_show`, as CKAN has it now.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub fn package_show<T: DeserializeOwned>(&self, id: &str) -> Result<T> {
        self.get("package_show", json!({ "id": id }))
    }

    /// `resource_show`, as CKAN has it now.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub fn resource_show<T: DeserializeOwned>(&self, id: &str) -> Result<T> {
        self.get("resource_show", json!({ "id": id }))
    }

    /// All datasets that a `package_search` finds, page after page, in the order of their ids unless `query` has a
    /// `sort`; `query` is an object with `q`, `fq`, `include_private` and the like.
    ///
    /// ```
    /// # use ckan_worker_plugin::prelude::*;
    /// fn csv_files(host: &Host<'_>) -> Result<usize> {
    ///     let mut count = 0;
    ///     for dataset in host.ckan().search::<Value>(json!({ "fq": "res_format:CSV" })) {
    ///         count += dataset?["resources"].as_array().map_or(0, Vec::len);
    ///     }
    ///     Ok(count)
    /// }
    /// ```
    pub fn search<T: DeserializeOwned>(&self, query: impl Serialize) -> Search<'a, T> {
        Search {
            ckan: *self,
            query: serde_json::to_value(query),
            start: 0,
            page: Vec::new().into_iter(),
            is_over: false,
        }
    }

    /// `task_status_update`: what CKAN keeps of a task without a notification. It needs the token of a sysadmin.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub fn task_status_update(&self, status: &TaskStatus<'_>) -> Result<Value> {
        self.action("task_status_update", status)
    }

    /// `datastore_create`: makes the table of a resource, or changes it.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub fn datastore_create(&self, parameters: impl Serialize) -> Result<Value> {
        self.action("datastore_create", parameters)
    }

    /// `datastore_upsert`. With the method `insert` it is sent once, with `upsert` and `update` it may be repeated.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub fn datastore_upsert(&self, parameters: impl Serialize) -> Result<Value> {
        self.action("datastore_upsert", parameters)
    }

    /// `datastore_info`: the table of a resource.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub fn datastore_info(&self, resource_id: &str) -> Result<Value> {
        self.action("datastore_info", json!({ "id": resource_id }))
    }

    /// Calls an action with a file beside its parameters, as in `resource_patch` with an `upload`. It is sent piece by
    /// piece; parameters that are no texts are sent as JSON.
    ///
    /// # Errors
    /// As [`action`](Self::action); `ckan.upload` if the file cannot be read.
    pub fn upload<T: DeserializeOwned>(&self, name: &str, parameters: impl Serialize, file: &Upload<'_>) -> Result<T> {
        let upload = self.host.raw.vt.ckan_upload().ok_or_else(too_old)?;
        let (body, file) = (serde_json::to_vec(&parameters)?, serde_json::to_vec(file)?);
        let (body, file) = (RSlice::from_slice(&body), RSlice::from_slice(&file));
        // SAFETY: the context is valid while `Host` is; all three outlive the call.
        received(unsafe { upload(self.host.raw.ctx, name.into(), body, file) })
    }

    /// Notes what is to be changed of a dataset. Nothing is sent yet: when the run ends well, or at [`flush`](Self::flush),
    /// the host writes all that was noted with one `package_revise` for each dataset, and nothing where CKAN has it so.
    ///
    /// # Errors
    /// `ckan.bad-request` if `fields` is not an object.
    pub fn merge_package(&self, id: &str, fields: impl Serialize) -> Result<()> {
        self.merge(&Delta { package: Some(id.to_owned()), fields: object(fields)?, ..Delta::default() })
    }

    /// The same for a resource, by its id; a resource of the dataset that the notification is about, unless
    /// [`Delta::package`] says another.
    ///
    /// # Errors
    /// As [`merge_package`](Self::merge_package).
    pub fn merge_resource(&self, id: &str, fields: impl Serialize) -> Result<()> {
        self.merge(&Delta { resource: Some(id.to_owned()), fields: object(fields)?, ..Delta::default() })
    }

    /// Notes a change in all its parts.
    ///
    /// # Errors
    /// As [`merge_package`](Self::merge_package).
    pub fn merge(&self, delta: &Delta) -> Result<()> {
        let merge = self.host.raw.vt.ckan_merge().ok_or_else(too_old)?;
        let delta = serde_json::to_vec(delta)?;
        // SAFETY: the context is valid while `Host` is; the delta outlives the call.
        crate::host::bytes(unsafe { merge(self.host.raw.ctx, RSlice::from_slice(&delta)) }).map(drop)
    }

    /// Writes now what was noted so far. What fails here is no longer noted.
    ///
    /// # Errors
    /// As [`action`](Self::action); `ckan.lost-race` if what was expected does not hold, or others wrote each time.
    pub fn flush(&self) -> Result<Written> {
        let flush = self.host.raw.vt.ckan_flush().ok_or_else(too_old)?;
        // SAFETY: the context is valid while `Host` is.
        received(unsafe { flush(self.host.raw.ctx) })
    }
}

/// What is to be changed of a dataset or of one of its resources.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delta {
    /// The dataset; `None` for the one that the notification is about.
    pub package: Option<String>,
    /// The resource; `None` for the dataset itself.
    pub resource: Option<String>,
    /// The fields and their new values.
    pub fields: Map<String, Value>,
    /// Fields of the same thing and the values that they must still have; otherwise nothing is written, and that is
    /// `ckan.lost-race`.
    pub expect: Map<String, Value>,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// The datasets that a `package_revise` was sent for, by their ids.
    pub datasets: Vec<String>,
    /// How many resources and datasets were changed in them.
    pub changed: usize,
    /// How many had it all already.
    pub unchanged: usize,
}

/// A file that is sent beside the parameters of an action.
#[derive(Debug, Clone, Serialize)]
pub struct Upload<'a> {
    /// The parameter that it is, as in `upload`.
    pub field: &'a str,
    /// Where it is.
    pub path: &'a Path,
    /// What CKAN is to call it.
    pub filename: &'a str,
    /// Its media type.
    pub mimetype: &'a str,
}

/// What CKAN keeps of a task, by entity, type and key.
#[derive(Debug, Clone, Serialize)]
pub struct TaskStatus<'a> {
    /// The id of what it is about.
    pub entity_id: &'a str,
    /// `resource` or `package`.
    pub entity_type: &'a str,
    /// The worker.
    pub task_type: &'a str,
    /// Which of its values.
    pub key: &'a str,
    /// The value; JSON as a text, as CKAN's own workers have it.
    pub value: String,
    /// How it stands: `pending`, `complete`, `error`.
    pub state: &'a str,
    /// What went wrong, as a text.
    pub error: String,
    /// When, in ISO 8601 without a time zone, in UTC.
    pub last_updated: String,
}

/// The datasets that a search finds, asked for page by page.
pub struct Search<'a, T> {
    ckan: Ckan<'a>,
    query: serde_json::Result<Value>,
    start: usize,
    page: std::vec::IntoIter<T>,
    is_over: bool,
}

impl<T: DeserializeOwned> Search<'_, T> {
    fn next_page(&mut self) -> Result<Vec<T>> {
        #[derive(Deserialize)]
        struct Found<T> {
            results: Vec<T>,
        }
        let mut query = object(std::mem::replace(&mut self.query, Ok(Value::Null))?)?;
        query.entry("sort").or_insert_with(|| "id asc".into());
        query.entry("rows").or_insert_with(|| 100.into());
        query.insert("start".to_owned(), self.start.into());
        let found: Found<T> = self.ckan.get("package_search", &query)?;
        self.query = Ok(Value::Object(query));
        // A portal may answer fewer than it was asked for, and still have more.
        self.start += found.results.len();
        Ok(found.results)
    }
}

impl<T: DeserializeOwned> Iterator for Search<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if let Some(dataset) = self.page.next() {
            return Some(Ok(dataset));
        }
        if self.is_over {
            return None;
        }
        match self.next_page() {
            Ok(page) => {
                self.is_over = page.is_empty();
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.is_over = true;
                Some(Err(error))
            }
        }
    }
}

pub(crate) fn object(fields: impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(fields)? {
        Value::Object(fields) => Ok(fields),
        other => {
            Err(crate::Error::permanent(format!("expected an object of fields, got {other}"))
                .with_code("ckan.bad-request"))
        }
    }
}
