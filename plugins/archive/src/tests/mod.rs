//! The worker from the side of a portal.

mod dataset;
mod links;
mod writeback;

use std::fs;
use std::path::PathBuf;

use ckan_worker_plugin::prelude::*;
use ckan_worker_testing::{Bench, PACKAGE_ID, RESOURCE_ID, package_changed};

use crate::Archive;

const URL: &str = "http://data.example/files/trees.csv";
const CSV: &str = "name,height\noak,20\n";
const CSV_SHA256: &str = "14c2f2edc4f9bde2a962b4b00a3c8f215e31a4b45c7ecd7d54f720dc2af48d3a";

/// A portal with one dataset, and a worker with an empty directory.
struct Rig {
    bench: Bench,
    archive: Archive,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new(resources: Value) -> Self {
        Self::with(json!({ "id": PACKAGE_ID, "name": "trees", "state": "active", "private": false,
                           "resources": resources }))
    }

    fn with(dataset: Value) -> Self {
        let (bench, dir) = (Bench::default(), tempfile::tempdir().unwrap());
        bench.ckan().dataset(dataset);
        let archive = bench.create(json!({ "dir": dir.path(), "bytes_max": "1_000" })).unwrap();
        Self { bench, archive, dir }
    }

    /// Tells the worker that the dataset has changed.
    fn run(&self) -> Result<Outcome> {
        self.bench.consume(&self.archive, package_changed())
    }

    /// Changes the dataset.
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut dataset = self.dataset();
        change(&mut dataset);
        self.bench.ckan().dataset(dataset);
    }

    fn dataset(&self) -> Value {
        self.bench.ckan().show(PACKAGE_ID).unwrap()
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join(&RESOURCE_ID[..2]).join(RESOURCE_ID)
    }

    fn record(&self) -> Value {
        ckan_worker_plugin::serde_json::from_slice(&fs::read(self.place().join("archive.json")).unwrap()).unwrap()
    }

    /// Asserts what the record says, as far as it is named.
    #[track_caller]
    fn check_record(&self, expected: Value) {
        let record = self.record();
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(record[field], *value, "{field} of {record:#}");
        }
    }

    /// The files in the resource's directory.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place()).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
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
