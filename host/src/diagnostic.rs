//! What was found wrong, or worth saying, about the settings: for people as text with the line it is in, for machines
//! as JSON.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// It works, but most likely not as meant.
    Warning,
    /// The worker does not start with it.
    Error,
}

/// A stretch of one line in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The first character, from 1.
    pub column: usize,
    /// How many characters.
    pub width: usize,
    /// The whole line, with secrets masked.
    pub source: String,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its stable name, as in `config::unknown-key`.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Where it stands; `None` if in no file.
    pub place: Option<Place>,
    /// Where it came from if not from a file, as in `the environment variable CKAN__SITE_ID`.
    pub origin: Option<String>,
    /// The setting it is about.
    pub key: Option<String>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What is said under the marked stretch of the line.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

impl Finding {
    /// Makes a finding of which only the essence is known.
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            place: None,
            origin: None,
            key: None,
            message: message.into(),
            label: String::new(),
            help: None,
        }
    }

    /// Makes an error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Makes a warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Makes a note.
    pub fn note(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message)
    }

    /// Names the setting it is about.
    #[must_use]
    pub fn about(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Says where it stands, and what is wrong there.
    #[must_use]
    pub fn at(mut self, place: Place, label: impl Into<String>) -> Self {
        self.place = Some(place);
        self.label = label.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Renders it for people.
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Note => Level::NOTE,
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let title = level.primary_title(self.message.as_str()).id(self.code);
        let mut report = vec![match &self.place {
            Some(place) => title.element(snippet(place, &self.label)),
            None => Group::with_title(title),
        }];
        if let Some(origin) = &self.origin {
            report.push(Group::with_title(Level::NOTE.secondary_title(format!("it comes from {origin}"))));
        }
        if let Some(help) = &self.help {
            report.push(Group::with_title(Level::HELP.secondary_title(help.as_str())));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&report)
    }
}

fn snippet<'a>(place: &'a Place, label: &'a str) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let byte = |column: usize| place.source.char_indices().nth(column).map_or(place.source.len(), |(byte, _)| byte);
    let start = place.column.saturating_sub(1);
    Snippet::source(place.source.as_str())
        .line_start(place.line)
        .path(place.file.as_str())
        .annotation(AnnotationKind::Primary.span(byte(start)..byte(start + place.width.max(1))).label(label))
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let place = self.place.as_ref();
        let mut fields = serializer.serialize_struct("Finding", 9)?;
        fields.serialize_field("code", self.code)?;
        fields.serialize_field("severity", &self.severity)?;
        fields.serialize_field("file", &place.map(|place| &place.file))?;
        fields.serialize_field("line", &place.map(|place| place.line))?;
        fields.serialize_field("column", &place.map(|place| place.column))?;
        fields.serialize_field("origin", &self.origin)?;
        fields.serialize_field("key", &self.key)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("help", &self.help)?;
        fields.end()
    }
}

/// All that was found, in the order in which it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the worker must not start.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many matter as much as `severity`.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|finding| finding.severity == severity).count()
    }

    /// One after another.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// Puts them in the order of the lines in each file; those that stand in no file come last.
    pub fn sort(&mut self) {
        let place =
            |finding: &Finding| finding.place.as_ref().map(|place| (place.file.clone(), place.line, place.column));
        self.0.sort_by_key(|finding| (finding.place.is_none(), place(finding)));
    }

    /// Renders all for people, an empty line between them.
    pub fn render(&self, color: bool) -> String {
        self.0.iter().map(|finding| finding.render(color)).collect::<Vec<_>>().join("\n\n")
    }

    /// The last line of a check: how much was found, and the command to `rerun` when it is fixed.
    pub fn summary(&self, rerun: &str) -> String {
        let errors = self.count(Severity::Error);
        let mut counts = Vec::new();
        for (count, word) in [(errors, "error"), (self.count(Severity::Warning), "warning")] {
            match count {
                0 => {}
                1 => counts.push(format!("1 {word}")),
                many => counts.push(format!("{many} {word}s")),
            }
        }
        match (counts.is_empty(), errors) {
            (true, _) => "No errors, no warnings.".to_owned(),
            (false, 0) => format!("{}.", counts.join(", ")),
            (false, _) => format!("{}. Fix the errors and run: {rerun}", counts.join(", ")),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Findings {}

impl Extend<Finding> for Findings {
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, findings: T) {
        self.0.extend(findings);
    }
}

impl IntoIterator for Findings {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown_key() -> Finding {
        Finding::error("config::unknown-key", "unknown key `ckan.site_rul` in section [worker]")
            .about("ckan.site_rul")
            .at(
                Place {
                    file: "worker.cfg".into(),
                    line: 5,
                    column: 1,
                    width: 13,
                    source: "ckan.site_rul = http://localhost:5000".into(),
                },
                "not a key this worker knows",
            )
            .help("a similar key exists: `ckan.site_url`")
    }

    #[test]
    fn a_finding_shows_the_line_marks_the_place_and_says_what_to_do() {
        let expected = "\
error[config::unknown-key]: unknown key `ckan.site_rul` in section [worker]
 --> worker.cfg:5:1
  |
5 | ckan.site_rul = http://localhost:5000
  | ^^^^^^^^^^^^^ not a key this worker knows
  |
help: a similar key exists: `ckan.site_url`";
        assert_eq!(unknown_key().render(false), expected);
    }

    #[test]
    fn a_finding_for_machines_has_the_same_facts() {
        assert_eq!(
            serde_json::to_value(Findings::from(unknown_key())).unwrap(),
            serde_json::json!([{
                "code": "config::unknown-key", "severity": "error", "file": "worker.cfg", "line": 5, "column": 1,
                "origin": null, "key": "ckan.site_rul",
                "message": "unknown key `ckan.site_rul` in section [worker]",
                "help": "a similar key exists: `ckan.site_url`",
            }])
        );
    }

    #[test]
    fn a_check_ends_with_counts_and_the_command_to_run_again() {
        let mut findings = Findings::default();
        assert_eq!(findings.summary("worker check"), "No errors, no warnings.");
        findings.push(Finding::warning("config::x", "x"));
        assert_eq!(findings.summary("worker check"), "1 warning.");
        findings.extend([unknown_key(), unknown_key()]);
        assert_eq!(findings.summary("worker check"), "2 errors, 1 warning. Fix the errors and run: worker check");
    }

    #[test]
    fn a_mark_beyond_the_line_is_kept_inside_it() {
        let place = Place { file: "ä.cfg".into(), line: 1, column: 99, width: 9, source: "schlüssel".into() };
        let text = Finding::error("config::x", "x").at(place, "here").render(false);
        assert!(text.contains("schlüssel"), "{text}");
    }
}
