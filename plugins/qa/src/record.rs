//! What is remembered: a record for each resource and one for each dataset.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::dataset::Resource;
use crate::score::Judgement;
use crate::source::Kept;

/// What is known about a resource, under `resource/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The dataset.
    pub package_id: String,
    /// From 0 to 5.
    pub openness_score: u8,
    /// Why.
    pub openness_score_reason: String,
    /// The format, if it is known.
    pub format: Option<String>,
    /// What it is packed in.
    pub container: Option<String>,
    /// What decided: `broken`, `content`, `address`, `declared` or `unknown`.
    pub rule: String,
    /// When it was last looked at.
    pub updated: Timestamp,
    /// What the score rests on, as a number; `null` if it is to be looked at again whatever it rests on.
    pub basis: Option<u64>,
    /// Whether CKAN was told.
    pub told: bool,
}

/// What is known about a dataset, under `dataset/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// The highest score of its resources; `null` if it has none.
    pub openness_score: Option<u8>,
    /// The resources that are remembered.
    pub resources: Vec<String>,
    /// When that was last different.
    pub updated: Timestamp,
}

impl Record {
    /// Takes a judgement down. CKAN is not told again what it has been told.
    pub fn of(
        judgement: Judgement,
        package_id: &str,
        basis: Option<u64>,
        before: Option<&Self>,
        now: Timestamp,
    ) -> Self {
        let record = Self {
            package_id: package_id.to_owned(),
            openness_score: judgement.score,
            openness_score_reason: judgement.reason,
            format: judgement.format,
            container: judgement.container,
            rule: judgement.rule.name().to_owned(),
            updated: now,
            basis,
            told: false,
        };
        let told = before.is_some_and(|before| before.told && before.says_the_same_as(&record));
        Self { told, ..record }
    }

    fn says_the_same_as(&self, other: &Self) -> bool {
        let said = |record: &Self| (record.openness_score, record.openness_score_reason.clone(), record.format.clone());
        said(self) == said(other)
    }
}

/// The key of a resource's record.
pub fn resource_key(id: &str) -> String {
    format!("resource/{id}")
}

/// The key of a dataset's record.
pub fn dataset_key(id: &str) -> String {
    format!("dataset/{id}")
}

/// What is remembered under a key; what an older version has left in another shape counts as nothing.
///
/// # Errors
/// The store cannot be read.
pub fn remembered<T: DeserializeOwned>(key: &str, host: &Host<'_>) -> Result<Option<T>> {
    match host.state().get(key) {
        Err(error) if error.code() == "answer" => Ok(None),
        answer => answer,
    }
}

/// What a score rests on, as a number: while it is the same, so is the score.
///
/// Should the way that the number is made change with a newer compiler, everything is looked at once more.
pub fn basis(resource: &Resource, kept: Option<&Kept>, is_open: bool, settings: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), settings, is_open, resource.url(), resource.declared()).hash(&mut hasher);
    kept.map(|kept| (kept.is_broken, &kept.reason, &kept.hash)).hash(&mut hasher);
    // What CKAN says of the content changes when `archive` writes it back; the copy itself says more.
    if kept.is_none_or(|kept| kept.hash.is_none()) {
        let size = resource.size.to_string();
        (&resource.last_modified, &resource.hash, &resource.mimetype, size).hash(&mut hasher);
    }
    hasher.finish()
}
