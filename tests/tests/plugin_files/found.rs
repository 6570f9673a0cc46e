//! Which files are found, and what is said about them.

use std::fs;

use ckan_worker::catalog::{Catalog, Entry, Options, Place, Rank, State};
use ckan_worker::command::plugins;

use crate::fixtures;
use crate::rig::{Rig, plain, set_mode};

#[test]
fn two_files_with_one_name_are_both_refused_and_the_others_are_not() {
    let rig = Rig::new();
    rig.put("liba.so", &plain());
    rig.put("libb.so", &plain());
    rig.put("libc.so", &fs::read(&fixtures::built().newer).unwrap());
    let catalog = rig.scan();
    rig.says(
        &catalog.find("plain").unwrap_err(),
        "plugin name 'plain' is provided twice: DIR/liba.so (3.1.0) and DIR/libb.so (3.1.0); remove one, or set path in \
         [worker:plain]",
    );
    assert!(catalog.find("newer").is_ok());
    assert!(rig.load(&rig.path("liba.so")).is_ok(), "a path decides");
}

#[test]
fn a_link_to_a_file_beside_it_is_no_second_file() {
    let rig = Rig::new();
    rig.put("libckan_worker_plain.so", &plain());
    std::os::unix::fs::symlink("libckan_worker_plain.so", rig.path("libcurrent.so")).unwrap();
    fs::hard_link(rig.path("libckan_worker_plain.so"), rig.path("libhard.so")).unwrap();
    assert_eq!(rig.scan().entries().len(), 1);
    assert!(rig.scan().find("plain").is_ok());
}

#[test]
fn what_cargo_leaves_beside_the_executable_is_neither_a_second_file_nor_a_problem() {
    let rig = Rig::new();
    let deps = rig.path("deps");
    fs::create_dir(&deps).unwrap();
    set_mode(&deps, 0o755);
    let path = rig.put("libckan_worker_plain.so", &plain());
    fs::hard_link(&path, deps.join("libckan_worker_plain.so")).unwrap();
    rig.put("deps/libckan_worker_plain-0123456789abcdef.so", &plain());
    rig.put("deps/libserde_derive-0123456789abcdef.so", b"a macro");
    let places = [(rig.dir.path(), Rank::Executable), (&deps, Rank::Deps)];
    let places = places.map(|(dir, rank)| Place { dir: dir.to_owned(), rank });
    let catalog = Catalog::scan_places(&places, Options::default());
    let found: Vec<_> = catalog.entries().iter().map(|entry| (entry.path(), entry.state())).collect();
    assert_eq!(found, [(path.as_path(), State::Usable)]);
    assert!(catalog.problems().is_empty());
}

#[test]
fn a_directory_that_is_missing_is_said_if_the_operator_named_it() {
    let rig = Rig::new();
    let catalog = Catalog::scan(&[rig.path("plugins")], Options::default());
    rig.says(
        &catalog.problems()[0],
        "DIR/plugins: the plugin directory cannot be read (No such file or directory (os error 2)); create it, or \
         correct plugin_dir",
    );
}

#[test]
fn an_unknown_name_is_answered_with_what_is_installed() {
    let rig = Rig::new();
    rig.put("libckan_worker_plain.so", &plain());
    rig.says(
        &rig.scan().find("plian").unwrap_err(),
        "no worker plugin is called 'plian' (did you mean 'plain'?); installed: plain; put its file into one of the \
         plugin directories (DIR) or correct the name",
    );
}

#[test]
fn plugins_list_says_state_and_reason_of_every_file() {
    let rig = Rig::new();
    rig.put("libckan_worker_plain.so", &plain());
    rig.put("libnotes.so", b"to be done");
    let catalog = rig.scan();
    let mut text = Vec::new();
    plugins::list_text(&catalog, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap().replace(rig.dir.path().to_str().unwrap(), "DIR");
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "VERSION", "STATE", "FILE"]);
    assert_eq!(words[1], ["plain", "3.1.0", "usable", "DIR/libckan_worker_plain.so"]);
    assert_eq!(words[2], ["notes", "-", "unreadable", "DIR/libnotes.so"]);
    assert!(text.contains("\nDIR/libnotes.so: is not a library at all; "), "{text}");

    let mut json = Vec::new();
    plugins::list_json(&catalog, &mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["schema"], "ckan-worker/1");
    assert_eq!(json["plugins"][0]["manifest"]["abi"], "1.1.0");
    assert_eq!(json["plugins"][1]["reason"]["code"], "plugin::unreadable");
}

#[test]
fn plugins_inspect_says_all_that_stands_in_the_file() {
    let rig = Rig::new();
    let entry = Entry::at(&rig.put("libckan_worker_plain.so", &plain()), Options::default());
    let mut text = Vec::new();
    let exit = plugins::inspect_text(&entry, &mut text).unwrap();
    assert_eq!(exit, ckan_worker::exit::Exit::Done);
    let text = String::from_utf8(text).unwrap();
    for line in ["name          plain", "routing keys  Package", "operations    new, panic", "plugin ABI    1.1.0"] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    let mut json = Vec::new();
    plugins::inspect_json(&entry, &mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["plugin"]["format"], &json["plugin"]["state"]), (&"ELF".into(), &"usable".into()));
}
