//! The binary `worker`, as an operator runs it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait::{eventually, eventually_some};
use crate::{built, watch};

/// A `worker` with a directory, a configuration file and captured output of its own; ended when dropped.
pub struct WorkerProcess {
    dir: TempDir,
    child: Option<Child>,
    ended: Option<ExitStatus>,
    command: String,
}

impl WorkerProcess {
    /// Prepares a directory with the given text as `worker.cfg`. Nothing runs yet.
    pub fn with_config(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("worker-test-").tempdir().expect("there is a temporary directory");
        fs::write(dir.path().join("worker.cfg"), config).expect("the directory is ours");
        Self { dir, child: None, ended: None, command: String::new() }
    }

    /// Its directory: the working directory and `$HOME` of the process.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `worker -c worker.cfg ARGUMENTS…`. Output goes on where an earlier run of this worker ended.
    pub fn start<A: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = A>) {
        let config = self.path("worker.cfg");
        let mut command = self.command();
        command.arg("-c").arg(config).args(arguments);
        self.spawn(command);
    }

    /// The command `worker`, without arguments, for everything that [`start`](Self::start) does not offer.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&built().worker);
        command.current_dir(self.dir()).env("HOME", self.dir()).env("NO_COLOR", "1");
        // What configures the machine's own worker must not reach this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CKAN_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a command made by [`command`](Self::command).
    pub fn spawn(&mut self, mut command: Command) {
        assert!(!self.is_running(), "this worker is already running");
        command.stdin(Stdio::null()).stdout(self.output("stdout")).stderr(self.output("stderr"));
        self.command = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        watch::begin(&child);
        (self.child, self.ended) = (Some(child), None);
    }

    /// Its pid.
    ///
    /// # Panics
    /// It was never started.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the worker was started").id()
    }

    /// Whether it runs now.
    pub fn is_running(&mut self) -> bool {
        self.child.is_some() && self.try_wait().is_none()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.text("stdout")
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.text("stderr")
    }

    /// Waits until a line of its output, on either stream, contains `text`, and answers the line.
    ///
    /// # Panics
    /// No such line came in time, or the process ended without it; the output stands in the message.
    pub fn wait_for_line(&mut self, text: &str, within: Duration) -> String {
        let mut ended = false;
        let found = eventually_some(within, || {
            // Look after asking whether it has ended, so that the last line is not missed.
            ended = !self.is_running();
            let output = self.stderr() + &self.stdout();
            let line = output.lines().find(|line| line.contains(text)).map(str::to_owned);
            if line.is_some() || ended { Some(line) } else { None }
        });
        found.flatten().unwrap_or_else(|| {
            let how = if ended { "before it ended" } else { "in time" };
            panic!("no line with {text:?} came {how} ({within:?})\n{}", self.report())
        })
    }

    /// Asks it to stop, as systemd does.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Ends it without a chance to tidy up, as the kernel does when memory is short.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        if !self.is_running() {
            return;
        }
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a running process has a pid");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal the worker {pid:?}: {error}"));
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// It has not in time; the output stands in the message.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        assert!(
            eventually(within, || self.try_wait().is_some()),
            "the worker has not ended within {within:?}\n{}",
            self.report()
        );
        self.ended.expect("it has just ended")
    }

    /// How it ended, if it has.
    fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            let child = self.child.as_mut().expect("the worker was started");
            self.ended = child.try_wait().expect("it is our child");
            if self.ended.is_some() {
                watch::end(child);
            }
        }
        self.ended
    }

    /// What somebody wants to see of a worker that did not do as expected.
    pub fn report(&self) -> String {
        format!("--- {}\n--- stdout\n{}--- stderr\n{}---", self.command, self.stdout(), self.stderr())
    }

    fn output(&self, name: &str) -> File {
        let file = File::options().create(true).append(true).open(self.path(name));
        file.expect("the directory is ours")
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
            // Killed, it ends at once.
            eventually(Duration::from_secs(5), || self.try_wait().is_some());
        }
        if std::thread::panicking() && !self.command.is_empty() {
            // Printed the ordinary way: libtest shows it with the failed test.
            eprintln!("{}", self.report());
        }
    }
}

/// Runs a command to its end and answers what it prints.
///
/// # Errors
/// What it complains of.
pub(crate) fn output_of(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{program} failed ({}): {}{}", output.status, stdout.trim(), stderr.trim()))
}
