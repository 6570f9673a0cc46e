//! How to talk: flags that every command has.

use clap::{ArgAction, Args, ValueEnum};

/// How to talk.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// How results are printed on standard output
    #[arg(long, value_enum, default_value_t, global = true, hide_short_help = true)]
    pub format: Format,
    /// How log lines are printed on standard error
    #[arg(long, value_enum, default_value_t, global = true, hide_short_help = true)]
    #[arg(env = "CKAN_WORKER_LOG_FORMAT", hide_env_values = true)]
    pub log_format: LogFormat,
    /// Say more; repeat for still more
    #[arg(short, long, action = ArgAction::Count, global = true, hide_short_help = true)]
    pub verbose: u8,
    /// Print errors only
    #[arg(long, global = true, conflicts_with = "verbose", hide_short_help = true)]
    pub quiet: bool,
    /// Colour: when it is printed on a terminal, always, or never
    #[arg(long, value_enum, default_value_t, global = true, hide_short_help = true)]
    pub color: Color,
    /// Never ask; answer yes to every confirmation
    #[arg(short, long, global = true, hide_short_help = true)]
    pub yes: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it, and a text here would stand in the help")]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// How log lines are printed; by default as text on a terminal, else as JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it, and a text here would stand in the help")]
pub enum LogFormat {
    #[default]
    Auto,
    Text,
    Json,
}

/// Whether colour is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it, and a text here would stand in the help")]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether to use colour where output goes to a terminal or not. `NO_COLOR`, set to anything, means no.
    pub fn wanted(self, is_terminal: bool) -> bool {
        let unwanted = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self {
            Self::Auto => is_terminal && !unwanted(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}
