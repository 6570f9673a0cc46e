//! What there is to read settings from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::Files;
use super::keys;
use super::layer::{Layer, Setting, Unknown};
use super::origin::{Origin, Target};
use super::value::Kind;
use super::{environment, ini};
use crate::diagnostic::{Finding, Findings, Place};

/// What there is to read settings from. The default is nothing but what stands in the working directory.
#[derive(Clone, Default)]
pub struct Request {
    /// The file named by `-c`; `None` for `worker.cfg`, if there is one.
    pub file: Option<PathBuf>,
    /// The section with the host's settings; `None` for `worker`.
    pub section: Option<String>,
    /// Settings given by flags.
    pub flags: Vec<Flag>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Where `worker.cfg` is looked for if no file is named; empty for the working directory.
    pub directory: PathBuf,
}

/// A setting given by a flag.
#[derive(Clone)]
pub struct Flag {
    /// The flag, as in `--queue`.
    pub flag: String,
    /// The setting; `worker:NAME.KEY` for one of a worker.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// All settings there are, in layers.
pub(super) struct Gathered {
    /// The layers, the weakest first.
    pub layers: Vec<Layer>,
    /// The files that were read, the weakest first.
    pub files: Vec<PathBuf>,
    /// Where the section of each worker begins.
    pub headers: BTreeMap<String, Place>,
}

impl Request {
    /// Takes the environment of this process.
    pub fn from_environment() -> Self {
        // A variable that is no text cannot be one of ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { environment: std::env::vars_os().filter_map(text).collect(), ..Self::default() }
    }

    pub(super) fn gather(&self, findings: &mut Findings) -> Gathered {
        let section = self.section.as_deref().unwrap_or("worker");
        let mut files = Files {
            section,
            environment: &self.environment,
            layers: Vec::new(),
            read: Vec::new(),
            headers: BTreeMap::new(),
            findings: std::mem::take(findings),
        };
        if section == ini::DEFAULT || section.starts_with("worker:") {
            files.findings.push(wrong_section(section));
        }
        if let Some(home) = self.environment.get("HOME").filter(|home| !home.is_empty()) {
            let path = Path::new(home).join(".ckanworker.cfg");
            if path.is_file() {
                files.add(&path, false);
            }
        }
        let default = self.directory.join("worker.cfg");
        match &self.file {
            Some(path) => files.add(path, true),
            None if default.is_file() => files.add(&default, true),
            None => {}
        }
        *findings = files.findings;
        let mut layers = files.layers;
        layers.push(environment::layer(&self.environment, layers.len() + 1, findings));
        let flags = self.flag_layer(layers.len() + 1, findings);
        self.note_replaced(&layers, findings);
        layers.push(flags);
        Gathered { layers, files: files.read, headers: files.headers }
    }

    fn flag_layer(&self, rank: usize, findings: &mut Findings) -> Layer {
        let mut layer = Layer::default();
        for flag in &self.flags {
            let (target, key) = Target::split(&flag.key);
            let key = key.to_lowercase();
            if keys::host(&key).is_some_and(|key| key.kind == Kind::Secret) {
                findings.push(visible(&flag.flag));
            }
            let words = format!("the flag {}", flag.flag);
            let origin = Origin::new(rank, words, &key, &flag.value);
            layer.add(Setting { target, key, text: flag.value.clone(), origin }, Unknown::Error, findings);
        }
        layer
    }

    // The first program read these flags but did not heed them, so files may say something else.
    fn note_replaced(&self, layers: &[Layer], findings: &mut Findings) {
        for flag in self.flags.iter().filter(|flag| ["--queue", "--routing-key", "--amqp-url"].contains(&&*flag.flag)) {
            let in_files = layers.iter().rev().filter_map(|layer| layer.host(&flag.key));
            for setting in in_files.filter(|setting| setting.text != flag.value).take(1) {
                let message = format!("`{}` is replaced by the flag {}", setting.origin.written, flag.flag);
                let finding = Finding::note("config::replaced", message).about(&flag.key);
                findings.push(setting.origin.at_key(finding, "has no effect"));
            }
        }
    }
}

fn wrong_section(section: &str) -> Finding {
    Finding::error("config::no-section", format!("section [{section}] cannot hold the host's settings"))
        .help("leave out -s to read [worker], or name a section such as app:main")
}

fn visible(flag: &str) -> Finding {
    Finding::warning("config::visible-secret", format!("what follows {flag} is visible to other users, as in `ps`"))
        .help("keep the token in a file and name it with --api-key-file")
}
