//! Tells CKAN what was found: one `package_revise` for a dataset, and none if CKAN knows it all.

use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::serde_json::Map;

use crate::dataset::{Dataset, Resource};
use crate::record::Record;
use crate::store::Store;

impl Resource {
    /// Whether CKAN has the hash, the size and the media type of a record.
    pub fn agrees_with(&self, record: &Record) -> bool {
        let size = self.size.as_u64().or_else(|| self.size.as_str().and_then(|text| text.trim().parse().ok()));
        self.hash == record.hash && self.mimetype == record.mimetype && size == record.size
    }
}

/// Writes back what CKAN does not know yet, and answers for how many resources.
///
/// A record says whether it was written back, so that a run which fails here is made good by the next, without
/// fetching again, and that what somebody sets by hand afterwards is left alone.
pub fn tell(dataset: &Dataset, records: Vec<(&Resource, Record)>, store: &Store, host: &Host<'_>) -> Result<usize> {
    let untold: Vec<(&Resource, Record)> = records.into_iter().filter(|(_, record)| !record.written_back).collect();
    let different: Vec<&Record> =
        untold.iter().filter(|(resource, record)| !resource.agrees_with(record)).map(|(_, record)| record).collect();
    let told = different.len();
    if told > 0 {
        host.ckan().action::<Value>("package_revise", revision(&dataset.id, &different))?;
    }
    for (resource, mut record) in untold {
        record.written_back = true;
        if let Some(place) = store.place(&resource.id) {
            place.remember(&record)?;
        }
    }
    Ok(told)
}

/// The parameters of `package_revise`. Numbers are numbers: the text "7" for 7 would be a change.
fn revision(dataset_id: &str, records: &[&Record]) -> Value {
    let mut parameters = Map::new();
    parameters.insert("match".to_owned(), json!({ "id": dataset_id }));
    // The answer would be the whole dataset.
    parameters.insert("include".to_owned(), json!(["-*"]));
    for record in records {
        let values = json!({ "hash": record.hash, "size": record.size, "mimetype": record.mimetype });
        parameters.insert(format!("update__resources__{}", record.resource_id), values);
    }
    Value::Object(parameters)
}
