//! What every CKAN stands on: PostgreSQL, Redis and a stand-in for Solr, private and on loopback.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde::{Deserialize, Serialize};

use super::environment::script;
use super::{free_port, needs};
use crate::process::output_of;
use crate::wait::{FileLock, eventually};
use crate::{cargo_test, places};

/// How long a bed may take to be made; two seconds are usual on two idle cores.
const START_MAX: Duration = Duration::from_secs(60);

/// How many sites one run may have; each has a Redis database of its own.
pub const SITES_MAX: u32 = 4096;

/// How to reach a bed; also what one test binary leaves for the next one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bed {
    /// Its files, gone when it ends. In the system's temporary directory: PostgreSQL, which refuses to run as root,
    /// may not get to a target directory.
    pub dir: PathBuf,
    postgres_bin: PathBuf,
    postgres_port: u16,
    redis_port: u16,
    solr_port: u16,
    password: String,
}

impl Bed {
    /// The bed of this test run.
    ///
    /// # Errors
    /// Where to read why it could not be made.
    pub fn shared() -> Result<&'static Self, String> {
        static SHARED: OnceLock<Result<Bed, String>> = OnceLock::new();
        SHARED.get_or_init(Self::find).as_ref().map_err(Clone::clone)
    }

    fn find() -> Result<Self, String> {
        let owner = cargo_test::owner();
        let scratch = places::scratch();
        let left = scratch.join(format!("ckan-bed-{owner}"));
        let _lock = FileLock::acquire(&scratch.join(format!("ckan-bed-{owner}.lock")));
        if let Some(bed) = Self::running(&left) {
            return Ok(bed);
        }
        cargo_test::sweep(&scratch);
        crate::say("starting PostgreSQL, Redis and a stand-in for Solr, for CKAN; they end with this run");
        // Between finding a port free and taking it, somebody else may have taken it.
        for _ in 0..3 {
            let bed = Self::new().map_err(|error| format!("cannot make a directory for CKAN: {error}"))?;
            let write = |error: std::io::Error| format!("cannot write to {}: {error}", left.display());
            fs::create_dir_all(left.join("log")).map_err(write)?;
            let _ = fs::remove_file(left.join("ended"));
            let mut guardian = bed.spawn(owner, &left).map_err(|error| format!("cannot run bash: {error}"))?;
            let mut ended = false;
            eventually(START_MAX, || {
                ended = guardian.try_wait().is_ok_and(|status| status.is_some());
                ended || bed.answers()
            });
            if !ended && bed.answers() {
                // The guardian outlives this test binary: the next one uses the same bed.
                bed.leave_in(&left.join("bed.json")).map_err(write)?;
                return Ok(bed);
            }
            end(&mut guardian);
        }
        Err(format!("what CKAN stands on did not start, see {}", left.join("log").display()))
    }

    /// Writes how it is reached, with its password: for nobody else to read.
    fn leave_in(&self, file: &Path) -> std::io::Result<()> {
        let _ = fs::remove_file(file);
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(file)?;
        file.write_all(&serde_json::to_vec(self).expect("a bed is plain"))
    }

    fn running(left: &Path) -> Option<Self> {
        let bed: Self = serde_json::from_slice(&fs::read(left.join("bed.json")).ok()?).ok()?;
        bed.answers().then_some(bed)
    }

    fn new() -> std::io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("worker-tests-ckan-").tempdir()?.keep();
        // Others may go through it, PostgreSQL's user above all, and see nothing.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
        for part in ["pg", "redis", "sites"] {
            fs::create_dir(dir.join(part))?;
            fs::set_permissions(dir.join(part), fs::Permissions::from_mode(0o700))?;
        }
        let mut bytes = [0; 16];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let bed = Self {
            dir,
            postgres_bin: needs::postgres_bin().unwrap_or_default(),
            postgres_port: free_port(),
            redis_port: free_port(),
            solr_port: free_port(),
            password: crate::sha256(&bytes)[..32].to_owned(),
        };
        fs::write(bed.dir.join("pg/password"), &bed.password)?;
        let redis = format!(
            "bind 127.0.0.1\nport {}\nrequirepass {}\ndatabases {SITES_MAX}\nsave \"\"\nappendonly no\n",
            bed.redis_port, bed.password
        );
        fs::write(bed.dir.join("redis/redis.conf"), redis)?;
        Ok(bed)
    }

    fn spawn(&self, owner: u32, left: &Path) -> std::io::Result<Child> {
        let mut command = Command::new("bash");
        command.args(["-c", include_str!("guardian.sh"), "guardian.sh", &owner.to_string()]);
        command.arg(&self.dir).arg(left).arg(&self.postgres_bin).arg(self.postgres_port.to_string());
        command.arg(needs::python().unwrap_or_default()).arg(script("solr.py")).arg(self.solr_port.to_string());
        if geteuid().is_root() {
            command.args(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        // Ctrl-C in the terminal ends the tests; the guardian sees that, and ends the rest in good order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    fn answers(&self) -> bool {
        let listens = |port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
        };
        listens(self.redis_port) && listens(self.solr_port) && self.sql("postgres", "SELECT 1").is_ok()
    }

    /// The value of `sqlalchemy.url` for a database.
    pub fn database_url(&self, database: &str) -> String {
        format!("postgresql://ckan:{}@127.0.0.1:{}/{database}", self.password, self.postgres_port)
    }

    /// The value of `ckan.redis.url` for a site.
    pub fn redis_url(&self, number: u32) -> String {
        format!("redis://:{}@127.0.0.1:{}/{number}", self.password, self.redis_port)
    }

    /// The address of a core.
    pub fn solr_url(&self, core: &str) -> String {
        format!("http://127.0.0.1:{}/solr/{core}", self.solr_port)
    }

    /// Has PostgreSQL do something, and answers what comes of it, a line for each row.
    ///
    /// # Errors
    /// What PostgreSQL complains of.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String, String> {
        output_of(self.postgres("psql", database).args(["-qtAX", "-v", "ON_ERROR_STOP=1", "-c", statement]))
    }

    /// A program of PostgreSQL's, on a database.
    pub fn postgres(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.postgres_bin.join(program));
        command.args(["-h", "127.0.0.1", "-p", &self.postgres_port.to_string(), "-U", "ckan", "-d", database]);
        command.env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "10").stdin(Stdio::null());
        command
    }

    /// A number that no other site of this run has.
    pub fn claim_number(&self) -> std::io::Result<u32> {
        for number in 1..SITES_MAX {
            match fs::create_dir(self.dir.join(format!("sites/{number}"))) {
                Ok(()) => return Ok(number),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(std::io::Error::other(format!("no more than {SITES_MAX} sites in a run")))
    }
}

fn end(guardian: &mut Child) {
    if let Some(pid) = i32::try_from(guardian.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself; it has not been waited for, so the pid is still its own.
        let _ = kill_process(pid, Signal::TERM);
    }
    let _ = guardian.wait();
}
