//! The web server of a site: gunicorn, with its workers in a process group of their own.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::environment::{Environment, script};
use super::ini::Place;
use crate::wait::eventually;
use crate::watch;

/// How long gunicorn may take to end requests that it works on; what is left then it gives up itself.
const STOP_MAX: Duration = Duration::from_secs(40);

/// A gunicorn that runs; killed when dropped.
pub struct Server(Child);

impl Server {
    /// Starts one; whether it answers is for the caller to ask. Its output goes on in the file `log`.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn spawn(
        environment: &Environment,
        place: &Place,
        port: u16,
        threads: u32,
        log: &Path,
    ) -> Result<Self, String> {
        let output = || File::options().create(true).append(true).open(log);
        let files = output().and_then(|first| Ok((first, output()?)));
        let (stdout, stderr) = files.map_err(|error| format!("{}: {error}", log.display()))?;
        let pid_file = place.dir.join("gunicorn.pid");
        // A killed one has left it, and its pid may be somebody else's by now.
        let _ = std::fs::remove_file(&pid_file);
        let mut gunicorn = environment.command("gunicorn");
        gunicorn.args(["wsgi:application", "--worker-class", "gthread", "--workers", "2"]);
        gunicorn.args(["--threads", &threads.to_string(), "--bind", &format!("127.0.0.1:{port}")]);
        gunicorn.args(["--keep-alive", "75", "--timeout", "120", "--graceful-timeout", "30"]);
        gunicorn.arg("--chdir").arg(&place.dir).arg("--pythonpath").arg(script(""));
        // By this file the guardian finds it, if nobody else is left to end it.
        gunicorn.arg("--pid").arg(pid_file);
        gunicorn.env("CKAN_INI", place.ini()).env("HOME", &place.dir).env("PYTHONDONTWRITEBYTECODE", "1");
        let child = gunicorn.process_group(0).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
        let child = child.map_err(|error| format!("cannot run {gunicorn:?}: {error}"))?;
        watch::begin_group(&child);
        Ok(Self(child))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("it is our child")
    }

    /// Lets it answer what it works on, and then end; answers whether it did in time.
    pub fn stop(mut self) -> bool {
        if self.ended().is_none() {
            let _ = kill_process(self.pid(), Signal::TERM);
        }
        eventually(STOP_MAX, || self.ended().is_some())
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process has a pid")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The group goes by the pid of its first, which is nobody else's until that has been waited for.
        if self.ended().is_none() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.0.wait();
        }
        watch::end_group(&self.0);
    }
}
