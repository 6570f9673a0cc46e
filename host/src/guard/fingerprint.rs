//! What of a dataset a worker looks at, as a number.

use serde_json::Value;

use super::path::{Path, in_order};

/// What changes by itself, or is computed from the rest: nobody's input unless a worker asks for it by name.
const VOLATILE: &[&str] = &[
    "metadata_modified",
    "resources.*.metadata_modified",
    "revision_id",
    "revision_timestamp",
    "resources.*.revision_id",
    "resources.*.revision_timestamp",
    "tracking_summary",
    "resources.*.tracking_summary",
    "archiver",
    "resources.*.archiver",
    "qa",
    "resources.*.qa",
    "num_resources",
    "num_tags",
    "notes_rendered",
    "isopen",
    "plugin_data",
];

/// What a worker looks at had this content. 16 bytes of a BLAKE3 hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// The same content, seen by this edition of a worker.
    #[must_use]
    pub fn of_edition(self, edition: &str) -> Self {
        Self::of(blake3::Hasher::new().update(&self.0).update(edition.as_bytes()))
    }

    fn of(hash: &blake3::Hasher) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Self(short)
    }
}

/// What of a dataset is looked at.
#[derive(Debug, Clone)]
pub struct View {
    /// What is looked at; empty for all but what changes by itself.
    inputs: Vec<Path>,
    /// What is not, whatever the inputs say.
    outputs: Vec<Path>,
}

impl View {
    /// What a worker looks at: what it has declared, or else all but what changes by itself, without what it writes.
    pub fn of_worker(inputs: &[String], outputs: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let all = inputs.iter().any(|path| path == "*");
        Self {
            inputs: inputs.iter().filter(|_| !all).map(|path| Path::new(path)).collect(),
            outputs: outputs.into_iter().map(|path| Path::new(path.as_ref())).collect(),
        }
    }

    /// All of a dataset but what changes by itself: what a write leaves behind is known again by it.
    pub fn whole() -> Self {
        Self { inputs: Vec::new(), outputs: Vec::new() }
    }

    /// The fingerprint of a dataset in the shape of `package_show`. Order matters neither in objects nor among things
    /// that have an id, and nothing is the same as null.
    pub fn fingerprint(&self, dataset: &Value) -> Fingerprint {
        let mut hash = blake3::Hasher::new();
        self.add(&mut hash, &mut Vec::new(), dataset);
        Fingerprint::of(&hash)
    }

    fn add<'a>(&self, hash: &mut blake3::Hasher, place: &mut Vec<&'a str>, value: &'a Value) {
        if !self.is_seen(place) {
            return;
        }
        match value {
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
                fields.sort_unstable_by_key(|(name, _)| *name);
                hash.update(b"{");
                for (name, value) in fields {
                    place.push(name);
                    if self.is_seen(place) {
                        add_text(hash, name);
                        self.add(hash, place, value);
                    }
                    place.pop();
                }
                hash.update(b"}");
            }
            Value::Array(members) => {
                hash.update(b"[");
                place.push("*");
                for member in in_order(members) {
                    self.add(hash, place, member);
                }
                place.pop();
                hash.update(b"]");
            }
            Value::String(text) => add_text(hash, text),
            other => {
                let text = other.to_string();
                hash.update(b"=");
                add_text(hash, &text);
            }
        }
    }

    /// Whether anything at this place, or inside of it, is looked at.
    fn is_seen(&self, place: &[&str]) -> bool {
        if place.is_empty() {
            return true;
        }
        if self.outputs.iter().any(|path| path.covers(place)) {
            return false;
        }
        if self.inputs.is_empty() {
            return !VOLATILE.iter().any(|path| is_at(path, place));
        }
        self.inputs.iter().any(|path| path.covers(place) || path.leads_through(place))
    }
}

/// Whether a place is the one that is written so.
fn is_at(path: &str, place: &[&str]) -> bool {
    path.split('.').eq(place.iter().copied())
}

/// Adds a text so that no two sequences of texts add the same.
fn add_text(hash: &mut blake3::Hasher, text: &str) {
    hash.update(&(text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dataset() -> Value {
        json!({
            "id": "p", "title": "Trees", "metadata_modified": "2026-01-01", "private": false, "notes": null,
            "resources": [
                {"id": "a", "url": "http://x/a", "hash": "1", "metadata_modified": "2026-01-01", "position": 0},
                {"id": "b", "url": "http://x/b", "hash": "2", "metadata_modified": "2026-01-01", "position": 1},
            ],
        })
    }

    /// Whether a change makes a difference to who looks so.
    #[track_caller]
    fn check(view: &View, change: impl FnOnce(&mut Value), differs: bool) {
        let mut changed = dataset();
        change(&mut changed);
        assert_eq!(view.fingerprint(&dataset()) != view.fingerprint(&changed), differs, "{changed}");
    }

    fn view(inputs: &[&str], outputs: &[&str]) -> View {
        let inputs: Vec<String> = inputs.iter().map(|path| (*path).to_owned()).collect();
        View::of_worker(&inputs, outputs)
    }

    #[test]
    fn without_a_word_of_the_worker_all_counts_but_what_changes_by_itself_and_what_it_writes() {
        let view = view(&[], &["resources.*.hash"]);
        check(&view, |it| it["title"] = "Shrubs".into(), true);
        check(&view, |it| it["resources"][1]["url"] = "http://x/c".into(), true);
        check(&view, |it| it["resources"][0]["hash"] = "9".into(), false);
        check(&view, |it| it["metadata_modified"] = "2027-01-01".into(), false);
        check(&view, |it| it["resources"][0]["metadata_modified"] = "2027-01-01".into(), false);
        check(&view, |it| it["resources"].as_array_mut().unwrap().pop().map(drop).unwrap(), true);
    }

    #[test]
    fn what_a_worker_has_declared_is_all_that_counts() {
        let view = view(&["private", "resources.*.url"], &[]);
        check(&view, |it| it["title"] = "Shrubs".into(), false);
        check(&view, |it| it["private"] = true.into(), true);
        check(&view, |it| it["resources"][1]["url"] = "http://x/c".into(), true);
        check(&view, |it| it["resources"][1]["hash"] = "9".into(), false);
        check(&view, |it| it["resources"].as_array_mut().unwrap().reverse(), false);
    }

    #[test]
    fn a_star_is_all_but_what_changes_by_itself() {
        let view = view(&["*"], &[]);
        check(&view, |it| it["resources"][1]["hash"] = "9".into(), true);
        check(&view, |it| it["metadata_modified"] = "2027-01-01".into(), false);
    }

    #[test]
    fn nothing_and_null_are_the_same_and_a_number_is_not_its_text() {
        let view = View::whole();
        check(&view, |it| it.as_object_mut().unwrap().remove("notes").map(drop).unwrap(), false);
        check(&view, |it| it["notes"] = "".into(), true);
        check(&view, |it| it["resources"][0]["hash"] = 1.into(), true);
        check(&view, |it| it["resources"].as_array_mut().unwrap().reverse(), false);
    }
}
