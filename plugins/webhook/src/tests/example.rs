//! What `worker.cfg.example` says of this worker.

use std::collections::BTreeSet;
use std::fs;

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
    let bare = json!({ "source": "x", "targets": "a http://h" });
    let mut tried = 0;
    for (name, value, is_default) in explained() {
        let mut with = bare.clone();
        with[name] = json!(value);
        assert_eq!(shown(&with) == shown(&bare), is_default, "{name} = {value}");
        tried += usize::from(is_default);
    }
    assert_eq!(tried, 1);
}

#[test]
fn a_worker_is_made_from_the_example_with_either_secret() {
    let dir = tempfile::tempdir().unwrap();
    for left_out in ["secret", "secret_file"] {
        let mut settings = json!({});
        for (name, value, _) in explained().into_iter().filter(|(name, ..)| *name != left_out) {
            settings[name] = json!(value);
        }
        if left_out == "secret" {
            let file = dir.path().join(settings["secret_file"].as_str().unwrap().trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, SECRET).unwrap();
            settings["secret_file"] = json!(file);
        }
        let webhook = Bench::default().create::<Webhook>(settings).unwrap();
        assert_eq!(webhook.source, "https://data.example");
        assert_eq!(webhook.receivers[0].target.name, "catalogue");
    }
}
