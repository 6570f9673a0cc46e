//! A Python environment with a version of CKAN in it, made once for this target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Version, needs};
use crate::places;
use crate::process::output_of;
use crate::wait::FileLock;

/// A version of CKAN, installed.
pub struct Environment {
    pub version: Version,
    /// Where everything about it is kept from one run to the next.
    pub dir: PathBuf,
}

impl Environment {
    /// Finds or makes it; making takes a minute or more.
    ///
    /// # Errors
    /// Where to read why it could not be made.
    pub fn of(version: Version) -> Result<Self, String> {
        let dir = places::scratch().join(format!("ckan-{version}"));
        let environment = Self { version, dir };
        let _lock = environment.lock();
        match fs::read_to_string(environment.dir.join("complete")) {
            Ok(packages) if packages == environment.packages().join(" ") => {}
            Ok(_) => {
                environment.install()?;
                environment.complete()?;
            }
            Err(_) => {
                crate::say(&format!("installing CKAN {version} from PyPI, once; this takes minutes"));
                environment.make()?;
            }
        }
        Ok(environment)
    }

    /// Where the environment itself is.
    pub fn venv(&self) -> PathBuf {
        self.dir.join("venv")
    }

    /// The settings as CKAN makes them, with secrets; every site's are made from them.
    pub fn plain_ini(&self) -> PathBuf {
        self.dir.join("plain.ini")
    }

    /// A program of the environment's, on its own settings and nobody else's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.venv().join("bin").join(program));
        command.stdin(Stdio::null());
        without_foreign_settings(&mut command);
        command
    }

    /// Keeps others from changing the environment.
    pub fn lock(&self) -> FileLock {
        FileLock::acquire(&self.dir.with_file_name(format!("ckan-{}.lock", self.version)))
    }

    /// Installs what pip is told to.
    ///
    /// # Errors
    /// What pip said last, and where it says everything.
    pub fn pip(&self, arguments: &[&str]) -> Result<(), String> {
        let log = self.dir.join("pip.log");
        let output = File::options().create(true).append(true).open(&log);
        let output = output.map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        let mut pip = self.command("python");
        pip.args(["-m", "pip", "--disable-pip-version-check", "install"]).args(arguments);
        let status = pip.stdout(output).stderr(errors).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("pip install {} failed ({status}), see {}", arguments.join(" "), log.display())),
            Err(error) => Err(format!("cannot run {pip:?}: {error}")),
        }
    }

    fn make(&self) -> Result<(), String> {
        let write = |error: std::io::Error| format!("cannot write to {}: {error}", self.dir.display());
        // What an interrupted run has left is of no use.
        let _ = fs::remove_dir_all(&self.dir);
        fs::create_dir_all(&self.dir).map_err(write)?;
        let python = needs::python().ok_or("there is no Python from 3.9 to 3.13 in /usr/bin")?;
        let mut command = Command::new(python);
        command.args(["-m", "venv"]).arg(self.venv()).stdin(Stdio::null());
        without_foreign_settings(&mut command);
        output_of(&mut command)?;
        // Later ones have no pkg_resources, which these CKANs import.
        self.pip(&["setuptools<80", "wheel"])?;
        self.install()?;
        let mut command = self.command("ckan");
        output_of(command.args(["generate", "config"]).arg(self.plain_ini()))?;
        self.complete()
    }

    /// Says, last of all, that everything is there.
    fn complete(&self) -> Result<(), String> {
        let file = self.dir.join("complete");
        fs::write(&file, self.packages().join(" ")).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// What is installed from PyPI.
    fn packages(&self) -> [String; 3] {
        [format!("ckan[requirements]=={}", self.version), "gunicorn".to_owned(), "pytest".to_owned()]
    }

    fn install(&self) -> Result<(), String> {
        let packages = self.packages();
        self.pip(&packages.each_ref().map(String::as_str))
    }
}

/// CKAN takes settings from the environment, too, and Python modules.
fn without_foreign_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CKAN_") || text.starts_with("PYTHON") || text == "VIRTUAL_ENV" {
            command.env_remove(&name);
        }
    }
}

/// A script of the rig's for CKAN, by its name.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ckan").join(name)
}
