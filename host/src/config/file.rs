//! Takes the settings for the host and its workers from one file, and from those that it says it uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ini::{self, Document, Entry, Section};
use super::interpolate::interpolate;
use super::keys;
use super::layer::{Layer, Setting, Unknown};
use super::mask;
use super::origin::{Origin, Target};
use super::scope::{Scope, defaults};
use crate::diagnostic::{Finding, Findings, Place};

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How many files may use each other in a row.
const FILES_MAX: usize = 10;

/// Reads files into layers, the weakest first, and collects what is wrong with them.
pub struct Files<'a> {
    /// The section with the host's settings.
    pub section: &'a str,
    /// What `%(CKAN_…)s` is looked up in.
    pub environment: &'a BTreeMap<String, String>,
    /// Where the layers go.
    pub layers: Vec<Layer>,
    /// The files that were read.
    pub read: Vec<PathBuf>,
    /// Where the section of each worker begins.
    pub headers: BTreeMap<String, Place>,
    /// What is wrong with the files.
    pub findings: Findings,
}

impl<'a> Files<'a> {
    /// Reads `path` over what was read before. `required` says whether it must have the section.
    pub fn add(&mut self, path: &Path, required: bool) {
        let mut chain: Vec<(PathBuf, Document)> = Vec::new();
        let mut next = Some((path.to_owned(), None));
        while let Some((path, user)) = next.take() {
            if chain.len() == FILES_MAX || chain.iter().any(|(seen, _)| same_file(seen, &path)) {
                self.findings.extend(user.map(circle));
                break;
            }
            let Some(text) = self.text(&path, user) else { break };
            let (document, findings) = ini::parse(&path.display().to_string(), &text);
            self.findings.extend(findings);
            next = self.used_file(&path, &document);
            chain.push((path, document));
        }
        if let Some((path, document)) = chain.first() {
            self.check_sections(path, document, required && chain.len() == 1);
        }
        // What a file uses is weaker than the file.
        for (path, document) in chain.into_iter().rev() {
            self.add_document(&path, &document);
            self.read.push(path);
        }
    }

    fn text(&mut self, path: &Path, user: Option<Place>) -> Option<String> {
        let too_long = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > FILE_BYTES_MAX);
        let read = if too_long {
            Err(std::io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")))
        } else {
            std::fs::read(path)
        };
        self.findings.push(match read.map(String::from_utf8) {
            Ok(Ok(text)) => return Some(text),
            Ok(Err(error)) => not_utf8(path, error.as_bytes(), error.utf8_error().valid_up_to()),
            Err(error) => unreadable(path, &error, user),
        });
        None
    }

    /// The file that `use = config:FILE` names, and where it says so.
    fn used_file(&mut self, path: &Path, document: &Document) -> Option<(PathBuf, Option<Place>)> {
        let entry = document.section(self.section)?.entry("use")?;
        let file = entry.value.lines().next()?.strip_prefix("config:")?.split('#').next()?;
        let scope = self.scope(path, document, document.section(self.section));
        let file = match interpolate(file, &|name| scope.lookup(name)) {
            Ok(file) => file,
            Err(problem) => {
                self.findings.push(reference(entry, &problem));
                return None;
            }
        };
        let beside = path.parent().unwrap_or(Path::new(""));
        Some((beside.join(file.trim()), Some(entry.value_place.clone())))
    }

    fn check_sections(&mut self, path: &Path, document: &Document, required: bool) {
        for section in &document.sections {
            let name = section.name.split([':', ' ']).next().unwrap_or_default();
            let meant = match section.name.strip_prefix("worker:") {
                Some(worker) if worker.trim().is_empty() => "[worker:NAME]",
                None if section.name != self.section && is_nearly_worker(&section.name, name) => {
                    "[worker] or [worker:NAME]"
                }
                _ => continue,
            };
            self.findings.push(
                Finding::error("config::unknown-section", format!("unknown section [{}]", section.name))
                    .at(section.place.clone(), "not a section this worker knows")
                    .help(format!("a similar section exists: {meant}")),
            );
        }
        if let Some(section) = document.sections.iter().find(|section| section.name == "loggers") {
            let finding = Finding::note("config::ignored-section", "the settings for logging are ignored");
            let finding = finding.at(section.place.clone(), "of Python's logging");
            self.findings.push(finding.help("the log goes to standard error; see --log-format and --verbose"));
        }
        if required && document.section(self.section).is_none() {
            let names: Vec<_> = document.sections.iter().map(|section| format!("[{}]", section.name)).collect();
            let found =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            let message = format!("{} has no section [{}]", path.display(), self.section);
            self.findings.push(
                Finding::error("config::no-section", message)
                    .help(format!("{found}; choose one with -s NAME, or add the section")),
            );
        }
    }

    fn add_document(&mut self, path: &Path, document: &Document) {
        let mut layer = Layer::default();
        if let Some(section) = document.section(self.section) {
            let scope = self.scope(path, document, Some(section));
            // In a section of somebody else's, such as [app:main] of a ckan.ini, most settings are theirs.
            let unknown = if self.section == "worker" { Unknown::Error } else { Unknown::Ignore };
            for entry in section.entries.iter().filter(|entry| entry.key != "use") {
                self.add_entry(&mut layer, &scope, entry, Target::Host, unknown);
            }
            for entry in defaults(document).filter(|entry| section.entry(&entry.key).is_none()) {
                self.add_entry(&mut layer, &scope, entry, Target::Host, Unknown::Ignore);
            }
        }
        for section in &document.sections {
            let Some(name) = worker_name(section) else { continue };
            self.headers.insert(name.to_owned(), section.place.clone());
            let scope = self.scope(path, document, Some(section));
            for entry in &section.entries {
                self.add_entry(&mut layer, &scope, entry, Target::Worker(name.to_owned()), Unknown::Error);
            }
        }
        self.layers.push(layer);
    }

    fn add_entry(&mut self, layer: &mut Layer, scope: &Scope<'_>, entry: &Entry, target: Target, unknown: Unknown) {
        // A foreign value is left alone: what `%` means in it is not ours to say.
        if unknown == Unknown::Ignore && keys::host(&entry.key).is_none() {
            return;
        }
        if entry.key.starts_with('[') {
            let finding = Finding::error("config::syntax", "a section header without its `]`");
            self.findings.push(finding.at(entry.key_place.clone(), "the `]` is missing"));
            return;
        }
        self.findings.extend(swallowed(entry));
        let text = match interpolate(&entry.value, &|name| scope.lookup(name)) {
            Ok(text) => text,
            Err(problem) => {
                self.findings.push(reference(entry, &problem));
                return;
            }
        };
        let origin = Origin {
            rank: self.layers.len() + 1,
            words: format!("{}:{}", entry.key_place.file, entry.key_place.line),
            written: entry.key.clone(),
            shown: mask::value(&entry.key, &entry.value),
            key_place: Some(entry.key_place.clone()),
            value_place: Some(entry.value_place.clone()),
        };
        layer.add(Setting { target, key: entry.key.clone(), text, origin }, unknown, &mut self.findings);
    }

    fn scope<'b>(&self, path: &'b Path, document: &'b Document, section: Option<&'b Section>) -> Scope<'b>
    where
        'a: 'b,
    {
        Scope { path, document, section, environment: self.environment }
    }
}

fn worker_name(section: &Section) -> Option<&str> {
    section.name.strip_prefix("worker:").filter(|name| !name.trim().is_empty())
}

fn is_nearly_worker(section: &str, name: &str) -> bool {
    section != "worker" && (name == "worker" || ckan_worker_plugin::nearest(name, ["worker"]).is_some())
}

/// Warns of a setting that was meant to stand on its own but is indented, and so belongs to the one above.
fn swallowed(entry: &Entry) -> Option<Finding> {
    let names = entry.value.lines().skip(1).filter_map(|line| line.split(['=', ':']).next());
    let name = names.map(str::trim).find(|name| keys::host(&name.to_lowercase()).is_some())?;
    let message = format!("the indented line `{name} …` belongs to the value of `{}`", entry.key);
    let finding = Finding::warning("config::indented", message).about(&entry.key);
    Some(finding.at(entry.key_place.clone(), "continued there").help("begin the line without white space"))
}

fn same_file(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn unreadable(path: &Path, error: &std::io::Error, user: Option<Place>) -> Finding {
    let finding = Finding::error("config::unreadable", format!("cannot read {}: {error}", path.display()));
    match user {
        Some(place) => finding.at(place, "used here").help("the path is relative to the file that uses it"),
        None => finding.help("name another file with -c FILE, or make this one readable"),
    }
}

fn circle(place: Place) -> Finding {
    Finding::error("config::circular-use", "the files use each other in a circle, or too many in a row")
        .about("use")
        .at(place, "leads back to a file that was read before")
        .help("remove this line")
}

fn reference(entry: &Entry, problem: &str) -> Finding {
    Finding::error("config::interpolation", format!("`{}`: {problem}", entry.key))
        .about(&entry.key)
        .at(entry.value_place.clone(), "in this value")
        .help("write `%%` for a percent sign; `%(here)s` is the directory of this file")
}

fn not_utf8(path: &Path, bytes: &[u8], at: usize) -> Finding {
    let before = &bytes[..at];
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |newline| at + newline);
    let line = String::from_utf8_lossy(&bytes[start..end]);
    // A line that is no setting may be the rest of a secret.
    let source = if line.contains(['=', ':']) { mask::line(&line) } else { mask::MASK.to_owned() };
    let place = Place {
        file: path.display().to_string(),
        line: before.split(|byte| *byte == b'\n').count(),
        column: String::from_utf8_lossy(&bytes[start..at]).chars().count() + 1,
        width: 1,
        source,
    };
    Finding::error("config::not-utf8", "the file is not UTF-8 text")
        .at(place, "this byte is not UTF-8")
        .help("save the file in the encoding UTF-8")
}
