//! Installs Debian packages that tests need, if it may.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::places;
use crate::wait::FileLock;

/// A Debian package, and how to see whether what is needed of it is there.
pub struct Need {
    /// Its name.
    pub package: &'static str,
    /// Whether what is needed is there, from whatever source.
    pub is_there: fn() -> bool,
}

/// Makes sure that `file`, which comes with the Debian `package`, is there; installs the package if it may.
///
/// A service that the package brings is not of our business: one that ran before goes on, and a new one is kept from
/// starting where Debian lets us say so.
///
/// # Errors
/// The one command to type.
pub fn ensure(file: &Path, package: &str) -> Result<(), String> {
    let missing = || if file.exists() { Vec::new() } else { vec![package] };
    install(&missing, &file.display().to_string())
}

/// As [`ensure`], for several packages at once; `purpose` says what needs them.
///
/// # Errors
/// The one command to type.
pub fn ensure_all(needs: &[Need], purpose: &str) -> Result<(), String> {
    let missing = || needs.iter().filter(|need| !(need.is_there)()).map(|need| need.package).collect();
    install(&missing, &format!("what {purpose} needs"))
}

/// Installs what `missing` names, until it names nothing.
fn install<'a>(missing: &dyn Fn() -> Vec<&'a str>, what: &str) -> Result<(), String> {
    if missing().is_empty() {
        return Ok(());
    }
    // Several test binaries, or several checkouts, may be at it.
    let _lock = FileLock::acquire(&std::env::temp_dir().join("worker-tests-apt.lock"));
    let packages = missing().join(" ");
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}");
    let Some(sudo) = privilege() else {
        return Err(format!("{what} is missing, and installing it needs root; type: {by_hand}"));
    };
    crate::say(&format!("{what} is missing; installing it: {by_hand}"));
    let first = packages.split(' ').next().unwrap_or_default();
    let log = places::scratch().join(format!("apt-{first}.log"));
    let script = format!("{HOLD_SERVICES}\napt-get update && apt-get install -y --no-install-recommends {packages}");
    let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = output.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    let status = Command::new(sudo[0])
        .args(&sudo[1..])
        .args(["DEBIAN_FRONTEND=noninteractive", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status();
    match status {
        Ok(status) if status.success() && missing().is_empty() => Ok(()),
        Ok(status) => Err(format!("installing {packages} failed ({status}), see {}; type: {by_hand}", log.display())),
        Err(error) => Err(format!("cannot run {}: {error}; type: {by_hand}", sudo[0])),
    }
}
/// Keeps new services from starting while the packages are unpacked, unless somebody already decides on that.
const HOLD_SERVICES: &str = "set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\\nexit 101\\n' > $policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi";

/// How to run a command as root, or `None`.
fn privilege() -> Option<&'static [&'static str]> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return None;
    }
    if rustix::process::geteuid().is_root() {
        return Some(&["env"]);
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    sudo.is_ok_and(|status| status.success()).then_some(&["sudo", "-n", "env"])
}
