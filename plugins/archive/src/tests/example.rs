//! What `worker.cfg.example` says of this worker.

use std::collections::BTreeSet;

use ckan_worker_plugin::read_settings;

use super::*;
use crate::settings::Settings;

/// The settings of the file: name, value, and whether it is what holds without the setting.
fn explained() -> Vec<(&'static str, &'static str, bool)> {
    let blocks = include_str!("../../worker.cfg.example").split("\n\n").skip(1);
    let read = |block: &'static str| {
        let (help, line) = block.trim_end().rsplit_once("\n#").unwrap();
        let (name, value) = line.split_once(" = ").unwrap();
        (name, value, !help.replace("\n# ", " ").ends_with("No default; as in:"))
    };
    blocks.map(read).collect()
}

/// A value with its paths below a directory of the test's.
fn within(dir: &tempfile::TempDir, value: &str) -> Value {
    if value.starts_with('/') { json!(format!("{}{value}", dir.path().display())) } else { json!(value) }
}

fn as_written(settings: &Value) -> String {
    format!("{:?}", read_settings::<Settings>(settings.as_object().unwrap()).unwrap())
}

fn policy(settings: Value) -> String {
    format!("{:?}", Bench::default().create::<Archive>(settings).unwrap().policy)
}

#[test]
fn the_example_names_every_setting() {
    let unknown = json!({ "no-such-setting-at-all": "1" });
    let refusal = read_settings::<Settings>(unknown.as_object().unwrap()).err().unwrap().to_string();
    let (_, known) = refusal.split_once("it knows: ").unwrap();
    let known: BTreeSet<&str> =
        known.trim_end_matches(')').split(", ").filter(|name| !name.starts_with("ckanext-archiver.")).collect();
    let names: Vec<&str> = explained().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(names.len(), known.len(), "each stands there once");
}

#[test]
fn the_example_shows_what_holds_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let bare = json!({ "dir": dir.path() });
    let mut tried = 0;
    for (name, value, is_default) in explained() {
        let mut settings = bare.clone();
        settings[name] = within(&dir, value);
        if is_default {
            assert_eq!(policy(settings), policy(bare.clone()), "{name} = {value}");
            tried += 1;
        } else {
            assert_ne!(as_written(&settings), as_written(&bare), "{name} = {value}");
        }
    }
    assert_eq!(tried, 7);
}

#[test]
fn all_settings_of_the_example_can_be_set_together() {
    let dir = tempfile::tempdir().unwrap();
    let all = explained().into_iter().map(|(name, value, _)| (name.to_owned(), within(&dir, value))).collect();
    let shown = policy(Value::Object(all));
    for word in ["archive.example", "ministry-of-trees", "traffic", "roads", "slow.example"] {
        assert!(shown.contains(word), "{word} is not in {shown}");
    }
}
