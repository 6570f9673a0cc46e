//! Lays settings from several places over each other, by the `config` crate, without forgetting where each came from.

use std::collections::BTreeMap;
use std::fmt;

use config::{Map, Value, ValueKind};

use super::keys::{self, Preset};
use super::origin::{Origin, Target};
use crate::diagnostic::{Finding, Findings};

/// A setting, and where it came from.
#[derive(Clone)]
pub struct Setting {
    /// Whose it is.
    pub target: Target,
    /// Its name, in lower case.
    pub key: String,
    /// Its value.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

/// What to do about a setting that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Report it.
    Error,
    /// The place is shared with others: it will be theirs.
    Ignore,
}

/// All settings from one place.
#[derive(Clone, Default)]
pub struct Layer(Vec<Setting>);

/// Shows how many settings there are; their values may be secret.
impl fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Layer({} settings)", self.0.len())
    }
}

impl Layer {
    /// Adds a setting under the name that the table of keys gives it, or reports it.
    pub fn add(&mut self, mut setting: Setting, unknown: Unknown, findings: &mut Findings) {
        if setting.target == Target::Host {
            let Some(key) = keys::host(&setting.key) else {
                if unknown == Unknown::Error {
                    findings.push(unknown_key(&setting));
                }
                return;
            };
            findings.extend(old_key(key, &setting));
            key.name.clone_into(&mut setting.key);
        }
        let same = |other: &&Setting| other.target == setting.target && other.key == setting.key;
        match self.0.iter().find(same) {
            Some(first) => findings.push(said_twice(first, &setting)),
            None => self.0.push(setting),
        }
    }

    /// The host's setting of this name, if it stands here.
    pub fn host(&self, key: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.target == Target::Host && setting.key == key)
    }

    fn defaults() -> Self {
        let preset = |key: &keys::Key| match key.preset {
            Preset::Fixed(text) => Some((key.name, text)),
            _ => None,
        };
        let setting = |(key, text): (&str, &str)| Setting {
            target: Target::Host,
            key: key.to_owned(),
            text: text.to_owned(),
            origin: Origin::new(0, "the default", key, text),
        };
        Self(keys::HOST.iter().filter_map(preset).map(setting).collect())
    }
}

fn unknown_key(setting: &Setting) -> Finding {
    let key = &setting.origin.written;
    let finding = Finding::error("config::unknown-key", format!("unknown key `{key}` in section [worker]")).about(key);
    let finding = setting.origin.at_key(finding, "not a key this worker knows");
    match keys::nearest(&setting.key) {
        Some(name) => finding.help(format!("a similar key exists: `{name}`")),
        None => {
            finding.help("worker.cfg.example lists all keys; settings of a worker stand in its section [worker:NAME]")
        }
    }
}

fn old_key(key: &keys::Key, setting: &Setting) -> Option<Finding> {
    let written = &setting.origin.written;
    let finding = match key.preset {
        Preset::Old(why) if keys::host(why).is_none() => {
            Finding::note("config::ignored-key", format!("`{written}` is ignored: {why}"))
        }
        Preset::Old(preferred) => {
            Finding::note("config::old-key", format!("`{written}` still works; the preferred key is `{preferred}`"))
        }
        _ if setting.key != key.name && setting.key != keys::QUEUE_URL => {
            Finding::note("config::old-key", format!("`{written}` still works; the preferred key is `{}`", key.name))
        }
        _ => return None,
    };
    Some(setting.origin.at_key(finding.about(written), ""))
}

fn said_twice(first: &Setting, again: &Setting) -> Finding {
    let (one, other) = (&first.origin, &again.origin);
    let message = if one.written == other.written {
        format!("`{}` is set twice, by {} and by {}", one.written, one.words, other.words)
    } else {
        let (one_is, other_is) = (&one.words, &other.words);
        format!("`{}` ({one_is}) and `{}` ({other_is}) are the same setting", one.written, other.written)
    };
    other.at_key(Finding::error("config::duplicate-key", message).about(&other.written), "second time").help("keep one")
}

/// How an origin is named within the `config` crate, which keeps one text beside each value.
fn label(rank: usize, index: usize) -> String {
    format!("{rank}:{index}")
}

/// The `config` crate takes it from here. The names of settings have dots in them, so each stands as one name in the
/// table of its section instead of as a path.
impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let (mut host, mut workers) = (Map::new(), Map::<String, Map<String, Value>>::new());
        for (index, setting) in self.0.iter().enumerate() {
            let value = Value::new(Some(&label(setting.origin.rank, index)), setting.text.as_str());
            match &setting.target {
                Target::Host => host.insert(setting.key.clone(), value),
                Target::Worker(name) => workers.entry(name.clone()).or_default().insert(setting.key.clone(), value),
            };
        }
        let table = |map: Map<String, Value>| Value::new(None, ValueKind::Table(map));
        let workers = workers.into_iter().map(|(name, settings)| (name, table(settings))).collect();
        Ok([("host".to_owned(), table(host)), ("workers".to_owned(), table(workers))].into_iter().collect())
    }
}

/// The value that won, and where it came from.
#[derive(Clone)]
pub struct Won {
    /// The value.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Shows where it came from, but not the value, which may be secret.
impl fmt::Debug for Won {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} from {}", self.origin.shown, self.origin.words)
    }
}

/// What all layers together say.
#[derive(Debug, Default)]
pub struct Merged {
    /// The host's settings, by name.
    pub host: BTreeMap<String, Won>,
    /// Each worker's settings, by name.
    pub workers: BTreeMap<String, BTreeMap<String, Won>>,
}

/// Lays `layers`, the weakest first, over the defaults.
///
/// # Errors
/// What the `config` crate says, if it cannot.
pub fn merge(layers: &[Layer]) -> Result<Merged, config::ConfigError> {
    let mut origins = BTreeMap::new();
    let mut builder = config::Config::builder();
    for layer in std::iter::once(&Layer::defaults()).chain(layers) {
        for (index, setting) in layer.0.iter().enumerate() {
            origins.insert(label(setting.origin.rank, index), setting.origin.clone());
        }
        builder = builder.add_source(layer.clone());
    }
    let mut tables = config::Source::collect(&builder.build()?)?;
    let mut table = |name: &str| tables.remove(name).map(Value::into_table).transpose().map(Option::unwrap_or_default);
    let settings = |table: Map<String, Value>| -> Result<BTreeMap<String, Won>, config::ConfigError> {
        let won = |(key, value): (String, Value)| {
            let origin = value.origin().and_then(|label| origins.get(label)).cloned().unwrap_or_default();
            Ok((key, Won { text: value.into_string()?, origin }))
        };
        table.into_iter().map(won).collect()
    };
    let host = settings(table("host")?)?;
    let workers = table("workers")?;
    let workers = workers.into_iter().map(|(name, worker)| Ok((name, settings(worker.into_table()?)?)));
    Ok(Merged { host, workers: workers.collect::<Result<_, config::ConfigError>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(rank: usize, key: &str, text: &str) -> Layer {
        let (target, key) = Target::split(key);
        let origin = Origin::new(rank, format!("layer {rank}"), key, text);
        let mut layer = Layer::default();
        let mut findings = Findings::default();
        let setting = Setting { target, key: key.to_owned(), text: text.to_owned(), origin };
        layer.add(setting, Unknown::Error, &mut findings);
        assert!(!findings.has_errors(), "{findings}");
        layer
    }

    #[test]
    fn the_stronger_layer_wins_under_any_spelling_and_is_remembered() {
        let layers = [layer(1, "queue", "a"), layer(2, "queue.name", "b"), layer(3, "worker:archive.a.b", "c")];
        let merged = merge(&layers).unwrap();
        assert_eq!(format!("{:?}", merged.host["queue.name"]), r#""b" from layer 2"#);
        assert_eq!(format!("{:?}", merged.workers["archive"]["a.b"]), r#""c" from layer 3"#);
        assert_eq!(format!("{:?}", merged.host["deadline"]), r#""15m" from the default"#);
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let merged = merge(&[layer(1, "ckan.api_key", "hunter2")]).unwrap();
        assert!(!format!("{merged:?}").contains("hunter2"));
    }
}
