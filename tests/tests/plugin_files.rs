//! Plugin files as they come: good ones, older and newer ones, and everything that is refused.

#[path = "plugin_files/fixtures.rs"]
mod fixtures;
#[path = "plugin_files/test_host.rs"]
mod test_host;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ckan_worker::catalog::{
    Catalog, Entry, LoadedLibrary, Manifest, Options, Place, PrivateCopies, Rank, Refusal, State, load,
};
use ckan_worker::command::plugins;
use ckan_worker_abi::Status;
use ckan_worker_plugin::prelude::{Host, NoSettings, Notification, Outcome, Result, Worker};
use tempfile::TempDir;
use test_host::TestHost;

/// A plugin directory.
struct Rig {
    dir: TempDir,
    copies: PrivateCopies,
    host: &'static TestHost,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { dir, copies: PrivateCopies::new().unwrap(), host: TestHost::leaked() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into the directory.
    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        set_mode(&path, 0o644);
        path
    }

    fn scan(&self) -> Catalog {
        Catalog::scan(&[self.dir.path().to_owned()], Options::default())
    }

    fn load(&self, path: &Path) -> std::result::Result<LoadedLibrary, Refusal> {
        load(&Entry::at(path, Options::default()), &self.copies)
    }

    /// Expects the same refusal, with this state and text, from looking at the file and from loading it.
    #[track_caller]
    fn refuses(&self, path: &Path, state: State, text: &str) {
        let catalog = self.scan();
        let entry = catalog.entries().iter().find(|entry| entry.path() == path).unwrap();
        assert_eq!(entry.state(), state);
        self.says(entry.refusal().unwrap(), text);
        self.says(&self.load(path).unwrap_err(), text);
    }

    #[track_caller]
    fn says(&self, refusal: &Refusal, text: &str) {
        assert_eq!(refusal.to_string().replace(self.dir.path().to_str().unwrap(), "DIR"), text);
    }

    /// Makes a worker, has it work, and ends it; answers what it logged.
    #[track_caller]
    fn works(&self, library: &LoadedLibrary) -> Vec<String> {
        let ended = self.path("ended");
        let worker = self.host.create(library, &serde_json::json!({"ended": &ended}).to_string()).unwrap();
        let reply = self.host.consume(&worker, "new", br#"{"id":"a"}"#);
        assert_eq!((reply.status, reply.message.as_str()), (Status::SKIPPED, r#"{"id":"a"}"#));
        assert!(!ended.exists());
        drop(worker);
        assert!(ended.exists(), "dropping the worker destroys it");
        self.host.lines()
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn plain() -> Vec<u8> {
    fs::read(&fixtures::built().plain).unwrap()
}

/// Puts `new` in the place of the only `old`.
fn patched(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let places: Vec<usize> = (0..bytes.len() - old.len()).filter(|&at| bytes[at..].starts_with(old)).collect();
    let [at] = places[..] else { panic!("found at {places:?}") };
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

const MANIFEST: &str = r#"{"name":"trap","version":"1.0.0","abi":"ABI","target":"TARGET","rustc":"1.88.0"}"#;

fn manifest(abi: &str) -> String {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    MANIFEST.replace("ABI", abi).replace("TARGET", &target)
}

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
    let library = rig.load(&fixtures::built().newer).unwrap();
    assert_eq!(library.manifest().abi, "1.1.0");
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
fn a_text_file_is_no_library() {
    let rig = Rig::new();
    let path = rig.put("libnotes.so", b"to be done: everything");
    let text =
        "DIR/libnotes.so: is not a library at all; build or copy it again, or move it out of the plugin directory";
    rig.refuses(&path, State::Unreadable, text);
    assert_eq!(rig.scan().find("notes").unwrap_err().code(), "plugin.unreadable");
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
    let text = "plugin 'trap' (DIR/libtrap.so): built for plugin ABI 2.0, this worker speaks 1.0; use a 'trap' that is \
                built for ABI 1.0, or a worker that speaks 2.0 (plugin 1.0.0, rustc 1.88.0)";
    rig.refuses(&path, State::Incompatible, text);
    assert!(!trap.exists());

    let real = rig.put("libckan_worker_plain.so", &patched(plain(), br#""abi":"1.0.0""#, br#""abi":"2.0.0""#));
    assert_eq!(rig.load(&real).unwrap_err().code(), "plugin.other-abi");
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
    let path = rig.path("libckan_worker_liar.so");
    fs::copy(&fixtures::built().liar, &path).unwrap();
    set_mode(&path, 0o755);
    let refusal = rig.load(&path).unwrap_err();
    rig.says(
        &refusal,
        "plugin 'liar' (DIR/libckan_worker_liar.so): type layout differs although both say ABI 1.0 (field \
         'Reply.flags': expected u32, found u64); this is a bug in the plugin's build, see the full report with: worker \
         plugins inspect --abi DIR/libckan_worker_liar.so",
    );
    let mut report = Vec::new();
    plugins::inspect_abi(&Entry::at(&path, Options::default()), &mut report).unwrap();
    assert!(report.len() > 1000, "the whole comparison is there for those who ask");
}

#[test]
fn two_files_with_one_name_are_both_refused_and_the_others_are_not() {
    let rig = Rig::new();
    rig.put("liba.so", &plain());
    rig.put("libb.so", &plain());
    fs::copy(&fixtures::built().newer, rig.path("libc.so")).unwrap();
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
    assert_eq!(rig.load(&link).unwrap_err().code(), "plugin.insecure-dir");
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
    let library = rig.load(&fixtures::built().plain).unwrap();
    let refusal = rig.host.create(&library, r#"{"x":"1","y":"2"}"#).unwrap_err();
    let Refusal::Settings { problems: Some(problems), .. } = refusal else { panic!("{refusal}") };
    let keys: Vec<_> = problems.settings.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["x", "y"]);
}

#[test]
fn a_panic_while_consuming_comes_back_as_a_reply_and_is_logged() {
    let rig = Rig::new();
    let library = rig.load(&fixtures::built().plain).unwrap();
    let worker = rig.host.create(&library, "{}").unwrap();
    let reply = rig.host.consume(&worker, "panic", b"");
    assert_eq!((reply.status, reply.message.as_str()), (Status::PANIC, "no more"));
    assert_eq!(rig.host.lines()[1], "1 panic: no more at a place");
    assert_eq!(rig.host.consume(&worker, "new", b"x").status, Status::SKIPPED);
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
    assert_eq!(json["plugins"][0]["manifest"]["abi"], "1.0.0");
    assert_eq!(json["plugins"][1]["reason"]["code"], "plugin.unreadable");
}

#[test]
fn plugins_inspect_says_all_that_stands_in_the_file() {
    let rig = Rig::new();
    let entry = Entry::at(&rig.put("libckan_worker_plain.so", &plain()), Options::default());
    let mut text = Vec::new();
    let exit = plugins::inspect_text(&entry, &mut text).unwrap();
    assert_eq!(exit, ckan_worker::exit::Exit::Done);
    let text = String::from_utf8(text).unwrap();
    for line in ["name          plain", "routing keys  Package", "operations    new, panic", "plugin ABI    1.0.0"] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    let mut json = Vec::new();
    plugins::inspect_json(&entry, &mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["plugin"]["format"], &json["plugin"]["state"]), (&"ELF".into(), &"usable".into()));
}
