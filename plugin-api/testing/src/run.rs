//! What a run notes and remembers, until it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use ckan_worker_plugin::{Delta, Error, Result, Value, Written, json};
use serde_json::Map;

use crate::bench::Bench;

/// What a run notes and remembers, until it ends.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    state: BTreeMap<String, Vec<u8>>,
    deltas: Vec<Delta>,
    rechecks: BTreeMap<String, Duration>,
    /// The dataset that the notification is about.
    package_id: Option<String>,
}

impl Run {
    pub fn new(state: BTreeMap<String, Vec<u8>>, package_id: Option<&str>) -> Self {
        Self { state, deltas: Vec::new(), rechecks: BTreeMap::new(), package_id: package_id.map(str::to_owned) }
    }

    pub fn into_state(self) -> BTreeMap<String, Vec<u8>> {
        self.state
    }

    pub fn rechecks(&self) -> &BTreeMap<String, Duration> {
        &self.rechecks
    }

    pub fn recheck(&mut self, id: &str, delay: Duration) {
        self.rechecks.insert(id.to_owned(), delay);
    }

    pub fn get(&self, key: &str) -> Result<Vec<u8>> {
        self.state.get(key).cloned().ok_or_else(|| Error::permanent("there is none").with_code("state.absent"))
    }

    pub fn set(&mut self, key: &str, value: Option<&[u8]>) -> Result<Vec<u8>> {
        if key.is_empty() || key.len() > 512 || value.is_some_and(|value| value.len() > 1 << 20) {
            let message = "a key has 1 to 512 bytes, a value at most 1 MiB";
            return Err(Error::permanent(message).with_code("state.too-large"));
        }
        match value {
            Some(value) => self.state.insert(key.to_owned(), value.to_vec()),
            None => self.state.remove(key),
        };
        Ok(Vec::new())
    }

    pub fn scan(&self, prefix: &str, after: &str, limit: usize) -> Vec<u8> {
        let found = self.state.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        let mut page = Vec::new();
        for (key, value) in found.take(limit) {
            for text in [key.as_bytes(), value] {
                page.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            }
            page.extend(key.as_bytes());
            page.extend(value);
        }
        page
    }

    pub fn swap(&mut self, key: &str, expected: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        let is_so = self.state.get(key).map(Vec::as_slice).unwrap_or_default() == expected;
        if is_so {
            self.set(key, Some(value))?;
        }
        Ok(vec![u8::from(is_so)])
    }

    pub fn note(&mut self, bench: &Bench, delta: &[u8]) -> Result<Vec<u8>> {
        let mut delta: Delta = serde_json::from_slice(delta)?;
        if delta.package.is_none() {
            delta.package = match &delta.resource {
                Some(id) => bench.ckan().dataset_of(id).or_else(|| self.package_id.clone()),
                None => self.package_id.clone(),
            };
        }
        self.deltas.push(delta);
        Ok(Vec::new())
    }

    /// Writes what was noted, as the host does: one `package_revise` for each dataset, of what differs.
    pub fn flush(&mut self, bench: &Bench) -> Result<Vec<u8>> {
        let mut of_dataset: BTreeMap<String, Vec<Delta>> = BTreeMap::new();
        for delta in std::mem::take(&mut self.deltas) {
            of_dataset.entry(delta.package.clone().unwrap_or_default()).or_default().push(delta);
        }
        let mut written = Written::default();
        for (id, deltas) in of_dataset {
            let dataset = bench.ckan().show(&id).ok_or_else(|| {
                Error::permanent(format!("Not found: the dataset {id:?}")).with_code("ckan.not-found")
            })?;
            let mut parameters = Map::new();
            for delta in deltas {
                let (name, thing) = match &delta.resource {
                    None => ("update".to_owned(), &dataset),
                    Some(resource) => (format!("update__resources__{resource}"), resource_of(&dataset, resource)?),
                };
                if delta.expect.iter().any(|(field, value)| thing[field] != *value) {
                    return Err(Error::retryable("what was expected does not hold").with_code("ckan.lost-race"));
                }
                let differs = |(field, value): &(String, Value)| !is_same(&thing[field], value);
                let fields: Map<String, Value> = delta.fields.into_iter().filter(differs).collect();
                if fields.is_empty() {
                    written.unchanged += 1;
                    continue;
                }
                written.changed += 1;
                let so_far = parameters.entry(name).or_insert_with(|| json!({}));
                so_far.as_object_mut().expect("it was made as one").extend(fields);
            }
            if !parameters.is_empty() {
                parameters.insert("match".to_owned(), json!({ "id": id }));
                bench.action("package_revise", Value::Object(parameters).to_string().as_bytes())?;
                written.datasets.push(id);
            }
        }
        Ok(serde_json::to_vec(&written)?)
    }
}

fn resource_of<'a>(dataset: &'a Value, id: &str) -> Result<&'a Value> {
    let mut resources = dataset["resources"].as_array().into_iter().flatten();
    resources
        .find(|resource| resource["id"] == id)
        .ok_or_else(|| Error::permanent(format!("Not found: the resource {id:?}")).with_code("ckan.not-found"))
}

/// Whether CKAN has a value already: it shows some numbers as texts.
fn is_same(shown: &Value, value: &Value) -> bool {
    let text = value.to_string();
    shown == value || (value.is_number() && shown.as_str().is_some_and(|shown| shown.trim() == text))
}
