//! A private RabbitMQ node: its files, its ports, its start.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::amqp;
use crate::debian;
use crate::process::output_of;
use crate::wait::{FileLock, eventually};

/// Where the packages of Debian, and of most others, put the program that needs no particular user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How long a node may take to start; seven seconds are usual on two idle cores.
const START_MAX: Duration = Duration::from_secs(90);

/// How long a node that runs may take to let somebody in who asks it something.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How to reach a node; also what one test binary leaves for the next one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    pub dir: PathBuf,
    pub amqp_port: u16,
    dist_port: u16,
    epmd_port: u16,
    name: String,
    cookie: String,
}

impl Node {
    /// The node that somebody else with this directory has started, if it still answers.
    pub fn running_in(dir: &Path) -> Option<Self> {
        let node: Self = serde_json::from_slice(&fs::read(dir.join("node.json")).ok()?).ok()?;
        amqp::answers(&node.url("%2f")).then_some(node)
    }

    /// Starts a node that lives as long as the process `owner`; the child is its guardian.
    ///
    /// # Errors
    /// What to install, or where to read why the node did not start.
    pub fn start(dir: &Path, owner: u32) -> Result<(Self, Child), String> {
        debian::ensure(Path::new(SERVER), "rabbitmq-server")?;
        let mut problem = String::new();
        // Between finding a port free and taking it, somebody else may have taken it.
        for attempt in 1..=3 {
            let node = Self::new(dir, attempt);
            node.write_files().map_err(|error| format!("cannot write to {}: {error}", dir.display()))?;
            let mut guardian = node.spawn(owner).map_err(|error| format!("cannot run bash: {error}"))?;
            let mut ended = false;
            let url = node.url("%2f");
            eventually(START_MAX, || {
                ended = guardian.try_wait().is_ok_and(|status| status.is_some());
                ended || amqp::answers(&url)
            });
            if !ended && amqp::answers(&url) {
                node.leave_for_others().map_err(|error| format!("cannot write to {}: {error}", dir.display()))?;
                return Ok((node, guardian));
            }
            end_guardian(&mut guardian);
            problem = format!("the private RabbitMQ node did not start, see {}", node.log_dir().display());
        }
        Err(problem)
    }

    fn new(dir: &Path, attempt: u32) -> Self {
        let [amqp_port, dist_port, epmd_port] = free_ports();
        let unique = format!("{}-{attempt}-{amqp_port}", std::process::id());
        Self {
            dir: dir.to_owned(),
            amqp_port,
            dist_port,
            epmd_port,
            name: format!("worker-tests-{unique}@localhost"),
            cookie: format!("WORKERTESTS{}", unique.replace('-', "X")),
        }
    }

    /// The address of a virtual host, with the node's own `guest`.
    pub fn url(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.amqp_port)
    }

    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Runs `rabbitmqctl` against this node and answers what it prints; it takes a second.
    ///
    /// # Errors
    /// What it complains of.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let program = Path::new(SERVER).with_file_name("rabbitmqctl");
        let mut command = Command::new(program);
        command.args(["--quiet", "--node", &self.name]).args(arguments).stdin(Stdio::null());
        output_of(self.in_its_world(&mut command))
    }

    /// Evaluates an Erlang expression in the node and answers its value; it takes some milliseconds.
    ///
    /// # Errors
    /// What the node complains of.
    pub fn eval(&self, expression: &str) -> Result<String, String> {
        let Some(erl_call) = erl_call() else { return self.ctl(&["eval", expression]) };
        // One after another: the node turns away the second of two callers, who have the same name.
        let _lock = FileLock::acquire(&self.dir.join("eval.lock"));
        let script = self.dir.join("eval.erl");
        fs::write(&script, format!("{expression}\n")).map_err(|error| format!("{}: {error}", script.display()))?;
        let mut answer = Err(String::new());
        // When several ask at the same moment, some are not let in; nothing has been evaluated then.
        eventually(CONNECT_MAX, || {
            answer = self.call(&erl_call, &script);
            !answer.as_ref().is_err_and(|problem| problem.contains("failed to connect"))
        });
        let answer = answer?;
        let _ = fs::remove_file(&script);
        match answer.trim().strip_prefix("{ok, ").and_then(|rest| rest.strip_suffix('}')) {
            Some(value) => Ok(value.trim().to_owned()),
            None => Err(format!("the node answers {} to: {expression}", answer.trim())),
        }
    }

    fn call(&self, erl_call: &Path, script: &Path) -> Result<String, String> {
        let input = fs::File::open(script).map_err(|error| format!("{}: {error}", script.display()))?;
        let mut command = Command::new(erl_call);
        command.args(["-sname", &self.name, "-c", &self.cookie, "-e"]).stdin(input);
        output_of(self.in_its_world(&mut command))
    }

    fn write_files(&self) -> std::io::Result<()> {
        for part in ["data", "log", "home"] {
            fs::create_dir_all(self.dir.join(part))?;
        }
        let cookie = self.dir.join("home/.erlang.cookie");
        let _ = fs::remove_file(&cookie);
        fs::write(&cookie, &self.cookie)?;
        // Erlang refuses a cookie that others may read.
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        fs::write(self.dir.join("enabled_plugins"), "[].\n")?;
        fs::write(self.dir.join("env.conf"), "")?;
        fs::write(
            self.dir.join("rabbitmq.conf"),
            format!("listeners.tcp.local = 127.0.0.1:{}\ndisk_free_limit.absolute = 50MB\n", self.amqp_port),
        )
    }

    fn spawn(&self, owner: u32) -> std::io::Result<Child> {
        let mut command = Command::new("bash");
        command.args(["-c", include_str!("guardian.sh"), "guardian.sh", &owner.to_string(), SERVER]).arg(&self.dir);
        // Ctrl-C in the terminal ends the tests; the guardian sees that, and ends the node in good order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.in_its_world(&mut command).spawn()
    }

    /// Everything that keeps this node, and its tools, apart from any other on the machine.
    fn in_its_world<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
        command
            .env("HOME", self.dir.join("home"))
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", self.dir.join("env.conf"))
            .env("RABBITMQ_CONFIG_FILE", self.dir.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", self.dir.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.dir.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", self.dir.join("data"))
            .env("RABBITMQ_LOG_BASE", self.log_dir())
            .env("RABBITMQ_PID_FILE", self.dir.join("data/pid"))
            // No busy waiting: the tests need the cores.
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", format!("{loopback} +sbwt none +sbwtdcpu none +sbwtdio none"))
            .env("RABBITMQ_CTL_ERL_ARGS", loopback)
    }

    fn leave_for_others(&self) -> std::io::Result<()> {
        fs::write(self.dir.join("node.json"), serde_json::to_vec(self)?)
    }
}

/// Asks a guardian to kill its node and to start it again; answers whether it is dead.
pub fn ask_guardian_to_restart(guardian: &Child, url: &str) -> bool {
    signal(guardian, Signal::USR1);
    eventually(CONNECT_MAX, || !amqp::answers(url))
}

fn signal(guardian: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(guardian.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself; it has not been waited for, so the pid is still its own.
        let _ = kill_process(pid, signal);
    }
}

/// Asks a guardian to end its node, and waits until it has.
pub fn end_guardian(guardian: &mut Child) {
    signal(guardian, Signal::TERM);
    let _ = guardian.wait();
}

/// Erlang's small program that talks to a node; beside the runtime, at a place with a version in it.
fn erl_call() -> Option<PathBuf> {
    let plain = PathBuf::from("/usr/bin/erl_call");
    if plain.exists() {
        return Some(plain);
    }
    let library = fs::read_dir("/usr/lib/erlang/lib").ok()?;
    let found = library.filter_map(Result::ok).map(|entry| entry.path().join("bin/erl_call"));
    found.into_iter().find(|path| path.exists())
}

/// Ports on loopback that are free now, all different.
fn free_ports() -> [u16; 3] {
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"));
    held.each_ref().map(|listener| listener.local_addr().expect("it is bound").port())
}
