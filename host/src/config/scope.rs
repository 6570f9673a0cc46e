//! What `%(name)s` in a value may refer to.

use std::collections::BTreeMap;
use std::path::Path;

use super::ini::{DEFAULT, Document, Entry, Section};

/// What `%(name)s` may refer to.
pub struct Scope<'a> {
    /// The file that the value stands in.
    pub path: &'a Path,
    /// What was read from it.
    pub document: &'a Document,
    /// The section that the value stands in.
    pub section: Option<&'a Section>,
    /// The environment.
    pub environment: &'a BTreeMap<String, String>,
}

impl Scope<'_> {
    /// What `name` stands for, references in it not yet filled in.
    pub fn lookup(&self, name: &str) -> Option<String> {
        // CKAN's own loader lets files refer to variables of this name.
        if name.starts_with("CKAN_") {
            return self.environment.get(name).filter(|value| !value.contains('\n')).cloned();
        }
        let name = name.to_lowercase();
        let entry = self.section.and_then(|section| section.entry(&name));
        if let Some(entry) = entry.or_else(|| defaults(self.document).find(|entry| entry.key == name)) {
            return Some(entry.value.clone());
        }
        let absolute = std::path::absolute(self.path).unwrap_or_else(|_| self.path.to_owned());
        // A path may hold a `%` of its own.
        let text = |path: &Path| path.display().to_string().replace('%', "%%");
        match name.as_str() {
            "here" => absolute.parent().map(text),
            "__file__" => Some(text(&absolute)),
            _ => None,
        }
    }
}

/// The settings that stand in for those missing in a section.
pub fn defaults(document: &Document) -> impl Iterator<Item = &Entry> {
    document.section(DEFAULT).into_iter().flat_map(|section| &section.entries)
}
