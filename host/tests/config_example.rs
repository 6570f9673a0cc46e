//! Holds `worker.cfg.example` to the table of settings.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write;

use ckan_worker::config::keys::{HOST, Key, Preset, WORKER};
use ckan_worker::config::{Config, Request};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../worker.cfg.example");

const HEAD: &str = "\
# Settings of the worker. As it stands here, every line is a comment and the defaults hold: the queue is a file, and
# `worker -c worker.cfg.example echo` runs. Remove the # before a setting to set it.
#
# The dialect is that of Python's ConfigParser, as in ckan.ini: an indented line continues the one before; ` ;` begins a
# comment; %(here)s is the directory of this file, %% a percent sign. Paths are relative to the working directory.
# Stronger than this file are environment variables, as in CKAN__SITE_ID and CKAN___QUEUE__NAME, and flags.

[worker]
";

const MIDDLE: &str = "

# A worker may have a section of its own, with these five settings of the host and all that its plugin knows.

# [worker:archive]
";

const PLUGINS_HEAD: &str = "

# What the workers that come with this program know beside these; `echo` knows nothing more.
";

/// What a plugin's own test holds to its settings.
const PLUGINS: &[(&str, &str)] = &[
    ("archive", include_str!("../../plugins/archive/worker.cfg.example")),
    ("qa", include_str!("../../plugins/qa/worker.cfg.example")),
    ("webhook", include_str!("../../plugins/webhook/worker.cfg.example")),
];

fn value(key: &Key) -> Option<(&'static str, &'static str)> {
    match key.preset {
        Preset::Fixed(value) | Preset::Computed(value) => Some((value, "")),
        Preset::Absent(value) => Some((value, " No default; as in:")),
        Preset::Old(_) => None,
    }
}

fn add(text: &mut String, key: &Key) {
    let Some((value, note)) = value(key) else { return };
    let mut line = String::from("#");
    text.push('\n');
    for word in format!("{}{note}", key.help).split(' ') {
        if line.len() + 1 + word.len() > 100 {
            writeln!(text, "{line}").unwrap();
            "#".clone_into(&mut line);
        }
        write!(line, " {word}").unwrap();
    }
    writeln!(text, "{line}\n#{} = {value}", key.name).unwrap();
}

fn expected() -> String {
    let mut text = HEAD.to_owned();
    for key in HOST {
        add(&mut text, key);
    }
    text.push_str(MIDDLE);
    for key in WORKER {
        add(&mut text, key);
    }
    text.push_str(PLUGINS_HEAD);
    for (_, block) in PLUGINS {
        text.push('\n');
        text.push_str(block);
    }
    text
}

fn load(text: &str) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("worker.cfg"), text).unwrap();
    let mut request = Request { directory: directory.path().to_owned(), ..Request::default() };
    request.environment.insert("STATE_DIRECTORY".to_owned(), "/var/lib/ckan-worker".to_owned());
    match Config::load(&request) {
        Ok((config, findings)) if findings.is_empty() => Ok(config),
        Ok((_, findings)) | Err(findings) => Err(findings.to_string()),
    }
}

fn shown(mut config: Config) -> String {
    config.files.clear();
    format!("{config:?}")
}

#[test]
fn the_example_explains_every_setting() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(EXAMPLE, expected()).unwrap();
    }
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    assert!(example == expected(), "{EXAMPLE} is not what the table of keys says; UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn the_example_as_shipped_works_without_a_broker() {
    let config = load(&std::fs::read_to_string(EXAMPLE).unwrap()).unwrap();
    assert!(config.queue_is_default());
    assert_eq!(config.queue.address.to_string(), "sqlite:/var/lib/ckan-worker/queue.db");
}

#[test]
fn every_setting_of_the_example_can_be_set_and_shows_its_default() {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let plain = shown(load(&example).unwrap());
    let mut tried = 0;
    for key in HOST {
        let Some((value, _)) = value(key) else { continue };
        let line = format!("{} = {value}\n", key.name);
        assert!(example.contains(&format!("\n#{line}")), "{line}");
        let with = example.replacen(&format!("\n#{line}"), &format!("\n{line}"), 1);
        match (key.name, load(&with)) {
            // Only where the file is.
            ("ckan.api_key_file", Err(findings)) => {
                assert!(findings.contains("cannot read the token's file"), "{findings}");
            }
            (_, Ok(config)) if matches!(key.preset, Preset::Fixed(_)) => assert_eq!(shown(config), plain, "{line}"),
            (_, Ok(config)) if key.name == "amqp.url" => assert!(!config.queue_is_default()),
            (_, Ok(_)) => {}
            (_, Err(findings)) => panic!("{line}{findings}"),
        }
        tried += 1;
    }
    assert!(tried > 20);
    let section: String = WORKER.iter().filter_map(|key| Some(format!("{} = {}\n", key.name, value(key)?.0))).collect();
    let config = load(&format!("{example}\n[worker:archive]\n{section}")).unwrap();
    assert_eq!(config.workers["archive"].attempts, Some(9));
}

#[test]
fn the_sections_of_plugins_reach_them_as_they_are_written() {
    let mut text = std::fs::read_to_string(EXAMPLE).unwrap();
    for (name, block) in PLUGINS {
        let head = format!("# [worker:{name}]\n");
        assert!(block.starts_with(&head), "{name}");
        // As somebody who takes the # away from every setting.
        let set: String = block.lines().filter(|line| !line.starts_with("# ")).collect::<Vec<_>>().join("\n");
        write!(text, "\n[worker:{name}]\n{}\n", set.replace("\n#", "\n")).unwrap();
    }
    let config = load(&text).unwrap();
    for (name, block) in PLUGINS {
        let written = block.lines().filter(|line| !line.starts_with("# ")).filter_map(|line| line.strip_prefix('#'));
        let written: Vec<(&str, &str)> = written.map(|line| line.split_once(" = ").unwrap()).collect();
        assert!(written.len() > 4, "{name}");
        let known = &config.workers[*name].settings;
        assert_eq!(known.len(), written.len(), "{name}");
        for (key, value) in written {
            assert_eq!(known[key], value, "{name}: {key}");
        }
    }
}
