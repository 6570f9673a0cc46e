//! What `worker.cfg.example` says of this worker.

use std::collections::BTreeSet;

use ckan_worker_plugin::read_settings;

use super::*;
use crate::Settings;

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

fn shown(settings: &Value) -> String {
    format!("{:?}", read_settings::<Settings>(settings.as_object().unwrap()).unwrap())
}

#[test]
fn the_example_names_every_setting() {
    let unknown = json!({ "no-such-setting-at-all": "1" });
    let refusal = read_settings::<Settings>(unknown.as_object().unwrap()).err().unwrap().to_string();
    let (_, known) = refusal.split_once("it knows: ").unwrap();
    let known: BTreeSet<&str> = known.trim_end_matches(')').split(", ").collect();
    let names: Vec<&str> = explained().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(names.len(), known.len(), "each stands there once");
}

#[test]
fn the_example_shows_what_holds_without_it() {
    let bare = json!({});
    let mut tried = 0;
    for (name, value, is_default) in explained() {
        let with = json!({ name: value });
        assert_eq!(shown(&with) == shown(&bare), is_default, "{name} = {value}");
        tried += usize::from(is_default);
    }
    assert_eq!(tried, 3);
}

#[test]
fn all_settings_of_the_example_can_be_set_together() {
    let all = explained().into_iter().map(|(name, value, _)| (name.to_owned(), json!(value))).collect();
    let qa = Bench::default().create::<Qa>(Value::Object(all)).unwrap();
    assert_eq!(qa.source.archive_dir, Some(PathBuf::from("/var/lib/ckan-worker/archive")));
    assert!(qa.settings.contains("65536 5000000 "), "{}", qa.settings);
}
