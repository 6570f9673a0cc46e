//! What the process says when it ends.

use std::process::ExitCode;

/// How a command ended, as its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The command worked, but something it looked at failed.
    Failed = 1,
    /// The command line was wrong.
    Usage = 2,
    /// An input file has bad data.
    BadData = 65,
    /// RabbitMQ, CKAN or the system did not give what is needed.
    Unavailable = 69,
    /// A bug in the worker itself.
    Internal = 70,
    /// CKAN or RabbitMQ refused the credentials.
    Refused = 77,
    /// The configuration or a plugin is wrong; restarting will not help.
    Config = 78,
    /// Stopped by Ctrl-C before the work in hand was finished.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
