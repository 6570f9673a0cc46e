//! Why a plugin is not used: what is wrong, where, why, and what to do about it.

use std::path::PathBuf;

use ckan_worker_plugin::SettingProblems;
use serde::Serialize;
use thiserror::Error;

use super::binary::Glibc;

/// Why a plugin is not used.
#[derive(Debug, Clone, Error)]
pub enum Refusal {
    /// No file provides a worker of this name.
    #[error(
        "no worker plugin is called '{name}'{}; {}; put its file into one of the plugin directories ({searched}) or \
         correct the name",
        did_you_mean(nearest.as_deref()),
        installed_text(installed)
    )]
    Unknown { name: String, nearest: Option<String>, installed: Vec<String>, searched: String },

    /// Two files that nothing decides between provide the same name.
    #[error(
        "plugin name '{name}' is provided twice: {} ({first_version}) and {} ({second_version}); remove one, or set \
         path in [worker:{name}]",
        first.display(),
        second.display()
    )]
    Duplicate { name: String, first: PathBuf, first_version: Box<str>, second: PathBuf, second_version: Box<str> },

    /// A file in an earlier directory provides the same name.
    #[error(
        "{}: not used, because {} provides '{name}' too and its directory comes first; remove one, or set path in \
         [worker:{name}]",
        path.display(),
        winner.display()
    )]
    Shadowed { name: String, path: PathBuf, winner: PathBuf },

    /// A directory that was asked for cannot be read.
    #[error("{}: the plugin directory cannot be read ({problem}); create it, or correct plugin_dir", dir.display())]
    UnreadableDirectory { dir: PathBuf, problem: String },

    /// Others could put code into the directory.
    #[error(
        "{}/: {problem}, so code from it is not loaded; {remedy}, or set plugins.allow_insecure_dir = true",
        dir.display()
    )]
    InsecureDirectory { dir: PathBuf, problem: String, remedy: &'static str },

    /// Others could change the file.
    #[error("{}: {problem}, so its code is not loaded; {remedy}", path.display())]
    InsecureFile { path: PathBuf, problem: String, remedy: &'static str },

    /// The file cannot be read, or is no whole library.
    #[error("{}: {problem}; build or copy it again, or move it out of the plugin directory", path.display())]
    Unreadable { path: PathBuf, problem: String },

    /// A library, but nothing in it is for this worker.
    #[error("{}: not a CKAN worker plugin ({what}); move it out of the plugin directory", path.display())]
    NotAPlugin { path: PathBuf, what: &'static str },

    /// Another processor, system or C library.
    #[error(
        "{}: is for {theirs}, this worker is {ours}; get or build the plugin for {ours}",
        path.display()
    )]
    OtherTarget { path: PathBuf, theirs: String, ours: String },

    /// The system's glibc is too old.
    #[error(
        "{}: needs glibc {needs} or later, this system has {has}; rebuild it on an older base (cargo zigbuild --target \
         {target}.2.28)",
        path.display()
    )]
    OldGlibc { path: PathBuf, needs: Glibc, has: Glibc, target: String },

    /// Another major version of the ABI.
    #[error(
        "plugin '{name}' ({}): built for plugin ABI {theirs}, this worker speaks {ours}; use a '{name}' that is built \
         for ABI {ours}, or a worker that speaks {theirs} ({built_as})",
        path.display()
    )]
    OtherAbi { name: String, path: PathBuf, theirs: String, ours: String, built_as: Box<str> },

    /// The types are not those that the version promises.
    #[error(
        "plugin '{name}' ({}): type layout differs although both say ABI {abi} ({difference}); this is a bug in the \
         plugin's build, see the full report with: worker plugins inspect --abi {}",
        path.display(),
        path.display()
    )]
    OtherLayout { name: String, path: PathBuf, abi: String, difference: String, report: Box<str> },

    /// The exported header is not one.
    #[error(
        "plugin '{name}' ({}): its exported header is not valid ({problem}); rebuild it with ckan-worker-plugin and \
         export_worker!",
        path.display()
    )]
    BadHeader { name: String, path: PathBuf, problem: String },

    /// The private copy could not be made.
    #[error("{}: no private copy could be made in {} ({problem}); make room there, or set TMPDIR", path.display(), dir.display())]
    NoCopy { path: PathBuf, dir: PathBuf, problem: String },

    /// The system could not open it.
    #[error("{}: cannot be opened, {problem}; {remedy}", path.display())]
    CannotOpen { path: PathBuf, problem: String, remedy: String },

    /// The worker does not take its settings.
    #[error("worker '{name}'{}: its settings are wrong: {message}; correct [worker:{name}]", from(path.as_ref()))]
    Settings { name: String, path: Option<PathBuf>, message: String, problems: Option<SettingProblems> },

    /// The worker could not be made.
    #[error("worker '{name}'{}: could not be made: {}; correct the cause and start again", from(path.as_ref()), said(message))]
    Create { name: String, path: Option<PathBuf>, code: String, message: String },

    /// The worker panicked while it was made.
    #[error(
        "worker '{name}'{}: panicked while it was made: {message}; this is a bug in the plugin, report it to its author",
        from(path.as_ref())
    )]
    Panicked { name: String, path: Option<PathBuf>, message: String },
}

/// What a plugin file is worth, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum State {
    /// It can be loaded, as far as can be said without running it.
    #[serde(rename = "usable")]
    Usable,
    /// A plugin, but not for this worker or this system.
    #[serde(rename = "incompatible")]
    Incompatible,
    /// Not readable, not whole, or no library.
    #[serde(rename = "unreadable")]
    Unreadable,
    /// A library without anything for this worker.
    #[serde(rename = "not a plugin")]
    NotAPlugin,
    /// Others could change it.
    #[serde(rename = "refused")]
    Refused,
    /// Another file provides the same name.
    #[serde(rename = "duplicate")]
    Duplicate,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Incompatible => "incompatible",
            Self::Unreadable => "unreadable",
            Self::NotAPlugin => "not a plugin",
            Self::Refused => "refused",
            Self::Duplicate => "duplicate",
        }
    }
}

impl Refusal {
    /// The word for machines, as in `plugin.other-abi`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "plugin::unknown",
            Self::Duplicate { .. } => "plugin::duplicate",
            Self::Shadowed { .. } => "plugin::shadowed",
            Self::UnreadableDirectory { .. } => "plugin::unreadable-dir",
            Self::InsecureDirectory { .. } => "plugin::insecure-dir",
            Self::InsecureFile { .. } => "plugin::insecure-file",
            Self::Unreadable { .. } => "plugin::unreadable",
            Self::NotAPlugin { .. } => "plugin::not-a-plugin",
            Self::OtherTarget { .. } => "plugin::other-target",
            Self::OldGlibc { .. } => "plugin::old-glibc",
            Self::OtherAbi { .. } => "plugin::other-abi",
            Self::OtherLayout { .. } => "plugin::other-layout",
            Self::BadHeader { .. } => "plugin::bad-header",
            Self::NoCopy { .. } => "plugin::no-copy",
            Self::CannotOpen { .. } => "plugin::cannot-open",
            Self::Settings { .. } => "worker::settings",
            Self::Create { .. } => "worker::create",
            Self::Panicked { .. } => "worker::panicked",
        }
    }

    /// What a file that is refused for this is worth.
    pub fn state(&self) -> State {
        match self {
            Self::Duplicate { .. } | Self::Shadowed { .. } => State::Duplicate,
            Self::InsecureDirectory { .. } | Self::InsecureFile { .. } => State::Refused,
            Self::NotAPlugin { .. } | Self::Unknown { .. } => State::NotAPlugin,
            Self::Unreadable { .. } | Self::UnreadableDirectory { .. } | Self::NoCopy { .. } => State::Unreadable,
            Self::OtherTarget { .. }
            | Self::OldGlibc { .. }
            | Self::OtherAbi { .. }
            | Self::OtherLayout { .. }
            | Self::BadHeader { .. }
            | Self::CannotOpen { .. }
            | Self::Settings { .. }
            | Self::Create { .. }
            | Self::Panicked { .. } => State::Incompatible,
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"))
}

fn installed_text(installed: &[String]) -> String {
    if installed.is_empty() { "none is installed".to_owned() } else { format!("installed: {}", installed.join(", ")) }
}

fn from(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| format!(" ({})", path.display()))
}

fn said(message: &str) -> &str {
    if message.is_empty() { "it gave no reason" } else { message }
}
