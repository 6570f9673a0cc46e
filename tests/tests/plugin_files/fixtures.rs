//! Builds the plugins that the tests load, once per run, outside of the workspace and with other flags than the host's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The plugin libraries.
pub struct Built {
    /// Built with the SDK as it is.
    pub plain: PathBuf,
    /// Built with an ABI 1.1 that has a function more at the end of both tables.
    pub newer: PathBuf,
    /// Built with an ABI that says 1.0 and has another type in `Reply`.
    pub liar: PathBuf,
}

/// The plugin libraries, built at the first call.
pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| Built {
        plain: build("plain", &repository().join("plugin-api")),
        newer: build("newer", &copy_of_the_sdk("newer", NEWER)),
        liar: build("liar", &copy_of_the_sdk("liar", LIAR)),
    })
}

/// A file, a text in it, and what to put in its place.
type Edit = (&'static str, &'static str, &'static str);

const NEWER: &[Edit] = &[
    ("abi/Cargo.toml", "version = \"1.1.0\"", "version = \"1.2.0\""),
    (
        "abi/src/lib.rs",
        "    pub recheck: unsafe extern \"C\" fn(*const c_void, RStr<'_>, u64) -> Answer,\n",
        "    pub recheck: unsafe extern \"C\" fn(*const c_void, RStr<'_>, u64) -> Answer,\n\
             /// Counts.\n\
             pub metric_add: unsafe extern \"C\" fn(*const c_void, RStr<'_>, u64),\n",
    ),
    (
        "abi/src/lib.rs",
        "    pub destroy: unsafe extern \"C\" fn(Instance),\n",
        "    pub destroy: unsafe extern \"C\" fn(Instance),\n\
             /// How it is.\n\
             pub health: unsafe extern \"C\" fn(Instance) -> u32,\n",
    ),
    (
        "src/glue.rs",
        "        destroy: Self::destroy,\n",
        "        destroy: Self::destroy,\n        health: Self::health,\n",
    ),
    (
        "src/glue.rs",
        "    unsafe extern \"C\" fn destroy(",
        "    unsafe extern \"C\" fn health(_: Instance) -> u32 {\n        0\n    }\n\n    unsafe extern \"C\" fn destroy(",
    ),
];

const LIAR: &[Edit] =
    &[("abi/src/lib.rs", "    /// Bits for later; 0 in 1.0.\n    pub flags: u32,", "    pub flags: u64,")];

/// Where everything is built; one target directory, so that the dependencies are built once.
fn room() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-files")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Builds the fixture as a crate of its own, with the SDK in `sdk`.
fn build(variant: &str, sdk: &Path) -> PathBuf {
    let dir = room().join(variant);
    let source = repository().join("tests/plugins/fixture/src/lib.rs");
    write(&dir.join("src/lib.rs"), &fs::read_to_string(source).unwrap());
    let manifest = format!(
        "[package]\nname = \"ckan-worker-{variant}\"\nversion = \"3.1.0\"\nedition = \"2024\"\n\n\
         [workspace]\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\nckan-worker-plugin = {{ path = \"{}\" }}\n\n\
         [profile.release]\nopt-level = 1\ncodegen-units = 3\ndebug = false\n",
        sdk.display()
    );
    write(&dir.join("Cargo.toml"), &manifest);
    // The versions of the repository: nothing has to be looked up or fetched.
    let lock = fs::read_to_string(repository().join("Cargo.lock")).unwrap();
    if write(&dir.join("repository.lock"), &lock) {
        write(&dir.join("Cargo.lock"), &lock);
    }
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--offline", "--quiet"])
        .current_dir(&dir)
        .env("CARGO_TARGET_DIR", room().join("target"))
        .env("RUSTFLAGS", "-C target-cpu=native")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .unwrap();
    assert!(output.status.success(), "building {variant}:\n{}", String::from_utf8_lossy(&output.stderr));
    room().join(format!("target/release/libckan_worker_{variant}.so"))
}

/// Copies the SDK, in a workspace of its own, and changes what `edits` say.
fn copy_of_the_sdk(variant: &str, edits: &[Edit]) -> PathBuf {
    let root = room().join(format!("sdk-{variant}"));
    let workspace = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let members = "members = [\"plugin-api\", \"plugin-api/abi\"]";
    let lines = workspace.lines().filter(|line| !line.starts_with("default-members"));
    let lines = lines.map(|line| if line.starts_with("members") { members } else { line });
    write(&root.join("Cargo.toml"), &lines.collect::<Vec<_>>().join("\n"));
    copy_dir(&repository().join("plugin-api"), &root.join("plugin-api"), Path::new(""), edits);
    root.join("plugin-api")
}

fn copy_dir(from: &Path, to: &Path, below: &Path, edits: &[Edit]) {
    for entry in fs::read_dir(from.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(from, to, &path, edits);
            continue;
        }
        let mut text = fs::read_to_string(entry.path()).unwrap();
        for (_, old, new) in edits.iter().filter(|(file, ..)| Path::new(file) == path) {
            assert_eq!(text.matches(old).count(), 1, "{} has not exactly one {old:?}", path.display());
            text = text.replace(old, new);
        }
        write(&to.join(&path), &text);
    }
}

/// Writes a file unless it is as it should be: cargo builds anew what has been written. Answers whether it wrote.
fn write(path: &Path, text: &str) -> bool {
    let stale = fs::read_to_string(path).map_or(true, |present| present != text);
    if stale {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    stale
}

/// Compiles `trap.c` into `library`: opening it writes the file `trap`.
pub fn build_trap(library: &Path, trap: &Path, manifest: Option<&str>, more: &[&str]) {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(library).arg(repository().join("tests/plugins/trap.c"));
    compiler.arg(format!("-DTRAP={:?}", trap.to_str().unwrap()));
    if let Some(manifest) = manifest {
        compiler.arg(format!("-DMANIFEST={manifest:?}"));
    }
    let output = compiler.args(more).output().unwrap();
    assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
}
