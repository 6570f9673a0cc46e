//! What is refused, with the very sentence, before any of its code runs wherever that is possible.

use std::fs;

use ckan_worker::catalog::{Entry, Options, State, load};
use ckan_worker::command::plugins;

use crate::fixtures;
use crate::rig::{Rig, manifest, patched, plain, set_mode};

#[test]
fn a_text_file_is_no_library() {
    let rig = Rig::new();
    let path = rig.put("libnotes.so", b"to be done: everything");
    let text =
        "DIR/libnotes.so: is not a library at all; build or copy it again, or move it out of the plugin directory";
    rig.refuses(&path, State::Unreadable, text);
    assert_eq!(rig.scan().find("notes").unwrap_err().code(), "plugin::unreadable");
}

#[test]
fn a_truncated_library_is_refused_wherever_it_ends() {
    let rig = Rig::new();
    let whole = plain();
    for eighths in 1..8 {
        let path = rig.put("libckan_worker_plain.so", &whole[..whole.len() * eighths / 8]);
        let refusal = rig.load(&path).unwrap_err().to_string();
        assert!(refusal.contains("libckan_worker_plain.so: is damaged or incomplete: "), "{refusal}");
        assert_eq!(rig.scan().entries()[0].state(), State::Unreadable);
    }
}

#[test]
fn a_library_without_a_manifest_is_not_opened() {
    let rig = Rig::new();
    let (path, trap) = (rig.path("libother.so"), rig.path("trap"));
    fixtures::build_trap(&path, &trap, None, &[]);
    set_mode(&path, 0o755);
    let text = "DIR/libother.so: not a CKAN worker plugin (it holds no manifest); move it out of the plugin directory";
    rig.refuses(&path, State::NotAPlugin, text);
    assert!(!trap.exists());
}

#[test]
fn a_library_with_a_manifest_but_without_the_symbol_is_no_plugin() {
    let rig = Rig::new();
    let (path, trap) = (rig.path("libtrap.so"), rig.path("trap"));
    fixtures::build_trap(&path, &trap, Some(&manifest("1.0.0")), &[]);
    set_mode(&path, 0o755);
    let refusal = rig.load(&path).unwrap_err();
    rig.says(
        &refusal,
        "DIR/libtrap.so: not a CKAN worker plugin (it has a manifest but no symbol ckan_worker_plugin_v1); move it out \
         of the plugin directory",
    );
    assert!(trap.exists(), "the trap works: this library has been opened");
}

#[test]
fn a_plugin_for_abi_2_is_refused_before_any_of_its_code_runs() {
    let rig = Rig::new();
    let (path, trap) = (rig.path("libtrap.so"), rig.path("trap"));
    fixtures::build_trap(&path, &trap, Some(&manifest("2.0.0")), &[]);
    set_mode(&path, 0o755);
    let text = "plugin 'trap' (DIR/libtrap.so): built for plugin ABI 2.0, this worker speaks 1.0–1.1; use a 'trap' that is \
                built for ABI 1.0–1.1, or a worker that speaks 2.0 (plugin 1.0.0, rustc 1.88.0)";
    rig.refuses(&path, State::Incompatible, text);
    assert!(!trap.exists());

    let real = rig.put("libckan_worker_plain.so", &patched(plain(), br#""abi":"1.1.0""#, br#""abi":"2.0.0""#));
    assert_eq!(rig.load(&real).unwrap_err().code(), "plugin::other-abi");
}

#[test]
fn a_library_that_needs_what_is_missing_is_refused_in_plain_words() {
    let rig = Rig::new();
    let (path, trap) = (rig.path("libtrap.so"), rig.path("trap"));
    let check = |more: &[&str], text| {
        fixtures::build_trap(&path, &trap, Some(&manifest("1.0.0")), more);
        set_mode(&path, 0o755);
        rig.says(&rig.load(&path).unwrap_err(), text);
        assert!(!trap.exists());
    };
    check(
        &["-DMISSING=geo_init"],
        "DIR/libtrap.so: cannot be opened, the symbol geo_init is missing; rebuild it with all the libraries that it \
         needs linked in",
    );
    let library = rig.path("libgeo-base.so");
    fixtures::build_trap(&library, &trap, None, &["-Wl,-soname,libgeo-base.so"]);
    check(
        &["-Wl,--no-as-needed", library.to_str().unwrap()],
        "DIR/libtrap.so: cannot be opened, the library libgeo-base.so, which it needs, is missing; install the package \
         that holds it, or build the plugin without it",
    );
}

#[test]
fn a_plugin_for_another_processor_is_refused() {
    let rig = Rig::new();
    let mut bytes = plain();
    // `e_machine`: aarch64, or x86-64 where the tests run on that.
    let (machine, word) = if cfg!(target_arch = "aarch64") { (62, "x86_64") } else { (183, "aarch64") };
    bytes[18] = machine;
    let path = rig.put("libckan_worker_plain.so", &bytes);
    let ours = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let text = format!(
        "DIR/libckan_worker_plain.so: is for {word}, this worker is {ours}; get or build the plugin for {ours}"
    );
    rig.refuses(&path, State::Incompatible, &text);
}

#[test]
fn a_plugin_whose_types_are_not_those_of_its_abi_version_is_refused() {
    let rig = Rig::new();
    let path = rig.put("libckan_worker_liar.so", &fs::read(&fixtures::built().liar).unwrap());
    let refusal = rig.load(&path).unwrap_err();
    rig.says(
        &refusal,
        "plugin 'liar' (DIR/libckan_worker_liar.so): type layout differs although both say ABI 1.1 (field \
         'Reply.flags': expected u32, found u64); this is a bug in the plugin's build, see the full report with: worker \
         plugins inspect --abi DIR/libckan_worker_liar.so",
    );
    let mut report = Vec::new();
    plugins::inspect_abi(&Entry::at(&path, Options::default()), &mut report).unwrap();
    assert!(report.len() > 1000, "the whole comparison is there for those who ask");
}

#[test]
fn a_pipe_named_like_a_library_is_not_waited_for() {
    let rig = Rig::new();
    let path = rig.path("libpipe.so");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let text = "DIR/libpipe.so: is not a regular file; build or copy it again, or move it out of the plugin directory";
    rig.refuses(&path, State::Unreadable, text);
}

#[test]
fn a_file_that_everybody_may_write_to_is_refused() {
    let rig = Rig::new();
    let path = rig.put("libckan_worker_plain.so", &plain());
    set_mode(&path, 0o666);
    let text = "DIR/libckan_worker_plain.so: writable by everybody (mode 0666), so its code is not loaded; chmod go-w";
    rig.refuses(&path, State::Refused, text);
}

#[test]
fn a_directory_that_everybody_may_write_to_is_refused_unless_the_operator_allows_it() {
    let rig = Rig::new();
    let path = rig.put("libckan_worker_plain.so", &plain());
    set_mode(rig.dir.path(), 0o777);
    let text = "DIR/: writable by everybody (mode 0777), so code from it is not loaded; chmod go-w, or set \
                plugins.allow_insecure_dir = true";
    rig.refuses(&path, State::Refused, text);
    rig.says(&rig.scan().problems()[0], text);

    let allowed = Entry::at(&path, Options { allow_insecure_dir: true });
    assert!(load(&allowed, &rig.copies).is_ok());
}

#[test]
fn a_link_out_of_the_directory_leads_only_to_places_that_nobody_else_can_change() {
    let (rig, elsewhere) = (Rig::new(), Rig::new());
    let target = elsewhere.put("libckan_worker_plain.so", &plain());
    let link = rig.path("libckan_worker_plain.so");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(rig.load(&link).is_ok());
    set_mode(elsewhere.dir.path(), 0o777);
    assert_eq!(rig.load(&link).unwrap_err().code(), "plugin::insecure-dir");
}

#[test]
fn a_file_with_damage_anywhere_in_its_tables_is_looked_at_without_harm() {
    let rig = Rig::new();
    let whole = plain();
    let tables = (0..1024).step_by(3).chain((whole.len() - 2048..whole.len()).step_by(17));
    for at in tables {
        let mut bytes = whole.clone();
        bytes[at] = !bytes[at];
        let path = rig.put("libckan_worker_plain.so", &bytes);
        let entry = Entry::at(&path, Options::default());
        assert!(entry.refusal().is_none_or(|refusal| refusal.to_string().contains("libckan_worker_plain.so")));
    }
}
