//! Makes one `package_revise` of everything that is to be changed of a dataset: a plain decision.

use std::collections::BTreeSet;

use ckan_worker_plugin::Delta;
use serde_json::{Map, Value, json};

use super::equal::{fit, has, put};
use super::{LOST_RACE, NOT_FOUND};
use crate::services::Failure;

/// The shortest beginning of an id that `package_revise` takes as a name.
const NAME_BYTES_MIN: usize = 5;

/// What is to be written of one dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// The dataset's id.
    pub package: String,
    /// The parameters of `package_revise`.
    pub parameters: Map<String, Value>,
    /// The dataset as it should look afterwards.
    pub after: Value,
    /// What is written, as `notes` and `resources.*.hash`.
    pub paths: Vec<String>,
    /// Each field that is written.
    pub changes: Vec<Change>,
    /// Of how many resources, and the dataset itself, something is written.
    pub changed: usize,
    /// How many have it all already.
    pub unchanged: usize,
}

/// One field that is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The resource; `None` for the dataset itself.
    pub resource: Option<String>,
    /// Its field.
    pub field: String,
    /// What is there; null if nothing is.
    pub from: Value,
    /// What is to be there.
    pub to: Value,
}

/// Merges what is to be changed of a dataset, as `package_show` has it; `None` if it has it all. Later ones win.
///
/// # Errors
/// `ckan.lost-race` if something is not as expected, `ckan.not-found` for a resource that the dataset does not have,
/// `ckan.bad-request` for what cannot be changed this way.
pub fn revision(dataset: &Value, deltas: &[Delta]) -> Result<Option<Revision>, Failure> {
    let mut draft = Draft::of(dataset)?;
    for delta in deltas {
        draft.note(delta)?;
    }
    Ok(draft.revision())
}

/// Of how many things changes were noted.
pub(super) fn things(deltas: &[Delta]) -> usize {
    deltas.iter().map(|delta| &delta.resource).collect::<BTreeSet<_>>().len()
}

/// What was noted of one dataset so far.
struct Draft<'a> {
    dataset: &'a Value,
    id: &'a str,
    resources: &'a [Value],
    things: Vec<Thing>,
    /// What must still be so when it is written: the place and the field.
    guards: Vec<(Option<usize>, String)>,
}

/// A dataset or one of its resources, and what it is to have.
struct Thing {
    /// Which of the resources; `None` for the dataset itself.
    place: Option<usize>,
    fields: Map<String, Value>,
}

impl<'a> Draft<'a> {
    fn of(dataset: &'a Value) -> Result<Self, Failure> {
        let id = dataset["id"].as_str().ok_or_else(|| bad_request("the dataset that is to be revised has no id"))?;
        let resources = dataset["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Self { dataset, id, resources, things: Vec::new(), guards: Vec::new() })
    }

    fn note(&mut self, delta: &Delta) -> Result<(), Failure> {
        let place = delta.resource.as_deref().map(|resource| self.place_of(resource)).transpose()?;
        let there = self.at(place);
        let index = self.things.iter().position(|thing| thing.place == place).unwrap_or_else(|| {
            self.things.push(Thing { place, fields: Map::new() });
            self.things.len() - 1
        });
        let thing = &mut self.things[index];
        for (field, expected) in &delta.expect {
            let noted = thing.fields.get(field);
            if !has(noted.unwrap_or(&there[field]), expected) {
                let what = delta.resource.as_deref().unwrap_or(self.id);
                let message = format!("package_revise: `{field}` of {what} is no longer what it was; read it again");
                return Err(Failure::retryable(LOST_RACE, message));
            }
            // What was noted before is not CKAN's yet.
            if noted.is_none() {
                self.guards.push((place, field.clone()));
            }
        }
        for (field, wanted) in &delta.fields {
            match field.as_str() {
                "id" | "package_id" if has(&there[field], wanted) => {}
                "id" | "package_id" => return Err(bad_request(&format!("`{field}` cannot be changed"))),
                "resources" if place.is_none() => {
                    return Err(bad_request("resources are changed one by one, by their ids"));
                }
                _ => drop(thing.fields.insert(field.clone(), wanted.clone())),
            }
        }
        Ok(())
    }

    fn place_of(&self, resource: &str) -> Result<usize, Failure> {
        self.resources.iter().position(|one| one["id"] == resource).ok_or_else(|| {
            let message = format!("package_revise: the dataset {} has no resource {resource}", self.id);
            Failure::retryable(NOT_FOUND, message)
        })
    }

    fn at(&self, place: Option<usize>) -> &'a Value {
        place.map_or(self.dataset, |index| &self.resources[index])
    }

    fn revision(self) -> Option<Revision> {
        let mut revision = Revision {
            package: self.id.to_owned(),
            parameters: Map::new(),
            after: self.dataset.clone(),
            paths: Vec::new(),
            changes: Vec::new(),
            changed: 0,
            unchanged: 0,
        };
        let mut filter = Vec::new();
        let mut guards = Map::new();
        for thing in &self.things {
            self.write(thing, &mut revision, &mut filter, &mut guards);
        }
        if revision.changed == 0 {
            return None;
        }
        let mut matching = Map::from_iter([("id".to_owned(), json!(self.id))]);
        for (place, field) in &self.guards {
            self.guard(*place, field, &mut matching, &mut guards);
        }
        revision.parameters.insert("match".to_owned(), Value::Object(matching));
        revision.parameters.append(&mut guards);
        if !filter.is_empty() {
            revision.parameters.insert("filter".to_owned(), filter.into());
        }
        let paths: BTreeSet<String> = revision.changes.iter().map(Change::path).collect();
        revision.paths = paths.into_iter().collect();
        Some(revision)
    }

    /// Adds what differs of one thing.
    fn write(&self, thing: &Thing, revision: &mut Revision, filter: &mut Vec<String>, guards: &mut Map<String, Value>) {
        let there = self.at(thing.place);
        let differs = |(field, wanted): &(&String, &Value)| !has(&there[field.as_str()], wanted);
        let different: Vec<(&String, &Value)> = thing.fields.iter().filter(differs).collect();
        if different.is_empty() {
            revision.unchanged += 1;
            return;
        }
        revision.changed += 1;
        let name = thing.place.map(|index| self.name(index, guards));
        let mut fields = Map::new();
        for (field, wanted) in different {
            let (from, to) = (&there[field], fit(field, &there[field], wanted));
            // `package_revise` merges a list into a list, element by element; this one is to replace it.
            if from.is_array() || (from.is_object() && !to.is_object()) {
                filter.push(name.as_ref().map_or_else(|| format!("-{field}"), |name| format!("-{name}__{field}")));
            }
            let after = match thing.place {
                None => &mut revision.after,
                Some(index) => &mut revision.after["resources"][index],
            };
            put(&mut after[field], &to);
            let resource = thing.place.and_then(|index| self.resources[index]["id"].as_str()).map(str::to_owned);
            revision.changes.push(Change { resource, field: field.clone(), from: from.clone(), to: to.clone() });
            fields.insert(field.clone(), to);
        }
        let key = name.map_or_else(|| "update".to_owned(), |name| format!("update__{name}"));
        revision.parameters.insert(key, Value::Object(fields));
    }

    /// Has CKAN compare a field before it writes.
    fn guard(
        &self,
        place: Option<usize>,
        field: &str,
        matching: &mut Map<String, Value>,
        guards: &mut Map<String, Value>,
    ) {
        // CKAN cannot compare what is not there; then nothing at all must have changed.
        let there = self.at(place);
        let field = if there.get(field).is_some() { field } else { "metadata_modified" };
        match (place, there.get(field)) {
            (None, Some(value)) => drop(matching.insert(field.to_owned(), value.clone())),
            (Some(index), Some(value)) => {
                let name = self.name(index, guards);
                guards.insert(format!("match__{name}__{field}"), value.clone());
            }
            (_, None) => {}
        }
    }

    /// How `package_revise` is told which resource is meant: by its id, or by its place if its id is no name.
    fn name(&self, index: usize, guards: &mut Map<String, Value>) -> String {
        let id = self.resources[index]["id"].as_str().unwrap_or_default();
        let first = self.resources.iter().position(|one| one["id"].as_str().is_some_and(|one| one.starts_with(id)));
        if id.len() >= NAME_BYTES_MIN && !id.contains("__") && first == Some(index) {
            return format!("resources__{id}");
        }
        guards.insert(format!("match__resources__{index}__id"), id.into());
        format!("resources__{index}")
    }
}

impl Change {
    fn path(&self) -> String {
        match self.resource {
            None => self.field.clone(),
            Some(_) => format!("resources.*.{}", self.field),
        }
    }
}

fn bad_request(reason: &str) -> Failure {
    super::bad_request("package_revise", reason)
}

#[cfg(test)]
mod tests;
