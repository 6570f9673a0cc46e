//! The host's own log, on standard error.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, OutputArgs};

/// Starts it. `RUST_LOG` decides what is written, if it is set.
pub fn start(output: &OutputArgs) {
    // lapin calls it an error when the broker says that a queue is not there yet; what matters of it we say ourselves.
    let level = match (output.quiet, output.verbose) {
        (true, _) => "error,lapin=off",
        (false, 0) => "info,lapin=off",
        (false, 1) => "debug,lapin=info,hyper=info,reqwest=info",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let is_terminal = stderr().is_terminal();
    let as_text = match output.log_format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // It is already there when a program that embeds the host has started one: that one is used.
    let _ = if as_text {
        lines.with_ansi(output.color.wanted(is_terminal)).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
}
