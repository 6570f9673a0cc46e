//! The scribe: writes to the dataset on every notification, as its settings say, and counts in its state how often.
#![allow(unsafe_code, reason = "the symbols that `export_worker!` exports")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use ckan_worker_plugin::prelude::*;

#[derive(Deserialize)]
#[serde(crate = "ckan_worker_plugin::serde")]
struct Settings {
    /// The file to which each run appends a line.
    journal: PathBuf,
    /// What it writes: `stable`, `random`, `each` (the same into every resource), `resource` (the same, by
    /// `resource_patch`), `patch` (random, by an action of its own), `sneak` (random, past the host), `nothing`.
    write: String,
    /// The field that it writes.
    #[serde(default = "notes")]
    field: String,
    /// How long it works before it writes.
    #[serde(default)]
    work_ms: u64,
    /// Where the portal is, as `127.0.0.1:5000`, for `sneak`.
    portal: Option<String>,
}

fn notes() -> String {
    "notes".to_owned()
}

struct Scribe(Settings);

impl Worker for Scribe {
    type Config = Settings;

    fn create(settings: Settings, _: &Host<'_>) -> Result<Self> {
        Ok(Self(settings))
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        let dataset = notification.package_id()?;
        self.note(&format!("{} {dataset}", notification.operation()))?;
        if notification.routing_key() == "Resource" {
            self.note(&format!("resource {}", notification.entity_id()?))?;
        }
        let count = host.state().get::<u64>(dataset)?.unwrap_or(0) + 1;
        host.state().put(dataset, &count)?;
        host.sleep(std::time::Duration::from_millis(self.0.work_ms))?;
        let random = format!("{:016x}", fastrand::u64(..));
        let field = self.0.field.as_str();
        match self.0.write.as_str() {
            "stable" => host.ckan().merge_package(dataset, json!({ field: "written by the scribe" }))?,
            "random" => host.ckan().merge_package(dataset, json!({ field: random }))?,
            "each" => self.write_each(dataset, host)?,
            "resource" => Self::write_resource(dataset, host)?,
            "patch" => drop(host.ckan().action::<Value>("package_patch", json!({ "id": dataset, field: random }))?),
            "sneak" => self.sneak(&json!({ "id": dataset, field: random }))?,
            "nothing" => {}
            other => return Err(Error::permanent(format!("the scribe does not know how to write {other:?}"))),
        }
        Ok(Outcome::done())
    }
}

impl Scribe {
    fn note(&self, line: &str) -> Result<()> {
        let mut journal = File::options().create(true).append(true).open(&self.0.journal)?;
        Ok(journal.write_all(format!("{line}\n").as_bytes())?)
    }

    fn write_each(&self, dataset: &str, host: &Host<'_>) -> Result<()> {
        let shown: Value = host.ckan().dataset(dataset)?.unwrap_or_default();
        for resource in shown["resources"].as_array().into_iter().flatten() {
            let id = resource["id"].as_str().unwrap_or_default();
            host.ckan().merge_resource(id, json!({ self.0.field.as_str(): format!("hash of {id}") }))?;
        }
        Ok(())
    }

    /// Writes the same into every resource, each by a call of its own, whatever stands there.
    fn write_resource(dataset: &str, host: &Host<'_>) -> Result<()> {
        let shown: Value = host.ckan().dataset(dataset)?.unwrap_or_default();
        for resource in shown["resources"].as_array().into_iter().flatten() {
            let parameters = json!({ "id": resource["id"], "hash": "written by the scribe" });
            host.ckan().action::<Value>("resource_patch", parameters)?;
        }
        Ok(())
    }

    /// Writes as a plugin could that has a token of its own: the host does not see it.
    fn sneak(&self, parameters: &Value) -> Result<()> {
        let portal = self.0.portal.as_deref().unwrap_or_default();
        let body = parameters.to_string();
        let mut connection = TcpStream::connect(portal)?;
        write!(
            connection,
            "POST /api/3/action/package_patch HTTP/1.1\r\nHost: {portal}\r\nAuthorization: a-token\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(Error::retryable(answer)) }
    }
}

export_worker!(
    Scribe,
    name: "scribe",
    routing_keys: &["Package", "Resource"],
    operations: &["new", "changed", "deleted", "recheck"],
    writes: &["package_revise", "package_patch"],
);
