//! The two ways `package_revise` names a place in a dataset: `resources__1492a__size`, and nested JSON.

use serde_json::{Map, Value};

/// The shortest beginning of an id that names a list element.
const ID_PREFIX_MIN: usize = 5;

/// A place that a key names but the dataset does not have; the text is CKAN's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unmatched(pub(super) String);

/// Where `key` differs from `expected`, as texts like `resources__0__hash`.
pub(super) fn differences(dataset: &Value, key: &str, expected: &Value) -> Result<Vec<String>, Unmatched> {
    let mut value = dataset;
    let mut place = Vec::new();
    for part in key.split("__") {
        let name = step(value, part, &place)?;
        value = match (value, &name) {
            (Value::Object(fields), Step::Field(field)) => fields.get(field).ok_or_else(|| unmatched(&place, part))?,
            (Value::Array(items), Step::Index(index)) => &items[*index],
            _ => return Err(unmatched(&place, part)),
        };
        place.push(name.to_string());
    }
    let mut found = Vec::new();
    compare(value, expected, &place.join("__"), &mut found);
    Ok(found)
}

fn compare(value: &Value, expected: &Value, place: &str, found: &mut Vec<String>) {
    let inner = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}__{name}") };
    match (value, expected) {
        (Value::Object(fields), Value::Object(wanted)) => {
            for (name, wanted) in wanted {
                compare(fields.get(name).unwrap_or(&Value::Null), wanted, &inner(name), found);
            }
        }
        (Value::Array(items), Value::Array(wanted)) => {
            for (index, wanted) in wanted.iter().enumerate() {
                compare(items.get(index).unwrap_or(&Value::Null), wanted, &inner(&index.to_string()), found);
            }
        }
        (value, wanted) if value != wanted => found.push(place.to_owned()),
        _ => {}
    }
}

/// Where a nested `match` differs from the dataset.
pub(super) fn nested_differences(dataset: &Value, expected: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(dataset, expected, "", &mut found);
    found
}

/// Sets the place that `key` names; an object is merged into what is there, `…__extend` adds to a list.
pub(super) fn update_at(dataset: &mut Value, key: &str, update: &Value) -> Result<(), Unmatched> {
    let (parents, last) = key.rsplit_once("__").map_or((None, key), |(parents, last)| (Some(parents), last));
    let mut value = dataset;
    let mut place = Vec::new();
    for part in parents.into_iter().flat_map(|parents| parents.split("__")) {
        let name = step(value, part, &place)?;
        let found = match &name {
            Step::Field(field) => value.get_mut(field),
            Step::Index(index) => value.get_mut(*index),
        };
        value = found.ok_or_else(|| unmatched(&place, part))?;
        place.push(name.to_string());
    }
    if let (Value::Array(items), "extend", Value::Array(more)) = (&mut *value, last, update) {
        items.extend(more.iter().cloned());
        return Ok(());
    }
    match step(value, last, &place)? {
        Step::Field(field) => {
            merge(value, &Value::Object(Map::from_iter([(field, update.clone())])), &place.join("__"))
        }
        Step::Index(index) => {
            place.push(index.to_string());
            merge(&mut value[index], update, &place.join("__"))
        }
    }
}

/// Merges objects field by field and lists element by element; everything else is replaced.
pub(super) fn merge(value: &mut Value, update: &Value, place: &str) -> Result<(), Unmatched> {
    match (value, update) {
        (Value::Object(fields), Value::Object(updates)) => {
            for (name, update) in updates {
                match fields.get_mut(name) {
                    None => drop(fields.insert(name.clone(), update.clone())),
                    Some(value) => merge(value, update, &format!("{place}__{name}"))?,
                }
            }
        }
        (Value::Array(items), Value::Array(updates)) => {
            for (index, update) in updates.iter().enumerate() {
                match items.get_mut(index) {
                    None => items.push(update.clone()),
                    Some(value) => merge(value, update, &format!("{place}__{index}"))?,
                }
            }
        }
        (Value::Object(_), _) => return Err(Unmatched(format!("Expected dict for {}", place.trim_matches('_')))),
        (Value::Array(_), _) => return Err(Unmatched(format!("Expected list for {}", place.trim_matches('_')))),
        (value, update) => *value = update.clone(),
    }
    Ok(())
}

enum Step {
    Field(String),
    Index(usize),
}

impl std::fmt::Display for Step {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(field) => out.write_str(field),
            Self::Index(index) => write!(out, "{index}"),
        }
    }
}

/// What `part` names in `value`: a field, an index (from the end if negative), or the beginning of an element's id.
fn step(value: &Value, part: &str, place: &[String]) -> Result<Step, Unmatched> {
    let items = match value {
        Value::Object(_) => return Ok(Step::Field(part.to_owned())),
        Value::Array(items) => items,
        _ => return Err(unmatched(place, part)),
    };
    let by_id = |item: &Value| item["id"].as_str().is_some_and(|id| id.starts_with(part));
    if part.len() >= ID_PREFIX_MIN
        && let Some(index) = items.iter().position(by_id)
    {
        return Ok(Step::Index(index));
    }
    let index = part.parse::<isize>().map_err(|_| unmatched(place, part))?;
    let index = if index < 0 { items.len().checked_add_signed(index) } else { usize::try_from(index).ok() };
    index.filter(|index| *index < items.len()).map(Step::Index).ok_or_else(|| unmatched(place, part))
}

fn unmatched(place: &[String], part: &str) -> Unmatched {
    let mut parts: Vec<&str> = place.iter().map(String::as_str).collect();
    parts.push(part);
    Unmatched(format!("Unmatched key {}", parts.join("__")))
}

/// Leaves of an answer what the patterns of `include` ask for; the first pattern that matches decides.
pub(super) fn include(value: &mut Value, patterns: &[&str]) {
    let patterns: Vec<_> = patterns
        .iter()
        .map(|pattern| {
            (pattern.starts_with('+'), pattern.trim_start_matches(['+', '-']).split("__").collect::<Vec<_>>())
        })
        .collect();
    keep(value, &patterns.iter().map(|(keep, parts)| (*keep, parts.as_slice())).collect::<Vec<_>>());
}

fn keep(value: &mut Value, patterns: &[(bool, &[&str])]) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| keeps(value, |part| part == name, patterns)),
        Value::Array(items) => {
            let mut index = 0;
            items.retain_mut(|item| {
                let (id, number) = (item["id"].as_str().unwrap_or_default().to_owned(), index.to_string());
                index += 1;
                let names = |part: &str| part == number || (part.len() >= ID_PREFIX_MIN && id.starts_with(part));
                keeps(item, names, patterns)
            });
        }
        _ => {}
    }
}

/// Whether an element stays; what is below it is dealt with too.
fn keeps(value: &mut Value, is_named: impl Fn(&str) -> bool, patterns: &[(bool, &[&str])]) -> bool {
    let mut below = Vec::new();
    for (keep, parts) in patterns {
        let [first, rest @ ..] = parts else { continue };
        if *first != "*" && !is_named(first) {
            continue;
        }
        match (rest.is_empty(), *keep) {
            (false, _) => below.push((*keep, rest)),
            (true, true) => break,
            (true, false) if below.iter().any(|(keep, _)| *keep) => {
                below.push((false, &["*"]));
                break;
            }
            (true, false) => return false,
        }
    }
    if !below.is_empty() {
        keep(value, &below);
    }
    true
}
