//! Plugins that are loaded, and the workers made from them.

use std::fs;

use ckan_worker::catalog::{LoadedLibrary, Manifest, Refusal, State, load};
use ckan_worker_abi::Status;
use ckan_worker_plugin::prelude::{Host, NoSettings, Notification, Outcome, Result, Worker};

use crate::fixtures;
use crate::rig::{Rig, plain};

#[test]
fn a_plugin_built_outside_of_the_workspace_with_other_flags_is_loaded_and_works() {
    let rig = Rig::new();
    rig.put("libckan_worker_plain.so", &plain());
    let catalog = rig.scan();
    let entry = catalog.find("plain").unwrap();
    assert_eq!(entry.state(), State::Usable);
    let library = load(entry, &rig.copies).unwrap();
    assert_eq!(library.manifest().version, "3.1.0");
    assert_eq!(library.manifest().routing_keys, ["Package"]);
    assert_eq!(rig.works(&library), ["3 made", r#"3 Package new {"id":"a"}"#]);
}

#[test]
fn a_plugin_built_with_a_newer_abi_of_the_same_major_version_is_loaded_and_works() {
    let rig = Rig::new();
    let library = rig.load(&rig.put("libckan_worker_newer.so", &fs::read(&fixtures::built().newer).unwrap())).unwrap();
    assert_eq!(library.manifest().abi, "1.2.0");
    assert_eq!(rig.works(&library).len(), 2);
}

#[test]
fn a_worker_that_is_linked_in_is_made_and_works_like_one_from_a_file() {
    struct LinkedIn;

    impl Worker for LinkedIn {
        type Config = NoSettings;

        fn create(_: NoSettings, host: &Host<'_>) -> Result<Self> {
            host.info("made");
            Ok(Self)
        }

        fn consume(&self, notification: &Notification<'_>, _: &Host<'_>) -> Result<Outcome> {
            Ok(Outcome::skipped(notification.operation().to_owned()))
        }
    }

    let rig = Rig::new();
    let manifest = Manifest { name: "linked-in".to_owned(), ..Manifest::default() };
    let library = LoadedLibrary::linked_in(ckan_worker_plugin::glue::module::<LinkedIn>(), manifest);
    let worker = rig.host.create(&library, "{}").unwrap();
    assert_eq!(rig.host.consume(&worker, "new", b"").message, "new");
    assert_eq!((worker.name(), library.path()), ("linked-in", None));
    rig.says(
        &rig.host.create(&library, r#"{"x":"1"}"#).unwrap_err(),
        "worker 'linked-in': its settings are wrong: x: unknown setting (this worker has no settings); correct \
         [worker:linked-in]",
    );
}

#[test]
fn several_workers_are_made_from_one_library_and_from_one_file_loaded_twice() {
    let rig = Rig::new();
    let path = rig.put("libckan_worker_plain.so", &plain());
    let (first, second) = (rig.load(&path).unwrap(), rig.load(&path).unwrap());
    let workers = [&first, &first, &second].map(|library| rig.host.create(library, "{}").unwrap());
    for worker in &workers {
        assert_eq!(rig.host.consume(worker, "new", b"x").status, Status::SKIPPED);
    }
}

#[test]
fn overwriting_the_file_of_a_loaded_plugin_does_no_harm() {
    let rig = Rig::new();
    let path = rig.put("libckan_worker_plain.so", &plain());
    let library = rig.load(&path).unwrap();
    // In place: the same inode, and shorter than what was there.
    fs::write(&path, b"gone").unwrap();
    assert_eq!(rig.works(&library).len(), 2);
}

#[test]
fn a_worker_that_cannot_be_made_says_why() {
    let rig = Rig::new();
    let path = rig.put("libckan_worker_plain.so", &plain());
    let library = rig.load(&path).unwrap();
    let check = |settings, text| rig.says(&rig.host.create(&library, settings).unwrap_err(), text);
    check(
        r#"{"create":"err"}"#,
        "worker 'plain' (DIR/libckan_worker_plain.so): could not be made: the disk is full; correct the cause and start \
         again",
    );
    check(
        r#"{"create":"panic"}"#,
        "worker 'plain' (DIR/libckan_worker_plain.so): panicked while it was made: the sky is falling; this is a bug in \
         the plugin, report it to its author",
    );
    check(
        r#"{"craete":"ok"}"#,
        "worker 'plain' (DIR/libckan_worker_plain.so): its settings are wrong: craete: unknown setting (a similar \
         setting exists: create); correct [worker:plain]",
    );
    assert_eq!(rig.works(&library).len(), 3, "the library is none the worse for it");
}

#[test]
fn the_problems_of_the_settings_can_be_read_one_by_one() {
    let rig = Rig::new();
    let library = rig.load(&rig.put("libckan_worker_plain.so", &plain())).unwrap();
    let refusal = rig.host.create(&library, r#"{"x":"1","y":"2"}"#).unwrap_err();
    let Refusal::Settings { problems: Some(problems), .. } = refusal else { panic!("{refusal}") };
    let keys: Vec<_> = problems.settings.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["x", "y"]);
}

#[test]
fn a_panic_while_consuming_comes_back_as_a_reply_and_is_logged() {
    let rig = Rig::new();
    let library = rig.load(&rig.put("libckan_worker_plain.so", &plain())).unwrap();
    let worker = rig.host.create(&library, "{}").unwrap();
    let reply = rig.host.consume(&worker, "panic", b"");
    assert_eq!((reply.status, reply.message.as_str()), (Status::PANIC, "no more"));
    assert_eq!(rig.host.lines()[1], "1 panic: no more at a place");
    assert_eq!(rig.host.consume(&worker, "new", b"x").status, Status::SKIPPED);
}
