//! What is set for one worker, in its section `[worker:NAME]`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ckan_worker_plugin::SettingProblems;
use serde_json::{Map, Value};

use super::keys;
use super::layer::Won;
use super::origin::Origin;
use super::read::parsed;
use super::value::{self, Kind};
use crate::diagnostic::{Finding, Findings, Place};

/// What is set for one worker.
#[derive(Clone, Default)]
pub struct WorkerSection {
    /// The plugin's file, if it is in none of the plugin directories.
    pub path: Option<PathBuf>,
    /// Whether nothing may start when this worker cannot.
    pub required: bool,
    /// How long it may take for one notification, if not as long as the others.
    pub deadline: Option<Duration>,
    /// How often it tries, if not as often as the others.
    pub attempts: Option<u32>,
    /// How long notifications about one dataset are gathered, if not as long as the plugin says.
    pub coalesce: Option<Duration>,
    /// The plugin's own settings: an object of texts.
    pub settings: Map<String, Value>,
    /// Where each of the plugin's own settings came from.
    pub origins: BTreeMap<String, Origin>,
    /// Where the section begins, if it stands in a file.
    pub header: Option<Place>,
}

/// Shows all but what may be secret.
impl fmt::Debug for WorkerSection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(key, origin): (&String, &Origin)| (key.clone(), origin.shown.clone());
        let settings: BTreeMap<_, _> = self.origins.iter().map(shown).collect();
        formatter
            .debug_struct("WorkerSection")
            .field("path", &self.path)
            .field("required", &self.required)
            .field("deadline", &self.deadline)
            .field("attempts", &self.attempts)
            .field("coalesce", &self.coalesce)
            .field("settings", &settings)
            .finish_non_exhaustive()
    }
}

impl WorkerSection {
    /// Says of each problem that the plugin of this `worker` found with its settings where that setting stands.
    pub fn explain(&self, worker: &str, problems: &SettingProblems) -> Findings {
        let mut findings = Findings::default();
        for problem in &problems.settings {
            let key = problem.key.as_str();
            // The plugin does not know what may be shown.
            let mut message = problem.message.clone();
            let origin = self.origins.get(key);
            if let (Some(text), Some(Origin { shown, .. })) = (self.settings.get(key).and_then(Value::as_str), origin) {
                let quoted = Value::from(text).to_string();
                message = message.replace(quoted.trim_matches('"'), shown).replace(text, shown);
            }
            let message = if key.is_empty() { message } else { format!("`{key}`: {message}") };
            let mut finding = Finding::error("config::worker-setting", format!("worker {worker}: {message}"));
            if !key.is_empty() {
                finding = finding.about(key);
            }
            finding = match (origin, &self.header) {
                (Some(origin), _) => origin.at_key(finding, "the worker does not accept this"),
                (None, Some(header)) => finding.at(header.clone(), "in this section"),
                (None, None) => finding,
            };
            findings.push(match &problem.help {
                Some(help) => finding.help(help),
                None if key.is_empty() || self.origins.contains_key(key) => finding,
                None => finding.help(format!("add `{key} = …` to section [worker:{worker}]")),
            });
        }
        findings
    }
}

/// Reads what is set for `worker`.
pub fn section(worker: &str, won: &BTreeMap<String, Won>, findings: &mut Findings) -> WorkerSection {
    let mut section = WorkerSection::default();
    for (key, won) in won {
        let Some(known) = keys::worker(key) else {
            section.settings.insert(key.clone(), Value::String(won.text.clone()));
            section.origins.insert(key.clone(), won.origin.clone());
            continue;
        };
        let name = format!("worker:{worker}.{key}");
        if won.text.trim().is_empty() {
            continue;
        }
        match known.kind {
            Kind::Duration { min, max } => {
                let read = parsed(&name, won, |text| value::duration(text, min, max), findings);
                match known.name {
                    "coalesce" => section.coalesce = read,
                    _ => section.deadline = read,
                }
            }
            Kind::Count { min, max } => {
                let read = parsed(&name, won, |text| value::count(text, min, max), findings);
                section.attempts = read.and_then(|attempts| u32::try_from(attempts).ok());
            }
            Kind::Flag => section.required = parsed(&name, won, value::flag, findings).unwrap_or_default(),
            _ => section.path = Some(PathBuf::from(won.text.trim())),
        }
    }
    section
}
