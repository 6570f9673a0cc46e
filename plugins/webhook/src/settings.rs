//! The section `[worker:webhook]`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ckan_worker_plugin::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::post::Receiver;
use crate::signature::Secrets;
use crate::target::{Place, Target, Targets, address};

const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 1..=300;

/// The section `[worker:webhook]`.
#[derive(Debug, Deserialize)]
pub struct Settings {
    /// What events say they come from: the address of the portal.
    pub source: String,
    targets: Targets,
    /// What posts are signed with, to targets without secrets of their own.
    secret: Option<SecretString>,
    /// A file with that.
    secret_file: Option<PathBuf>,
    /// How long a target may take to answer.
    #[serde(default = "default_timeout_seconds")]
    timeout_seconds: u64,
}

fn default_timeout_seconds() -> u64 {
    10
}

impl Settings {
    /// The targets with all that is needed to post to them.
    ///
    /// # Errors
    /// A value is none that can be used, or a file cannot be read; no secret is repeated.
    pub fn receivers(self) -> Result<Vec<Receiver>> {
        check_source(&self.source)?;
        if !TIMEOUT_SECONDS.contains(&self.timeout_seconds) {
            let message = format!("expected 1 to 300 seconds, got {}", self.timeout_seconds);
            return Err(wrong("timeout_seconds", &message));
        }
        let timeout = Duration::from_secs(self.timeout_seconds);
        let shared = match (&self.secret, &self.secret_file) {
            (None, None) => Secrets::default(),
            (Some(text), None) => Secrets::read(text.expose_secret()).map_err(|reason| wrong("secret", reason))?,
            (None, Some(file)) => secrets_in(file).map_err(|reason| wrong("secret_file", &reason))?,
            (Some(_), Some(_)) => return Err(wrong("secret", "expected this or `secret_file`, got both")),
        };
        let receiver = |target: Target| {
            let wrong = |reason: String| wrong("targets", &format!("{}: {reason}", target.name));
            let secrets = match &target.secret_file {
                Some(file) => secrets_in(file).map_err(wrong)?,
                None => shared.clone(),
            };
            let url = place(&target.place).map_err(wrong)?;
            Ok(Receiver::new(target, url, secrets, timeout))
        };
        self.targets.0.into_iter().map(receiver).collect()
    }
}

fn check_source(source: &str) -> Result<()> {
    let is_plain = |letter: char| letter.is_ascii_graphic() && !"\"<>\\^`{|}".contains(letter);
    if !source.is_empty() && source.chars().all(is_plain) {
        return Ok(());
    }
    Err(wrong("source", "expected an address such as https://data.example, without white space"))
}

fn place(place: &Place) -> Result<Url, String> {
    match place {
        Place::Address(url) => Ok(url.clone()),
        Place::InFile(file) => {
            address(read(file)?.expose_secret().trim()).map_err(|reason| format!("{}: {reason}", file.display()))
        }
    }
}

fn secrets_in(file: &Path) -> Result<Secrets, String> {
    Secrets::read(read(file)?.expose_secret()).map_err(|reason| format!("{}: {reason}", file.display()))
}

fn read(file: &Path) -> Result<SecretString, String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.into()),
        Err(error) => Err(format!("cannot read {}: {error}", file.display())),
    }
}

fn wrong(key: &str, reason: &str) -> Error {
    Error::permanent(format!("{key}: {reason}")).with_code("settings")
}
