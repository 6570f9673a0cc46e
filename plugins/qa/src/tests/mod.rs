//! The worker from the side of a portal.

mod dataset;
mod example;
mod files;
mod files_binary;
mod files_hostile;
mod files_packed;
mod files_text;
mod links;
mod oracle;
mod write;

use std::fs;
use std::path::PathBuf;

use ckan_worker_plugin::prelude::*;
use ckan_worker_testing::{Bench, PACKAGE_ID, RESOURCE_ID, package_changed};

use crate::Qa;

const URL: &str = "http://data.example/files/trees.csv";
const CSV: &str = "name,height\noak,20\nash,18\n";

/// A portal with one dataset under an open licence, a worker, and the directory of `archive`.
struct Rig {
    bench: Bench,
    qa: Qa,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new(resources: Value) -> Self {
        Self::with(resources, json!({}))
    }

    /// With settings beside `archive_dir`.
    fn with(resources: Value, mut settings: Value) -> Self {
        let (bench, dir) = (Bench::default(), tempfile::tempdir().unwrap());
        bench.ckan().dataset(json!({
            "id": PACKAGE_ID, "name": "trees", "state": "active", "private": false, "license_id": "cc-by",
            "isopen": true, "resources": resources,
        }));
        bench.ckan().answer("task_status_update", json!({}));
        settings["archive_dir"] = json!(dir.path());
        let qa = bench.create(settings).unwrap();
        Self { bench, qa, dir }
    }

    /// With the one resource that somebody typed in.
    fn of_one(url: &str) -> Self {
        Self::new(json!([resource(url)]))
    }

    /// Tells the worker that the dataset has changed.
    fn run(&self) -> Result<Outcome> {
        self.bench.consume(&self.qa, package_changed())
    }

    /// Changes the dataset.
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut dataset = self.bench.ckan().show(PACKAGE_ID).unwrap();
        change(&mut dataset);
        self.bench.ckan().dataset(dataset);
    }

    /// What is remembered of the resource.
    fn record(&self) -> Value {
        self.bench.remembered(&format!("resource/{RESOURCE_ID}")).unwrap_or_default()
    }

    /// What is remembered of the dataset.
    fn dataset_record(&self) -> Value {
        self.bench.remembered(&format!("dataset/{PACKAGE_ID}")).unwrap_or_default()
    }

    /// Puts there what `archive` leaves.
    fn archived(&self, record: Value, copy: Option<(&str, &[u8])>) {
        let place = self.place();
        fs::create_dir_all(&place).unwrap();
        let mut record = record;
        if let Some((name, content)) = copy {
            fs::write(place.join(name), content).unwrap();
            record["cache_filepath"] = json!(place.join(name));
        }
        fs::write(place.join("archive.json"), record.to_string()).unwrap();
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join(&RESOURCE_ID[..2]).join(RESOURCE_ID)
    }

    /// Asserts what the resource's record says, as far as it is named.
    #[track_caller]
    fn check_record(&self, expected: Value) {
        let record = self.record();
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(record[field], *value, "{field} of {record:#}");
        }
    }
}

/// A resource as CKAN has it after somebody typed in its address.
fn resource(url: &str) -> Value {
    json!({ "id": RESOURCE_ID, "name": "Trees", "url": url, "format": "CSV", "last_modified": null, "hash": "",
            "size": null, "mimetype": null, "state": "active" })
}

fn nothing_changed() -> Result<Outcome> {
    Ok(Outcome::skipped("nothing changed"))
}

fn done() -> Result<Outcome> {
    Ok(Outcome::Done)
}
