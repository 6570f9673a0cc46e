//! Builds what the tests run: the host's binary and every plugin library.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::places::{self, Layout};
use crate::wait::FileLock;

/// Where the things are that cargo built.
#[derive(Debug)]
pub struct Built {
    /// The binary `worker`.
    pub worker: PathBuf,
    /// The directory with the plugin libraries.
    pub plugin_dir: PathBuf,
}

impl Built {
    /// The library of a plugin, by the name of its package: `worker-actor`, `ckan-worker-archive`.
    ///
    /// # Panics
    /// There is none.
    pub fn library(&self, package: &str) -> PathBuf {
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let path = self.plugin_dir.join(format!("{prefix}{}{suffix}", package.replace('-', "_")));
        assert!(path.exists(), "the build made no {}: is {package} among the default-members?", path.display());
        path
    }
}

/// Builds the default members as the running test was built, once in each process, and says where they are.
///
/// # Panics
/// The build fails; what cargo said stands above.
pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let layout = Layout::of_this_test();
        let _lock = FileLock::acquire(&places::scratch().join("build.lock"));
        build(&layout);
        let plugin_dir = layout.artifacts();
        let worker = plugin_dir.join(format!("worker{}", std::env::consts::EXE_SUFFIX));
        assert!(worker.exists(), "the build made no {}", worker.display());
        Built { worker, plugin_dir }
    })
}

fn build(layout: &Layout) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").args(["--quiet", "--profile", layout.profile()]);
    cargo.arg("--manifest-path").arg(places::workspace().join("Cargo.toml"));
    cargo.arg("--target-dir").arg(&layout.target_dir);
    if let Some(triple) = &layout.triple {
        cargo.args(["--target", triple]);
    }
    without_package_environment(&mut cargo);
    let output = cargo.current_dir(places::workspace()).stdin(Stdio::null()).output();
    let output =
        output.unwrap_or_else(|error| panic!("cannot run {}: {error}", Path::new(cargo.get_program()).display()));
    assert!(
        output.status.success(),
        "building what the tests run failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What cargo tells a test about its package would look to build scripts like a reason to run again.
fn without_package_environment(cargo: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_BIN_") {
            cargo.env_remove(&name);
        }
    }
}
