//! What CKAN checks and fills in when a dataset is written.

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Map, Value, json};

use super::dataset::{complete_resources, list, text};
use super::envelope::Refusal;

/// Resource fields that hold a whole number.
const NUMBERS: &[&str] = &["size", "position"];
/// Resource fields that hold a date.
const DATES: &[&str] = &["last_modified", "cache_last_updated"];

/// Brings a dataset into the stored shape, or says field by field what is wrong with it.
pub(super) fn normalize(package: &mut Map<String, Value>) -> Result<(), Refusal> {
    complete_resources(package);
    let mut errors = Vec::new();
    for resource in list(package, "resources") {
        errors.push(Value::Object(normalize_resource(resource)));
    }
    if errors.iter().any(|errors| *errors != json!({})) {
        return Err(Refusal::Invalid(json!({"resources": errors})));
    }
    if text(package, "name").is_empty() {
        return Err(Refusal::Invalid(json!({"name": ["Missing value"]})));
    }
    Ok(())
}

fn normalize_resource(resource: &mut Value) -> Map<String, Value> {
    let mut errors = Map::new();
    for field in NUMBERS {
        if let Some(value) = resource.get_mut(field) {
            match whole(value) {
                Some(number) => *value = number,
                None => drop(errors.insert((*field).to_owned(), json!(["Invalid integer"]))),
            }
        }
    }
    for field in DATES {
        if resource.get(field).is_some_and(|value| !is_date(value)) {
            errors.insert((*field).to_owned(), json!(["Date format incorrect"]));
        }
    }
    errors
}

fn whole(value: &Value) -> Option<Value> {
    match value {
        Value::Null => Some(Value::Null),
        Value::String(text) if text.is_empty() => Some(Value::Null),
        Value::String(text) => text.trim().parse::<i64>().ok().map(Value::from),
        Value::Number(number) => number.as_i64().map(Value::from),
        _ => None,
    }
}

fn is_date(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text.parse::<DateTime>().is_ok() || text.parse::<Timestamp>().is_ok(),
        _ => false,
    }
}

/// Notes on `after`, which replaces `before`, when it and each resource that differs was changed.
pub(super) fn stamp(before: &Map<String, Value>, after: &mut Map<String, Value>) {
    // CKAN's times have no zone and mean UTC.
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string();
    let earlier = before.get("resources").and_then(Value::as_array).cloned().unwrap_or_default();
    for resource in list(after, "resources") {
        if !earlier.contains(resource) {
            resource["metadata_modified"] = now.as_str().into();
        }
    }
    after.insert("metadata_modified".into(), now.into());
}
