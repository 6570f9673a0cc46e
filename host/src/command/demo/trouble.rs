//! Why the demo could not go on, and the exit status for it.

use std::io;

use super::super::{exit_of, fail, say};
use super::WORKER;
use crate::app::AppError;
use crate::catalog::Refusal;
use crate::demo::ShowError;
use crate::diagnostic::Findings;
use crate::exit::Exit;

/// Why the demo could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("the demo brings its own portal, queue and settings; it takes no {0}")]
    NotForDemo(String),
    #[error("{0}")]
    Settings(Findings),
    #[error(
        "the demo runs the real plugin '{WORKER}', but its file is in none of the plugin directories ({searched}); build \
         it with `cargo build`, or name its directory with --plugin-dir"
    )]
    NoPlugin { searched: String },
    #[error("{0}")]
    Refused(Refusal),
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Show(#[from] ShowError),
    #[error("the worker ended before the demo did")]
    HostGone,
}

impl Trouble {
    /// Says it, and answers the exit status.
    pub fn explain(&self) -> Exit {
        if let Self::App(error) = self {
            return fail(error);
        }
        say(&format!("error: {self}"));
        match self {
            Self::NotForDemo(_) => Exit::Usage,
            Self::Settings(_) | Self::NoPlugin { .. } | Self::Refused(_) => Exit::Config,
            Self::System { .. } => Exit::Unavailable,
            Self::Show(ShowError::Queue(error)) => exit_of(error),
            Self::Show(ShowError::Print(_)) => Exit::Failed,
            Self::App(_) | Self::HostGone => Exit::Internal,
        }
    }
}

/// What the system does not give.
pub fn system(what: &'static str) -> impl FnOnce(io::Error) -> Trouble {
    move |source| Trouble::System { what, source }
}
