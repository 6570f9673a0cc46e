//! The worker from the side of a portal.

mod check;
mod conditions;
mod dataset;
mod deletion;
mod differences;
mod dry;
mod filters;
mod example;
mod hostile;
mod links;
mod memory;
mod postponed;
mod privacy;
mod recheck;
mod services;
mod settings;
mod writeback;

use std::fs;
use std::path::PathBuf;

use ckan_worker_plugin::prelude::*;
use ckan_worker_testing::{Bench, Event, PACKAGE_ID, RESOURCE_ID, package_changed};

use crate::Archive;

const URL: &str = "http://data.example/files/trees.csv";
const CSV: &str = "name,height\noak,20\n";
const CSV_SHA256: &str = "14c2f2edc4f9bde2a962b4b00a3c8f215e31a4b45c7ecd7d54f720dc2af48d3a";
const SECOND_ID: &str = "b1b2c3d4-6a5b-4ad0-9c3e-000000000002";
const SECOND_URL: &str = "http://data.example/second.json";

/// A portal with one dataset, and a worker with an empty directory.
struct Rig {
    bench: Bench,
    archive: Archive,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new(resources: Value) -> Self {
        Self::set(json!({}), resources)
    }

    /// A dataset with two good resources.
    fn two() -> Self {
        let rig = Self::new(json!([resource(URL), second()]));
        rig.bench.web(URL).body(CSV);
        rig.bench.web(SECOND_URL).body("{\"a\": 1}");
        rig
    }

    /// A worker with these settings besides its directory, `public`; in a text, `{dir}` is the directory of both.
    fn set(settings: Value, resources: Value) -> Self {
        let (bench, dir) = (Bench::default(), tempfile::tempdir().unwrap());
        bench.ckan().dataset(json!({ "id": PACKAGE_ID, "name": "trees", "state": "active", "private": false,
                                     "resources": resources }));
        let archive = bench.create(with_dir(&settings, &dir)).unwrap();
        Self { bench, archive, dir }
    }

    /// Makes the worker anew, with other settings.
    fn reset(&mut self, settings: Value) {
        self.archive = self.bench.create(with_dir(&settings, &self.dir)).unwrap();
    }

    /// Tells the worker that the dataset has changed.
    fn run(&self) -> Result<Outcome> {
        self.bench.consume(&self.archive, package_changed())
    }

    /// Calls the worker again as it wished.
    fn recheck(&self) -> Result<Outcome> {
        self.bench.consume(&self.archive, recheck_event())
    }

    /// Changes the dataset.
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut dataset = self.dataset();
        change(&mut dataset);
        self.bench.ckan().dataset(dataset);
    }

    fn set_resource(&self, field: &str, value: Value) {
        self.edit(|dataset| dataset["resources"][0][field] = value);
    }

    fn dataset(&self) -> Value {
        self.bench.ckan().show(PACKAGE_ID).unwrap()
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join("public").join(&RESOURCE_ID[..2]).join(RESOURCE_ID)
    }

    /// What is remembered of the resource; `Null` if nothing is.
    fn record(&self) -> Value {
        self.bench.remembered(&key(RESOURCE_ID)).unwrap_or_default()
    }

    /// The record beside the copy.
    fn record_file(&self) -> Value {
        ckan_worker_plugin::serde_json::from_slice(&fs::read(self.place().join("archive.json")).unwrap()).unwrap()
    }

    /// Changes what is remembered of the resource.
    fn edit_record(&self, change: impl FnOnce(&mut Value)) {
        let mut record = self.record();
        change(&mut record);
        self.bench.remember(&key(RESOURCE_ID), record);
    }

    /// Lets the resource come due.
    fn come_due(&self) {
        self.edit_record(|record| record["next_check_at"] = json!("2001-01-01T00:00:00Z"));
    }

    /// Asserts what the record says, as far as it is named.
    #[track_caller]
    fn check_record(&self, expected: Value) {
        check_fields(&self.record(), &expected);
    }

    /// The files in the resource's directory.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place()).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[track_caller]
fn check_fields(record: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(record[field], *value, "{field} of {record:#}");
    }
}

fn with_dir(settings: &Value, dir: &tempfile::TempDir) -> Value {
    let mut all = json!({ "dir": "{dir}/public", "bytes_max": "1_000" });
    for (key, value) in settings.as_object().unwrap() {
        all[key] = value.clone();
    }
    for value in all.as_object_mut().unwrap().values_mut() {
        if let Some(text) = value.as_str() {
            *value = json!(text.replace("{dir}", dir.path().to_str().unwrap()));
        }
    }
    all
}

/// The key that a resource is remembered under.
fn key(resource_id: &str) -> String {
    format!("resource/{PACKAGE_ID}/{resource_id}")
}

fn recheck_event() -> Event {
    Event::new("Package", "recheck", json!({ "id": PACKAGE_ID }).to_string())
}

/// A resource as CKAN has it after somebody typed in its address.
fn resource(url: &str) -> Value {
    json!({ "id": RESOURCE_ID, "name": "Trees", "url": url, "format": "CSV", "last_modified": null, "hash": "",
            "size": null, "mimetype": null, "state": "active" })
}

/// Another one, of another format.
fn second() -> Value {
    let mut second = resource(SECOND_URL);
    second["id"] = json!(SECOND_ID);
    second["name"] = json!("Second");
    second["format"] = json!("JSON");
    second
}

fn nothing_changed() -> Result<Outcome> {
    Ok(Outcome::skipped("nothing changed"))
}

fn done() -> Result<Outcome> {
    Ok(Outcome::Done)
}

fn not_found() -> Error {
    Error::permanent("Not found").with_code("ckan.not-found")
}
