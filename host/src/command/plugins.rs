//! `worker plugins list` and `worker plugins inspect FILE`: what is installed and what a file says, without running it.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::catalog::{Catalog, Entry, Facts, Manifest, PrivateCopies, Refusal, State, load};
use crate::exit::Exit;

/// The version of the JSON documents; fields are only ever added to it.
const SCHEMA: &str = "ckan-worker/1";

/// Prints every plugin file found as a table, with the reasons why some are not usable below it.
///
/// # Errors
/// Those of writing.
pub fn list_text(catalog: &Catalog, out: &mut dyn Write) -> io::Result<()> {
    if catalog.entries().is_empty() {
        writeln!(out, "No plugin files found.")?;
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["NAME", "VERSION", "STATE", "FILE"]);
        for entry in catalog.entries() {
            let version = entry.manifest().map_or("-", |manifest| &manifest.version);
            table.add_row([entry.name(), version, entry.state().as_str(), &entry.path().display().to_string()]);
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim())?;
        }
    }
    for reason in reasons(catalog) {
        writeln!(out, "\n{reason}")?;
    }
    Ok(())
}

/// Prints every plugin file found as one JSON document.
///
/// # Errors
/// Those of writing.
pub fn list_json(catalog: &Catalog, out: &mut dyn Write) -> io::Result<()> {
    let document = List {
        schema: SCHEMA,
        plugins: catalog.entries().iter().map(File::of).collect(),
        problems: catalog.problems().iter().map(Reason::of).collect(),
    };
    print_json(&document, out)
}

/// Prints all that a file says as text. The exit status says whether it is usable.
///
/// # Errors
/// Those of writing.
pub fn inspect_text(entry: &Entry, out: &mut dyn Write) -> io::Result<Exit> {
    let mut lines = vec![("name", entry.name().to_owned()), ("state", entry.state().as_str().to_owned())];
    if let Some(refusal) = entry.refusal() {
        lines.push(("reason", refusal.to_string()));
    }
    lines.push(("file", entry.path().display().to_string()));
    lines.extend(entry.manifest().into_iter().flat_map(manifest_lines));
    lines.extend(entry.facts().into_iter().flat_map(fact_lines));
    for (key, value) in lines {
        writeln!(out, "{key:<13} {value}")?;
    }
    Ok(exit_of(entry))
}

/// Prints all that a file says as one JSON document. The exit status says whether it is usable.
///
/// # Errors
/// Those of writing.
pub fn inspect_json(entry: &Entry, out: &mut dyn Write) -> io::Result<Exit> {
    print_json(&Inspection { schema: SCHEMA, plugin: File::of(entry) }, out)?;
    Ok(exit_of(entry))
}

/// Opens the file of `entry`, which runs its constructors, and prints whether its types are this worker's; if not, the
/// whole comparison. The exit status says whether they are.
///
/// # Errors
/// Those of writing.
pub fn inspect_abi(entry: &Entry, out: &mut dyn Write) -> io::Result<Exit> {
    let Err(refusal) = PrivateCopies::new().and_then(|copies| load(entry, &copies)) else {
        writeln!(out, "{}: its types are those of this worker", entry.path().display())?;
        return Ok(Exit::Done);
    };
    writeln!(out, "{refusal}")?;
    if let Refusal::OtherLayout { report, .. } = refusal {
        writeln!(out, "\n{report}")?;
    }
    Ok(Exit::Failed)
}

fn exit_of(entry: &Entry) -> Exit {
    if entry.state() == State::Usable { Exit::Done } else { Exit::Failed }
}

/// Each reason once: two files with one name have the same.
fn reasons(catalog: &Catalog) -> Vec<String> {
    let mut reasons = Vec::new();
    for refusal in catalog.problems().iter().chain(catalog.entries().iter().filter_map(Entry::refusal)) {
        let text = refusal.to_string();
        if !reasons.contains(&text) {
            reasons.push(text);
        }
    }
    reasons
}

fn manifest_lines(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let all_or = |words: &[String]| if words.is_empty() { "all".to_owned() } else { words.join(", ") };
    let mut lines = vec![
        ("version", manifest.version.clone()),
        ("description", manifest.description.clone()),
        ("licence", manifest.license.clone()),
        ("homepage", manifest.homepage.clone()),
        ("routing keys", all_or(&manifest.routing_keys)),
        ("operations", all_or(&manifest.operations)),
        ("writes", manifest.writes.join(", ")),
        ("calls", if manifest.serial { "one at a time" } else { "several at once" }.to_owned()),
        ("plugin ABI", manifest.abi.clone()),
        ("SDK", manifest.sdk.clone()),
        ("rustc", manifest.rustc.clone()),
        ("target", manifest.target.clone()),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    lines
}

fn fact_lines(facts: &Facts) -> Vec<(&'static str, String)> {
    let mut lines = vec![("format", format!("{} for {}", facts.format, facts.machine))];
    lines.extend(facts.glibc.map(|glibc| ("glibc", format!("{glibc} or later"))));
    if !facts.needed.is_empty() {
        lines.push(("needs", facts.needed.join(", ")));
    }
    lines
}

fn print_json(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}

#[derive(Serialize)]
struct List<'a> {
    schema: &'static str,
    plugins: Vec<File<'a>>,
    problems: Vec<Reason>,
}

#[derive(Serialize)]
struct Inspection<'a> {
    schema: &'static str,
    plugin: File<'a>,
}

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    path: String,
    state: State,
    reason: Option<Reason>,
    manifest: Option<&'a Manifest>,
    format: Option<&'static str>,
    machine: Option<&'a str>,
    glibc: Option<String>,
    needed: Option<&'a [String]>,
}

impl<'a> File<'a> {
    fn of(entry: &'a Entry) -> Self {
        let facts = entry.facts();
        Self {
            name: entry.name(),
            path: entry.path().display().to_string(),
            state: entry.state(),
            reason: entry.refusal().map(Reason::of),
            manifest: entry.manifest(),
            format: facts.map(|facts| facts.format),
            machine: facts.map(|facts| facts.machine.as_str()),
            glibc: facts.and_then(|facts| facts.glibc).map(|glibc| glibc.to_string()),
            needed: facts.map(|facts| facts.needed.as_slice()),
        }
    }
}

#[derive(Serialize)]
struct Reason {
    code: &'static str,
    message: String,
}

impl Reason {
    fn of(refusal: &Refusal) -> Self {
        Self { code: refusal.code(), message: refusal.to_string() }
    }
}
