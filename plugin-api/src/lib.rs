#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod error;
mod host;
mod manifest;
mod notification;
mod outcome;
mod settings;
mod worker;

#[doc(hidden)]
pub mod entity;
#[doc(hidden)]
pub mod glue;

pub use error::{Class, Error, Result};
pub use host::{Ckan, Fetched, Host, Level};
pub use manifest::Manifest;
pub use notification::Notification;
pub use outcome::Outcome;
#[doc(hidden)]
pub use settings::nearest;
pub use settings::{SettingProblem, SettingProblems, read_settings};
pub use worker::{NoSettings, Worker};

/// For settings: `#[derive(Deserialize)] #[serde(crate = "ckan_worker_plugin::serde")]`.
pub use serde;
pub use serde_json::{self, Value, json};

/// Everything a worker is written with, in one `use`.
pub mod prelude {
    pub use crate::{
        Error, Fetched, Host, Level, NoSettings, Notification, Outcome, Result, Value, Worker, export_worker, json,
    };
    pub use serde::{Deserialize, Serialize};
}
