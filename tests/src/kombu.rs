//! Publishes with Python's kombu, exactly as a portal's publisher of 2011 did with carrot.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::wait::FileLock;
use crate::{broker, places};

/// Publishes notifications, each the JSON object `{"routing_key", "operation", "payload"}`, to the exchange of `site`
/// and returns when all are with the broker.
///
/// # Panics
/// Python says no; what it says stands in the message.
pub fn publish(url: &str, site: &str, notifications: &[serde_json::Value]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/publish.py");
    let mut command = Command::new(python());
    command.arg(script).arg(url).arg(site).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut input = child.stdin.take().expect("its input was asked for");
    for notification in notifications {
        // If the script has ended, its complaint says more than the broken pipe.
        let _ = writeln!(input, "{notification}");
    }
    drop(input);
    let output = child.wait_with_output().expect("it is our child");
    assert!(output.status.success(), "kombu could not publish:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The Python with kombu in it, made once for this target directory.
fn python() -> PathBuf {
    let venv = places::scratch().join("kombu-venv");
    let python = venv.join("bin/python");
    let _lock = FileLock::acquire(&places::scratch().join("kombu-venv.lock"));
    if venv.join("complete").exists() {
        return python;
    }
    crate::say("making a Python environment with kombu, once");
    if !can_make_environments() {
        broker::ensure_installed(Path::new("/usr/bin/python3"), "python3")
            .unwrap_or_else(|problem| panic!("{problem}"));
        let ensurepip = PathBuf::from(format!("/usr/lib/{}/ensurepip", python_version()));
        broker::ensure_installed(&ensurepip, "python3-venv").unwrap_or_else(|problem| panic!("{problem}"));
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "kombu==5.*"]));
    File::create(venv.join("complete")).expect("the environment is ours");
    python
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
