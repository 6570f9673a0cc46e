//! `package_revise`: match, update, and what is shown afterwards.

use serde_json::{Map, Value, json};

use super::dataset::{complete_resources, text};
use super::envelope::Refusal;
use super::merge;

/// What a call of `package_revise` asks for.
#[derive(Debug)]
pub(super) struct Revision<'a> {
    matching: Option<&'a Value>,
    /// Patterns of what is taken away before anything is put there.
    filter: Vec<&'a str>,
    /// `match__…` and the value it must have.
    matching_keys: Vec<(&'a str, &'a Value)>,
    updating: Option<&'a Value>,
    /// `update__…` and the value to put there.
    updating_keys: Vec<(&'a str, &'a Value)>,
    include: Vec<&'a str>,
}

impl<'a> Revision<'a> {
    /// Reads the parameters of a call.
    pub(super) fn read(params: &'a Map<String, Value>) -> Result<Self, Refusal> {
        let mut revision = Self {
            filter: vec![],
            matching: None,
            matching_keys: vec![],
            updating: None,
            updating_keys: vec![],
            include: vec![],
        };
        for (name, value) in params {
            if let Some(key) = name.strip_prefix("match__") {
                revision.matching_keys.push((key, value));
            } else if let Some(key) = name.strip_prefix("update__") {
                revision.updating_keys.push((key, value));
            } else {
                match name.as_str() {
                    "match" => revision.matching = Some(value),
                    "update" => revision.updating = Some(value),
                    "include" => revision.include = patterns(value),
                    "filter" => revision.filter = patterns(value),
                    other => return Err(Refusal::Invalid(json!({other: ["The sample portal does not know this"]}))),
                }
            }
        }
        // Lists grow first, so that what was added can be named by a later key.
        revision.updating_keys.sort_by_key(|(key, _)| (!key.ends_with("extend"), *key));
        Ok(revision)
    }

    /// The id or name of the dataset that is to be revised.
    pub(super) fn package(&self) -> Result<&'a str, Refusal> {
        let key = |wanted: &str| self.matching_keys.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        let nested = |wanted: &str| self.matching.and_then(|matching| matching.get(wanted));
        let value = key("id").or_else(|| nested("id")).or_else(|| key("name")).or_else(|| nested("name"));
        value.and_then(Value::as_str).ok_or_else(|| Refusal::Invalid(json!({"match__id": ["Missing value"]})))
    }

    /// The dataset as it should become. Touches nothing that is stored.
    pub(super) fn apply(&self, package: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
        let id = text(&package, "id").to_owned();
        let mut package = Value::Object(package);
        let mismatches = self.mismatches(&package)?;
        if !mismatches.is_empty() {
            return Err(Refusal::Invalid(json!({"match": mismatches})));
        }
        merge::include(&mut package, &self.filter);
        if let Some(update) = self.updating {
            merge::merge(&mut package, update, "")?;
        }
        for (key, update) in &self.updating_keys {
            merge::update_at(&mut package, key, update)
                .map_err(|merge::Unmatched(text)| Refusal::Invalid(json!({format!("update__{key}"): [text]})))?;
        }
        let Value::Object(mut package) = package else { return Err(Refusal::Bad("Bad request".into())) };
        package.insert("id".into(), id.into());
        complete_resources(&mut package);
        Ok(package)
    }

    /// What of the answer was asked for.
    pub(super) fn shown(&self, mut result: Value) -> Value {
        merge::include(&mut result, &self.include);
        result
    }

    fn mismatches(&self, package: &Value) -> Result<Vec<String>, Refusal> {
        let mut found = self.matching.map(|matching| merge::nested_differences(package, matching)).unwrap_or_default();
        for (key, expected) in &self.matching_keys {
            let differences = merge::differences(package, key, expected);
            found.extend(differences.map_err(|merge::Unmatched(text)| Refusal::Integrity(text))?);
        }
        Ok(found)
    }
}

/// The patterns of `include`: a list, or one text with commas.
fn patterns(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
