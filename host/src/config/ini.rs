//! Reads the INI dialect of Python's ConfigParser, as CKAN writes it, and remembers where everything stands.
//!
//! It reads as `ConfigParser(inline_comment_prefixes=(";",))` does: `#` and `;` begin a comment line, ` ;` after white
//! space a comment at the end of a line (the ConfigParser of the first worker.cfg files took it so), `=` or `:` ends a
//! key, an indented line continues the value before it, keys are lower-cased, duplicates are errors. Other than Python
//! it goes on after an error, so that all of them are found at once.

use super::mask;
use crate::diagnostic::{Finding, Findings, Place};

/// The section whose values stand in for those missing in others.
pub const DEFAULT: &str = "DEFAULT";

/// A file, read but not yet understood.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// The sections, `[DEFAULT]` among them, in the order of the file.
    pub sections: Vec<Section>,
}

impl Document {
    /// The section of this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// A section and its settings.
#[derive(Debug, Clone)]
pub struct Section {
    /// What stands between the brackets.
    pub name: String,
    /// Where the header stands.
    pub place: Place,
    /// The settings, in the order of the file.
    pub entries: Vec<Entry>,
}

impl Section {
    /// The setting of this name.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// One setting as it is written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key in lower case.
    pub key: String,
    /// The value, lines joined, `%` not yet interpreted.
    pub value: String,
    /// Where the key stands.
    pub key_place: Place,
    /// Where the value begins.
    pub value_place: Place,
}

/// Reads `text`, which stands in `file`. What cannot be read is reported and left out.
pub fn parse(file: &str, text: &str) -> (Document, Findings) {
    let mut parser = Parser { file, ..Parser::default() };
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').enumerate() {
        parser.line(index + 1, line.strip_suffix('\r').unwrap_or(line));
    }
    for section in &mut parser.document.sections {
        for entry in &mut section.entries {
            entry.value.truncate(entry.value.trim_end().len());
        }
    }
    (parser.document, parser.findings)
}

#[derive(Default)]
struct Parser<'a> {
    file: &'a str,
    document: Document,
    findings: Findings,
    /// The section that the next setting belongs to.
    section: Option<usize>,
    /// What a deeper line would continue.
    open: Open,
    indent: usize,
    /// Whether what stands here may be a secret that the line above forgot to hold.
    secret: bool,
}

#[derive(Default, PartialEq)]
enum Open {
    /// Nothing.
    #[default]
    None,
    /// The last setting of the section.
    Entry,
    /// A setting that was reported and left out.
    Discarded,
}

impl Parser<'_> {
    fn line(&mut self, number: usize, line: &str) {
        let comment = comment_start(line);
        let content = line[..comment.unwrap_or(line.len())].trim();
        if content.is_empty() {
            // A comment does not belong to the value around it, an empty line does.
            if comment.is_none() {
                self.append("");
            }
            return;
        }
        let indent = line.chars().take_while(|character| character.is_whitespace()).count();
        if self.section.is_some() && self.open != Open::None && indent > self.indent {
            self.append(content);
            return;
        }
        self.indent = indent;
        self.open = Open::None;
        let mut place = self.place(number, line, indent, content.chars().count());
        match content.split_once(['=', ':']) {
            Some((key, _)) => self.secret = mask::is_secret_name(key),
            None if self.secret => mask::MASK.clone_into(&mut place.source),
            None => self.secret = mask::is_secret_name(content.split_whitespace().next().unwrap_or_default()),
        }
        match (header(content), self.section) {
            (Some(name), _) => self.begin_section(name, place),
            (None, Some(section)) => self.setting(section, content, place),
            (None, None) => self.findings.push(
                Finding::error("config::syntax", "a setting stands before the first section")
                    .at(place, "belongs to no section")
                    .help("begin the file with a line `[worker]`"),
            ),
        }
    }

    fn begin_section(&mut self, name: &str, place: Place) {
        let sections = &mut self.document.sections;
        if let Some(index) = sections.iter().position(|section| section.name == name) {
            self.section = Some(index);
            // Python, too, takes several `[DEFAULT]` sections as one.
            if name != DEFAULT {
                let first = sections[index].place.line;
                self.findings.push(
                    Finding::error(
                        "config::duplicate-section",
                        format!("section [{name}] stands in line {first} and again in line {}", place.line),
                    )
                    .at(place, "second time")
                    .help("put all settings of the section in one place"),
                );
            }
            return;
        }
        self.section = Some(sections.len());
        sections.push(Section { name: name.to_owned(), place, entries: Vec::new() });
    }

    fn setting(&mut self, section: usize, content: &str, place: Place) {
        let Some(at) = content.find(['=', ':']).filter(|at| *at > 0) else {
            self.open = Open::Discarded;
            self.findings.push(
                Finding::error("config::syntax", "this line is neither a section, a setting nor a comment")
                    .at(place, "expected `key = value`")
                    .help("indent the line if it continues the value above"),
            );
            return;
        };
        let written = content[..at].trim_end();
        let rest = &content[at + 1..];
        let value = rest.trim();
        let before_value = content[..=at].chars().count() + rest.chars().take_while(|c| c.is_whitespace()).count();
        let key_place = Place { width: written.chars().count(), ..place.clone() };
        let value_column = place.column + if value.is_empty() { at } else { before_value };
        let value_place = Place { column: value_column, width: value.chars().count(), ..place };
        let entry = Entry { key: written.to_lowercase(), value: value.to_owned(), key_place, value_place };
        let section = &mut self.document.sections[section];
        if let Some(first) = section.entry(&entry.key) {
            self.open = Open::Discarded;
            let (line, again) = (first.key_place.line, entry.key_place.line);
            let message = format!("key `{}` stands in line {line} and again in line {again}", entry.key);
            self.findings.push(
                Finding::error("config::duplicate-key", message)
                    .about(entry.key)
                    .at(entry.key_place, "second time")
                    .help("keep one of the two lines"),
            );
            return;
        }
        self.open = Open::Entry;
        section.entries.push(entry);
    }

    fn append(&mut self, line: &str) {
        let section = self.section.and_then(|index| self.document.sections.get_mut(index));
        if let (Open::Entry, Some(entry)) = (&self.open, section.and_then(|section| section.entries.last_mut())) {
            entry.value.push('\n');
            entry.value.push_str(line);
        }
    }

    fn place(&self, line: usize, source: &str, indent: usize, width: usize) -> Place {
        Place { file: self.file.to_owned(), line, column: indent + 1, width, source: mask::line(source) }
    }
}

/// Where the comment of a line begins, if it has one.
fn comment_start(line: &str) -> Option<usize> {
    if line.trim_start().starts_with(['#', ';']) {
        return Some(0);
    }
    line.match_indices(';').map(|(at, _)| at).find(|at| line[..*at].ends_with(char::is_whitespace))
}

/// The name in a section header. Python ignores what stands behind the last bracket.
fn header(content: &str) -> Option<&str> {
    let inside = content.strip_prefix('[')?;
    let end = inside.rfind(']')?;
    (end > 0).then(|| &inside[..end])
}
