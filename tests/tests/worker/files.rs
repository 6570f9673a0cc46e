//! Plugin files that cannot be used, beside good ones.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;
use worker_tests::{Broker, WorkerProcess, built};

use crate::stage::{SOON, Stage, package};

#[test]
fn a_bad_plugin_file_is_reported_and_the_other_workers_run() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "bad-file", "");
    let bad = stage.worker.path("libbad.so");
    fs::write(&bad, "this is text\n").unwrap();
    let section = format!("[worker:bad]\npath = {}", bad.display());
    stage.configure(stage.vhost.url(), &section);
    stage.publish([package("p1", "done")]);

    stage.run_until_empty(&["bad", "actor"]);

    assert_eq!(stage.done_by("actor"), ["p1"]);
    let log = stage.log();
    let refusal = log.iter().find(|line| line["worker"] == "bad" && line["level"] == "ERROR").unwrap();
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("libbad.so") && message.contains("the other workers run without it"), "{message}");

    stage.configure(stage.vhost.url(), &format!("{section}\nrequired = yes"));
    stage.publish([package("p2", "done")]);
    stage.worker.start(["--until-empty", "bad", "actor"]);
    assert_eq!(stage.worker.wait(SOON).code(), Some(78), "{}", stage.worker.report());
    assert_eq!(stage.vhost.ready(&stage.queue), Some(1), "nothing is consumed");
}

#[test]
fn a_worker_that_cannot_be_made_is_reported_and_the_other_workers_run() {
    let Some(broker) = Broker::shared() else { return };
    for (how, word) in [("error", "told to refuse its settings"), ("panic", "told to panic while it is made")] {
        let mut stage = Stage::old(broker, "not-made", "");
        stage.configure(stage.vhost.url(), &format!("[worker:actor2]\ncreate = {how}"));
        stage.publish([package("p1", "done")]);
        stage.run_until_empty(&["actor2", "actor"]);
        assert_eq!(stage.done_by("actor"), ["p1"]);
        assert!(stage.worker.stderr().contains(word), "{}", stage.worker.report());
        assert!(stage.dead().is_empty());
    }
}

#[test]
fn plugins_list_shows_the_state_of_every_file() {
    let mut worker = WorkerProcess::with_config("");
    let dir = worker.path("plugins");
    fs::create_dir(&dir).unwrap();
    let put = |name: &str, bytes: &[u8], mode: u32| {
        fs::write(dir.join(name), bytes).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let read = |package: &str| fs::read(built().library(package)).unwrap();
    let echo = read("ckan-worker-echo");
    let mut other_machine = read("ckan-worker-archive");
    // The processor stands here in every ELF file; this is none that has Rust.
    other_machine[18..20].copy_from_slice(&[0xfe, 0x00]);
    put("libone.so", &read("worker-actor"), 0o644);
    put("libone_again.so", &read("worker-actor"), 0o644);
    put("libecho.so", &echo, 0o644);
    put("libforeign.so", &other_machine, 0o644);
    put("libtext.so", b"this is text\n", 0o644);
    put("libcut.so", &echo[..echo.len() / 2], 0o644);
    put("libopen.so", &read("worker-actor2"), 0o666);
    put("libno_plugin.so", &fs::read(a_library_of_cargo()).unwrap(), 0o644);
    fs::write(worker.path("worker.cfg"), format!("[worker]\nplugin_dir = {}\n", dir.display())).unwrap();

    worker.start(["plugins", "list", "--format", "json"]);
    assert!(worker.wait(SOON).success(), "{}", worker.report());

    let list: Value = serde_json::from_str(&worker.stdout()).unwrap();
    let ours = list["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|plugin| plugin["path"].as_str().unwrap().starts_with(dir.to_str().unwrap()));
    let mut states: Vec<String> = ours
        .map(|plugin| {
            let file = plugin["path"].as_str().unwrap().rsplit('/').next().unwrap();
            assert_eq!(plugin["reason"].is_null(), plugin["state"] == "usable", "{plugin}");
            format!("{file}: {}", plugin["state"].as_str().unwrap())
        })
        .collect();
    states.sort();
    let expected = [
        "libcut.so: unreadable",
        "libecho.so: usable",
        "libforeign.so: incompatible",
        "libno_plugin.so: not a plugin",
        "libone.so: duplicate",
        "libone_again.so: duplicate",
        "libopen.so: refused",
        "libtext.so: unreadable",
    ];
    assert_eq!(states, expected);
}

/// A library that is there because the workspace was built, and is no plugin: a procedural macro.
fn a_library_of_cargo() -> PathBuf {
    let entries = fs::read_dir(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let mut libraries = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("libserde_derive") && path.extension().is_some_and(|extension| extension == "so")
    });
    libraries.next().unwrap()
}
