//! Pythons with a package from PyPI in them, each made once for this target directory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::wait::FileLock;
use crate::{debian, places};

/// The Python of an environment in which `package` is, as pip names it with its version: `requests==2.*`.
///
/// # Panics
/// There is no Python and none can be installed, or pip says no.
pub fn with(package: &str) -> PathBuf {
    let name = package.split(['=', '<', '>', '~']).next().unwrap_or(package);
    let venv = places::scratch().join(format!("{name}-venv"));
    let python = venv.join("bin/python");
    let _lock = FileLock::acquire(&places::scratch().join(format!("{name}-venv.lock")));
    if venv.join("complete").exists() {
        return python;
    }
    crate::say(&format!("making a Python environment with {name}, once"));
    if !can_make_environments() {
        debian::ensure(Path::new("/usr/bin/python3"), "python3").unwrap_or_else(|problem| panic!("{problem}"));
        let ensurepip = PathBuf::from(format!("/usr/lib/{}/ensurepip", python_version()));
        debian::ensure(&ensurepip, "python3-venv").unwrap_or_else(|problem| panic!("{problem}"));
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]));
    File::create(venv.join("complete")).expect("the environment is ours");
    python
}

/// A script of the rig's, by its name.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

fn can_make_environments() -> bool {
    let mut command = Command::new("python3");
    command.args(["-c", "import ensurepip, venv"]).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// As in `python3.11`.
fn python_version() -> String {
    let script = "import sys; print('python%d.%d' % sys.version_info[:2], end='')";
    let output = Command::new("python3").args(["-c", script]).output().expect("python3 was just installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
}
