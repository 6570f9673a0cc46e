use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use ckan_worker_plugin::{Error, Result, Value, json};
use serde_json::Map;

use crate::bench::lock;

/// A portal in memory: datasets, and answers that were arranged.
///
/// It knows `package_show`, `resource_show`, and of `package_revise` the parts `match`, `update`,
/// `update__resources__ID` and `include: ["-*"]`. It checks no schema and no permissions, and keeps no history.
#[derive(Default)]
pub struct Portal(Mutex<State>);

#[derive(Default)]
struct State {
    datasets: Vec<Value>,
    answers: HashMap<String, Value>,
    failures: HashMap<String, VecDeque<Error>>,
}

impl Portal {
    /// Puts a dataset, in the shape of `package_show`, into the portal; one with the same id is replaced.
    pub fn dataset(&self, dataset: Value) {
        let mut state = lock(&self.0);
        state.datasets.retain(|other| other["id"] != dataset["id"]);
        state.datasets.push(dataset);
    }

    /// A dataset as it is now; `None` if there is none with this id or name.
    pub fn show(&self, id: &str) -> Option<Value> {
        lock(&self.0).dataset(id).cloned()
    }

    /// The id of the dataset that a resource belongs to.
    pub(crate) fn dataset_of(&self, resource: &str) -> Option<String> {
        let state = lock(&self.0);
        let has_it = |dataset: &&Value| {
            dataset["resources"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == resource))
        };
        state.datasets.iter().find(has_it).and_then(|dataset| dataset["id"].as_str().map(str::to_owned))
    }

    /// Arranges what an action answers from now on, in place of what the portal knows.
    pub fn answer(&self, action: &str, result: Value) {
        lock(&self.0).answers.insert(action.to_owned(), result);
    }

    /// Arranges that the next call of an action fails; said several times, that many calls do, in that order.
    ///
    /// The code is the error's: `Error::permanent("no").with_code("ckan.not-authorized")`.
    pub fn fail(&self, action: &str, error: Error) {
        lock(&self.0).failures.entry(action.to_owned()).or_default().push_back(error);
    }

    pub(crate) fn call(&self, action: &str, parameters: &Value) -> Result<Value> {
        let mut state = lock(&self.0);
        if let Some(error) = state.failures.get_mut(action).and_then(VecDeque::pop_front) {
            return Err(error);
        }
        if let Some(answer) = state.answers.get(action) {
            return Ok(answer.clone());
        }
        match action {
            "package_show" => state.package_show(parameters),
            "resource_show" => state.resource_show(parameters),
            "package_revise" => state.package_revise(parameters),
            _ => Err(Error::permanent(format!("the bench does not know the action {action}: arrange an answer"))
                .with_code("ckan.bad-request")),
        }
    }
}

impl State {
    fn dataset(&self, id: &str) -> Option<&Value> {
        self.datasets.iter().find(|dataset| dataset["id"] == id || dataset["name"] == id)
    }

    fn package_show(&self, parameters: &Value) -> Result<Value> {
        let id = parameters["id"].as_str().unwrap_or_default();
        self.dataset(id).cloned().ok_or_else(not_found)
    }

    fn resource_show(&self, parameters: &Value) -> Result<Value> {
        let resources = self.datasets.iter().filter_map(|dataset| dataset["resources"].as_array()).flatten();
        resources.clone().find(|resource| resource["id"] == parameters["id"]).cloned().ok_or_else(not_found)
    }

    fn package_revise(&mut self, parameters: &Value) -> Result<Value> {
        let wanted = &parameters["match"];
        let (Some(parameters), Some(wanted)) = (parameters.as_object(), wanted.as_object()) else {
            return Err(invalid("match: Missing value"));
        };
        let place = self.datasets.iter().position(|dataset| dataset["id"] == wanted["id"]).ok_or_else(not_found)?;
        if wanted.iter().any(|(field, value)| self.datasets[place][field] != *value) {
            return Err(Error::retryable("match: another write came first").with_code("ckan.lost-race"));
        }
        // All or nothing, as CKAN does.
        let mut revised = self.datasets[place].clone();
        for (key, value) in parameters {
            revise(&mut revised, key, value)?;
        }
        self.datasets[place] = revised.clone();
        let short = parameters.get("include").is_some_and(|include| include[0] == "-*");
        Ok(if short { json!({}) } else { json!({ "package": revised }) })
    }
}

fn revise(dataset: &mut Value, key: &str, value: &Value) -> Result<()> {
    match key {
        "match" | "include" => Ok(()),
        "update" => set(dataset, value),
        _ => {
            let id = key.strip_prefix("update__resources__").filter(|id| id.len() >= 5);
            let id = id.ok_or_else(|| invalid(&format!("{key}: the bench knows update and update__resources__ID")))?;
            let resources = dataset["resources"].as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
            let resource = resources.iter_mut().find(|one| one["id"].as_str().is_some_and(|full| full.starts_with(id)));
            set(resource.ok_or_else(|| invalid(&format!("Unmatched key {key}")))?, value)
        }
    }
}

fn set(thing: &mut Value, fields: &Value) -> Result<()> {
    let (Some(thing), Some(fields)) = (thing.as_object_mut(), fields.as_object()) else {
        return Err(invalid("expected an object"));
    };
    let fields: Map<String, Value> = fields.clone();
    thing.extend(fields);
    Ok(())
}

fn not_found() -> Error {
    Error::permanent("Not found").with_code("ckan.not-found")
}

fn invalid(message: &str) -> Error {
    Error::permanent(message).with_code("ckan.validation")
}
