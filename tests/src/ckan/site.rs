//! One test's own CKAN.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::ini::Place;
use super::server::Server;
use super::{Ckan, Version, call, extension, free_port, prepared, run};
use crate::WorkerProcess;
use crate::wait::eventually;

/// How long CKAN may take to answer after its start; four seconds are usual on two idle cores.
const START_MAX: Duration = Duration::from_secs(90);

/// How many ports to try.
const PORTS_MAX: u32 = 3;

/// How much of its log a failed test shows.
const SHOWN_LINES: usize = 60;

/// A [`Site`] that is still being described.
pub struct SiteBuilder {
    ckan: &'static Ckan,
    name: String,
    plugins: Vec<String>,
    settings: Vec<(String, String)>,
    threads: u32,
}

impl SiteBuilder {
    pub(super) fn new(ckan: &'static Ckan, name: &str) -> Self {
        Self { ckan, name: name.to_owned(), plugins: Vec::new(), settings: Vec::new(), threads: 4 }
    }

    /// Enables a plugin, with its tables; `worker` is installed from this checkout.
    #[must_use]
    pub fn plugin(mut self, name: &str) -> Self {
        self.plugins.push(name.to_owned());
        self
    }

    /// Sets a value in the settings file.
    #[must_use]
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// How many threads each of the two processes of the web server has; 4 unless it is said.
    #[must_use]
    pub fn threads(mut self, threads: u32) -> Self {
        self.threads = threads;
        self
    }

    /// Makes it and waits until it answers.
    ///
    /// # Panics
    /// It does not start; the message says why, or where to read it.
    pub fn start(self) -> Site {
        let name = self.name.clone();
        self.try_start().unwrap_or_else(|problem| panic!("CKAN for {name}: {problem}"))
    }

    fn try_start(self) -> Result<Site, String> {
        let (bed, environment) = (self.ckan.bed, &self.ckan.environment);
        let is_ours = self.plugins.iter().any(|plugin| plugin == extension::PLUGIN);
        let mark = if is_ours { extension::ensure(environment)? } else { String::new() };
        let template = prepared::with_plugins(bed, environment, &self.plugins, &mark)?;
        let place = Place::claim(bed)?;
        bed.sql("postgres", &format!("CREATE DATABASE {} TEMPLATE {template}", place.name()))?;
        let (ini, venv, log) = (place.ini(), environment.venv(), place.dir.join("ckan.log"));
        let (ckan, name, threads, server) = (self.ckan, self.name, self.threads, Mutex::new(None));
        let (port, url) = (0, String::new());
        let mut site = Site { ckan, name, place, port, url, ini, venv, log, threads, server };
        let mut started = Ok(());
        // Between finding a port free and taking it, somebody else may have taken it.
        for _ in 0..PORTS_MAX {
            site.port = free_port();
            site.url = format!("http://127.0.0.1:{}", site.port);
            let own = [("ckan.site_url", site.url.clone()), ("ckan.plugins", self.plugins.join(" "))];
            let mut settings: Vec<_> = own.map(|(key, value)| (key.to_owned(), value)).into();
            settings.extend_from_slice(&self.settings);
            site.place.write_ini(bed, environment, &site.place.name(), &settings)?;
            started = site.try_start();
            if started.is_ok() || !site.log().contains("Connection in use") {
                break;
            }
        }
        started.map(|()| site)
    }
}

/// A CKAN of one test's own, with its own database, index, settings and web server; ended and deleted when dropped.
///
/// It has a sysadmin `admin`, a user `editor` who is nobody in particular, an organization `test-org` and a group
/// `test-group`, and no dataset.
pub struct Site {
    ckan: &'static Ckan,
    name: String,
    place: Place,
    port: u16,
    url: String,
    ini: PathBuf,
    venv: PathBuf,
    log: PathBuf,
    threads: u32,
    server: Mutex<Option<Server>>,
}

impl Site {
    /// Its address, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.ckan.version
    }

    /// The token of the sysadmin.
    pub fn token(&self) -> &str {
        &self.ckan.tokens.admin
    }

    /// The token of a user who is no sysadmin and in no organization.
    pub fn editor_token(&self) -> &str {
        &self.ckan.tokens.editor
    }

    /// Its settings file.
    pub fn ini(&self) -> &Path {
        &self.ini
    }

    /// The Python environment that it runs in.
    pub fn venv(&self) -> &Path {
        &self.venv
    }

    /// What it has written to its log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Calls an action as the sysadmin.
    ///
    /// # Panics
    /// It fails; the answer stands in the message.
    #[track_caller]
    pub fn call(&self, action: &str, parameters: &Value) -> Value {
        self.try_call(action, parameters).unwrap_or_else(|(status, error)| panic!("{action}: {status} {error}"))
    }

    /// Calls an action as the sysadmin, where it may fail.
    ///
    /// # Errors
    /// The status and the error as CKAN says it; 0 and why if no answer came.
    pub fn try_call(&self, action: &str, parameters: &Value) -> Result<Value, (u16, Value)> {
        self.call_as(self.token(), action, parameters)
    }

    /// As [`try_call`](Self::try_call), with somebody's token.
    ///
    /// # Errors
    /// As there.
    pub fn call_as(&self, token: &str, action: &str, parameters: &Value) -> Result<Value, (u16, Value)> {
        call::action(&self.url, token, action, parameters)
    }

    /// Stops it: what it works on is still answered.
    ///
    /// # Panics
    /// It does not stop in time.
    pub fn stop(&self) {
        if let Some(server) = self.server().take() {
            assert!(server.stop(), "CKAN for {} has not stopped in time\n{}", self.name, self.last_lines());
        }
    }

    /// Starts it again, at the same address, and waits until it answers.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(&self) {
        self.try_start().unwrap_or_else(|problem| panic!("CKAN for {}: {problem}", self.name));
    }

    /// Kills it in the middle of what it works on.
    pub fn kill(&self) {
        drop(self.server().take());
    }

    /// Runs the command `ckan` on its settings, and waits for its end.
    pub fn ckan(&self, arguments: &[&str]) -> Output {
        let mut ckan = self.ckan.environment.command("ckan");
        ckan.arg("-c").arg(&self.ini).args(arguments);
        ckan.output().unwrap_or_else(|error| panic!("cannot run {ckan:?}: {error}"))
    }

    /// Runs the command `ckan` on its settings, as in `["worker", "relay"]`; it ends with the test.
    pub fn spawn_ckan(&self, arguments: &[&str]) -> WorkerProcess {
        let mut ckan = self.ckan.environment.command("ckan");
        ckan.arg("-c").arg(&self.ini).args(arguments).env("PYTHONUNBUFFERED", "1");
        let mut process = WorkerProcess::with_config("");
        process.spawn(ckan);
        process
    }

    /// A program of its Python environment, with nobody else's settings and without its own.
    pub fn command(&self, program: &str) -> Command {
        self.ckan.environment.command(program)
    }

    /// Runs such a program to its end; answers how it ended and what it wrote.
    ///
    /// # Panics
    /// It takes longer than `within`.
    pub fn run(&self, command: Command, within: Duration) -> (ExitStatus, String) {
        let ended = run::to_its_end(command, &self.place.dir.join("run.log"), within);
        ended.unwrap_or_else(|problem| panic!("beside CKAN for {}: {problem}", self.name))
    }

    /// Has its PostgreSQL database do something, and answers what comes of it, a line for each row.
    ///
    /// # Panics
    /// PostgreSQL complains.
    pub fn sql(&self, statement: &str) -> String {
        self.ckan.bed.sql(&self.place.name(), statement).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Closes each connection to its database; it may connect again.
    pub fn cut_database(&self) {
        let name = self.place.name();
        let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        self.ckan.bed.sql("postgres", &cut).unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// Tells its index how to answer from now on: `update_status`, `update_delay_ms`, `select_status`,
    /// `select_delay_ms`.
    pub fn solr_control(&self, control: &Value) {
        self.tell_index("__control", control);
    }

    /// Has its index look as if Solr had stopped: each connection is closed without an answer.
    pub fn stop_solr(&self) {
        self.solr_control(&json!({"gone": true}));
    }

    /// Has its index answer again, with what it held.
    pub fn start_solr(&self) {
        self.solr_control(&json!({"gone": false}));
    }

    fn tell_index(&self, what: &str, body: &Value) {
        let url = format!("{}/{what}", self.ckan.bed.solr_url(&self.place.name()));
        let answer = call::post(&url, None, body);
        assert!(matches!(answer, Ok((200, _))), "the stand-in for Solr answers {answer:?}");
    }

    fn try_start(&self) -> Result<(), String> {
        let mut running = self.server();
        assert!(running.is_none(), "CKAN for {} is already running", self.name);
        let mut server = Server::spawn(&self.ckan.environment, &self.place, self.port, self.threads, &self.log)?;
        let mut ended = None;
        let is_up = eventually(START_MAX, || {
            ended = server.ended();
            ended.is_some() || call::is_up(&self.url)
        });
        if let Some(status) = ended {
            return Err(format!("it ended ({status})\n{}", self.last_lines()));
        }
        if !is_up {
            return Err(format!("it does not answer\n{}", self.last_lines()));
        }
        *running = Some(server);
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // Printed the ordinary way: libtest shows it with the failed test.
            eprintln!("--- CKAN {} for {}\n{}\n---", self.version(), self.name, self.last_lines());
        }
        let name = self.place.name();
        // Whatever cannot be deleted now is deleted with the bed.
        let _ = self.ckan.bed.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
        let _ = call::post(&format!("{}/__forget", self.ckan.bed.solr_url(&name)), None, &json!({}));
        let _ = self.place.clear();
    }
}
