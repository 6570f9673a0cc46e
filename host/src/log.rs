//! The host's own log, on standard error.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, LogFormat};

/// What is written, from the least to the most; each `-v` is a step. lapin calls it an error when the broker says that a
/// queue is not there yet; what matters of it we say ourselves.
const LEVELS: [&str; 4] =
    ["warn,worker=off,lapin=off", "info,lapin=off", "debug,lapin=info,hyper=info,reqwest=info", "trace"];

/// Starts it. `RUST_LOG` decides what is written, if it is set.
pub fn start(cli: &Cli) {
    let output = &cli.output;
    // The demo prints what the worker finds; to log it, too, would drown that.
    let is_demo = matches!(cli.command, Some(Command::Demo { .. }));
    let step = (usize::from(!is_demo) + usize::from(output.verbose)).min(LEVELS.len() - 1);
    let level = if output.quiet { "error,lapin=off" } else { LEVELS[step] };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let is_terminal = stderr().is_terminal();
    let as_text = match output.log_format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // Where a line cannot be written its error cannot either, and to try would end the thread that logs in a panic.
        .log_internal_errors(false);
    // It is already there when a program that embeds the host has started one: that one is used.
    let _ = if as_text {
        lines.with_ansi(output.color.wanted(is_terminal)).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
}
