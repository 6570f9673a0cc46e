#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod ckan;
mod error;
mod host;
mod http;
mod legacy;
mod manifest;
mod notification;
mod outcome;
mod settings;
mod state;
mod text;
mod worker;

#[doc(hidden)]
pub mod entity;
#[doc(hidden)]
pub mod glue;

pub use ckan::{Ckan, Delta, Search, TaskStatus, Upload, Written};
pub use error::{Class, Error, Result};
pub use host::{Fetched, Host, Level};
#[doc(hidden)]
pub use http::WireRequest;
pub use http::{Body, Hash, Method, Redirect, Request, Response, Trace};
pub use legacy::Legacy;
pub use manifest::Manifest;
pub use notification::Notification;
pub use outcome::Outcome;
#[doc(hidden)]
pub use settings::nearest;
pub use settings::{SettingProblem, SettingProblems, read_settings};
pub use state::State;
pub use text::one_line;
pub use worker::{NoSettings, Worker};

/// For settings: `#[derive(Deserialize)] #[serde(crate = "ckan_worker_plugin::serde")]`.
pub use serde;
pub use serde_json::{self, Value, json};

/// Everything a worker is written with, in one `use`.
pub mod prelude {
    pub use crate::{
        Error, Fetched, Host, Level, NoSettings, Notification, Outcome, Result, Value, Worker, export_worker, json,
        one_line,
    };
    pub use serde::{Deserialize, Serialize};
}
