//! What must become of a resource, and how to say that something else did.

use super::table::ResourceLine;

/// What archiving one resource must come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The resource's name.
    pub name: &'static str,
    /// The archive's status: 0 kept, 12 broken, 21 left alone.
    pub status_id: u16,
    /// The size and the sha256 of the file, if it is kept.
    pub kept: Option<(u64, String)>,
    /// The types that are right; empty if it is not kept.
    pub mimetypes: &'static [&'static str],
    /// Whether a redirect is followed to it.
    pub redirected: bool,
    /// What the reason must contain, in small letters.
    pub reason: &'static str,
}

impl Expected {
    /// Nothing but the status is expected.
    pub(super) fn new(name: &'static str, status_id: u16) -> Self {
        Self { name, status_id, kept: None, mimetypes: &[], redirected: false, reason: "" }
    }

    /// What came otherwise, as a sentence; `None` if all is as expected.
    pub fn mismatch(&self, line: &ResourceLine) -> Option<String> {
        let differs = |what: &str, expected: &str, came: &str| {
            Some(format!("{}: expected {what} {expected}, got {came}", self.name))
        };
        if line.status_id != Some(self.status_id) {
            let came = format!("{} ({}: {})", or_none(line.status_id), line.status, line.reason);
            return differs("status", &self.status_id.to_string(), &came);
        }
        if !line.reason.to_lowercase().contains(self.reason) {
            return differs("a reason with", &format!("{:?}", self.reason), &format!("{:?}", line.reason));
        }
        let Some((bytes, sha256)) = &self.kept else { return None };
        if line.bytes != Some(*bytes) {
            return differs("bytes", &bytes.to_string(), &or_none(line.bytes));
        }
        if line.sha256.as_deref() != Some(sha256) {
            return differs("sha256", sha256, &or_none(line.sha256.as_deref()));
        }
        let kind = line.mimetype.as_deref().map(|kind| kind.split(';').next().unwrap_or_default().trim());
        if !kind.is_some_and(|kind| self.mimetypes.contains(&kind)) {
            return differs("type", &self.mimetypes.join(" or "), &or_none(kind));
        }
        if line.redirected_to.is_some() != self.redirected {
            let expected = if self.redirected { "to be followed" } else { "not to happen" };
            return differs("a redirect", expected, &or_none(line.redirected_to.as_deref()));
        }
        None
    }
}

/// Every difference between what was expected and what came, one sentence each.
pub fn mismatches(expected: &[Expected], lines: &[ResourceLine]) -> Vec<String> {
    let came = |name: &str| lines.iter().find(|line| line.name == name);
    let mut found: Vec<_> = expected
        .iter()
        .filter_map(|expected| match came(expected.name) {
            Some(line) => expected.mismatch(line),
            None => Some(format!("{}: expected status {}, got no result", expected.name, expected.status_id)),
        })
        .collect();
    let unexpected = lines.iter().filter(|line| !expected.iter().any(|expected| expected.name == line.name));
    found.extend(unexpected.map(|line| format!("{}: expected no result, got {}", line.name, line.status)));
    found
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
