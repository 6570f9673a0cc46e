//! A program that runs to its end, with all that it starts in a process group of its own.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::wait::eventually_some;
use crate::watch;

/// Runs it, its output in the file `log`, and answers how it ended and what it wrote.
///
/// # Errors
/// It cannot be run, or has not ended in time: then the whole group is killed.
pub fn to_its_end(mut command: Command, log: &Path, within: Duration) -> Result<(ExitStatus, String), String> {
    let files = File::create(log).and_then(|first| Ok((first.try_clone()?, first)));
    let (stdout, stderr) = files.map_err(|error| format!("{}: {error}", log.display()))?;
    let child = command.process_group(0).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
    let mut group = Group(child.map_err(|error| format!("cannot run {command:?}: {error}"))?);
    watch::begin_group(&group.0);
    let status = eventually_some(within, || group.0.try_wait().expect("it is our child"));
    drop(group);
    let output = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let status = status.ok_or_else(|| format!("it has not ended within {within:?}\n{output}"))?;
    Ok((status, output))
}

/// A child that leads a process group; whoever of it is left is killed when this is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // The group goes by the pid of its first, which is nobody else's until that has been waited for.
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let _ = self.0.wait();
        }
        watch::end_group(&self.0);
    }
}
