//! What the operator asks for, in the section `[worker:archive]`.

use std::path::PathBuf;

use ckan_worker_plugin::Hash;
use ckan_worker_plugin::prelude::*;

use crate::filter::{Filter, Names};
use crate::store::{Audience, Store};

/// The settings as they are written.
#[derive(Debug, Deserialize)]
pub struct Settings {
    /// Whether copies are kept, or links only looked at.
    #[serde(default)]
    mode: Mode,
    /// Where the copies are kept; made if it is not there.
    #[serde(alias = "ckanext-archiver.archive_dir")]
    dir: Option<PathBuf>,
    /// Where the copies of private datasets are kept.
    private_dir: Option<PathBuf>,
    /// Whether private datasets are looked at.
    private: Option<bool>,
    /// The longest file that is kept.
    #[serde(default = "default_bytes_max", alias = "ckanext-archiver.max_content_length")]
    bytes_max: u64,
    /// The shortest file that is not an error.
    #[serde(default = "default_bytes_min")]
    bytes_min: u64,
    /// Which hash is made of a copy.
    #[serde(default)]
    hash: Hash,
    /// What is done with files that were uploaded to CKAN.
    uploads: Option<Uploads>,
    /// What becomes of the copies of what is deleted.
    #[serde(default)]
    deleted: Deleted,
    /// Where the copies are served.
    #[serde(alias = "ckanext-archiver.cache_url_root")]
    cache_url_root: Option<String>,
    #[serde(default)]
    organizations: Vec<String>,
    #[serde(default)]
    exclude_organizations: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    exclude_groups: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    exclude_tags: Vec<String>,
    #[serde(default)]
    formats: Vec<String>,
    #[serde(default)]
    exclude_formats: Vec<String>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    exclude_hosts: Vec<String>,
    #[serde(rename = "ckanext-archiver.archive_cloud")]
    archive_cloud: Option<bool>,
    #[serde(rename = "ckanext-archiver.user_agent_string")]
    user_agent_string: Option<String>,
    #[serde(rename = "ckanext-archiver.verify_https")]
    verify_https: Option<bool>,
}

fn default_bytes_max() -> u64 {
    50_000_000
}

fn default_bytes_min() -> u64 {
    1
}

/// Whether copies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are.
    #[default]
    Archive,
    /// Links are looked at, and nothing is kept.
    Check,
}

/// What is done with files that were uploaded to CKAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uploads {
    /// Nothing: CKAN has them.
    Skip,
    /// Their links are looked at.
    Check,
    /// What is done with all others.
    Archive,
}

/// What becomes of the copies of what is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deleted {
    /// They are removed.
    #[default]
    Remove,
    /// They stay.
    Keep,
}

/// What is done, once the settings are known to be possible.
#[derive(Debug)]
pub struct Policy {
    /// Whether copies are kept.
    pub mode: Mode,
    /// The longest file that is kept.
    pub bytes_max: u64,
    /// The shortest file that is not an error.
    pub bytes_min: u64,
    /// Which hash is made of a copy.
    pub hash: Hash,
    /// What is done with files that were uploaded to CKAN.
    pub uploads: Uploads,
    /// What becomes of the copies of what is deleted.
    pub deleted: Deleted,
    /// Where the copies are served, without a slash at the end.
    pub cache_url_root: Option<String>,
    /// Whether private datasets are looked at.
    pub private: bool,
    /// What is left out.
    pub filter: Filter,
}

/// Where copies are kept: none where nothing is.
pub struct Rooms {
    /// Those of public datasets.
    pub public: Option<Store>,
    /// Those of private ones.
    pub private: Option<Store>,
}

impl Rooms {
    /// Changes nothing in them from now on, if `is_dry`.
    pub fn be_dry(&self, is_dry: bool) {
        for room in [&self.public, &self.private].into_iter().flatten() {
            room.be_dry(is_dry);
        }
    }
}

impl Settings {
    /// What is to be done, and where.
    ///
    /// # Errors
    /// Settings that do not go together, or a directory that cannot be written to.
    pub fn read(self) -> Result<(Policy, Rooms)> {
        self.refuse_the_hosts()?;
        let rooms = self.rooms()?;
        let uploads = match (self.uploads, self.archive_cloud) {
            (Some(uploads), _) => uploads,
            (None, Some(false)) => Uploads::Check,
            (None, _) => Uploads::Archive,
        };
        let policy = Policy {
            mode: self.mode,
            bytes_max: self.bytes_max,
            bytes_min: self.bytes_min,
            hash: self.hash,
            uploads,
            deleted: self.deleted,
            cache_url_root: self.cache_url_root.map(|root| root.trim_end_matches('/').to_owned()),
            private: self.private.unwrap_or(rooms.private.is_some()),
            filter: Filter {
                organizations: Names::new(self.organizations, self.exclude_organizations),
                groups: Names::new(self.groups, self.exclude_groups),
                tags: Names::new(self.tags, self.exclude_tags),
                formats: Names::new(self.formats, self.exclude_formats),
                hosts: Names::new(self.hosts, self.exclude_hosts),
            },
        };
        Ok((policy, rooms))
    }

    /// Some of ckanext-archiver's settings are for the host to keep, for all workers.
    fn refuse_the_hosts(&self) -> Result<()> {
        if self.user_agent_string.is_some() {
            return Err(refusal(
                "ckanext-archiver.user_agent_string: the host sends the requests: \
                 set `fetch.user_agent` in the section [worker] instead",
            ));
        }
        if self.verify_https == Some(false) {
            return Err(refusal(
                "ckanext-archiver.verify_https: the host sends the requests, and always verifies certificates: \
                 remove this setting; the reason of a broken link says what is wrong with a certificate",
            ));
        }
        Ok(())
    }

    fn rooms(&self) -> Result<Rooms> {
        if self.mode == Mode::Check {
            // What was kept before is still taken back when it becomes private or is deleted.
            let there = |dir: &Option<PathBuf>| dir.clone().filter(|dir| dir.is_dir());
            return open(there(&self.dir), there(&self.private_dir));
        }
        if self.dir.is_none() {
            return Err(refusal("dir: this setting is missing; only `mode = check` needs none"));
        }
        if self.private == Some(true) && self.private_dir.is_none() {
            return Err(refusal(
                "private: the copies of private datasets need a directory of their own: \
                 set `private_dir`, which no web server may serve to everybody",
            ));
        }
        open(self.dir.clone(), self.private_dir.clone())
    }
}

fn open(dir: Option<PathBuf>, private_dir: Option<PathBuf>) -> Result<Rooms> {
    let public = dir.map(|dir| Store::open("dir", &dir, Audience::Everybody)).transpose()?;
    let private = private_dir.map(|dir| Store::open("private_dir", &dir, Audience::Group)).transpose()?;
    if private.as_ref().zip(public.as_ref()).is_some_and(|(private, public)| private.overlaps(public)) {
        return Err(refusal("private_dir: it must be apart from `dir`, which is for everybody to read"));
    }
    Ok(Rooms { public, private })
}

fn refusal(message: &str) -> Error {
    Error::permanent(message)
}
