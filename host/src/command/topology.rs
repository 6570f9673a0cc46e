//! `worker topology`: what the queue needs where it is, and how that stands.

use std::io::{self, Write, stdout};

use serde_json::{Value, json};

use super::{configured, exit_of, say};
use crate::cli::{Cli, Format, TopologyCommand};
use crate::config::Config;
use crate::exit::Exit;
use crate::source::topology::{Kind, Part, Standing};
use crate::source::{self, SourceError};

/// Shows what is needed, or how it stands.
pub fn topology(cli: &Cli, command: TopologyCommand) -> Exit {
    let config = match configured(cli) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let is_json = cli.output.format == Format::Json;
    let out = &mut stdout().lock();
    let (shown, exit) = match command {
        TopologyCommand::Explain => {
            let parts = source::parts(&config.queue);
            let shown = if is_json { explain_json(&config, &parts, out) } else { explain(&config, &parts, out) };
            (shown, Exit::Done)
        }
        TopologyCommand::Check => {
            let survey = match survey(&config) {
                Ok(survey) => survey,
                Err(exit) => return exit,
            };
            let is_trouble = survey.iter().any(|(_, standing)| standing.is_trouble());
            let shown = if is_json { check_json(&config, &survey, out) } else { check(&survey, out) };
            (shown, if is_trouble { Exit::Failed } else { Exit::Done })
        }
    };
    match shown {
        // Whoever reads, as in `| head`, has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("error: the result could not be written: {error}"));
            Exit::Failed
        }
        _ => exit,
    }
}

fn survey(config: &Config) -> Result<Vec<(Part, Standing)>, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        say(&format!("error: no runtime to reach the queue with: {error}"));
        Exit::Unavailable
    })?;
    runtime.block_on(source::survey(&config.queue)).map_err(|error: SourceError| {
        say(&format!("error: {error}"));
        exit_of(&error)
    })
}

fn explain(config: &Config, parts: &[Part], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "at {}", config.queue.address)?;
    for part in parts {
        writeln!(out, "\n{} {}", word(part.kind), part.name)?;
        for (name, value) in &part.arguments {
            writeln!(out, "    {name}: {value}")?;
        }
        writeln!(out, "  {}", part.why)?;
        writeln!(out, "  made: {}", part.made)?;
    }
    out.flush()
}

fn explain_json(config: &Config, parts: &[Part], out: &mut impl Write) -> io::Result<()> {
    let parts: Vec<Value> = parts.iter().map(as_json).collect();
    writeln!(out, "{:#}", json!({ "schema": "ckan-worker/1", "address": address(config), "parts": parts }))
}

fn check(survey: &[(Part, Standing)], out: &mut impl Write) -> io::Result<()> {
    for (part, standing) in survey {
        let thing = format!("{} {}", word(part.kind), part.name);
        match standing {
            Standing::There => writeln!(out, "there    {thing}")?,
            Standing::ToBeMade => writeln!(out, "not yet  {thing}: made {}", part.made)?,
            Standing::Missing(why) => writeln!(out, "missing  {thing}: {why}")?,
            Standing::Differs(how) => writeln!(out, "differs  {thing}: used as it is; {how}")?,
            Standing::Unseen(why) => writeln!(out, "unseen   {thing}: {why}")?,
        }
    }
    out.flush()
}

fn check_json(config: &Config, survey: &[(Part, Standing)], out: &mut impl Write) -> io::Result<()> {
    let parts = survey.iter().map(|(part, standing)| {
        let mut part = as_json(part);
        if let (Some(part), Value::Object(standing)) = (part.as_object_mut(), json!(standing)) {
            part.extend(standing);
        }
        part
    });
    let parts: Vec<Value> = parts.collect();
    writeln!(out, "{:#}", json!({ "schema": "ckan-worker/1", "address": address(config), "parts": parts }))
}

/// A part with its arguments as an object.
fn as_json(part: &Part) -> Value {
    let arguments: serde_json::Map<String, Value> =
        part.arguments.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({ "kind": part.kind, "name": part.name, "arguments": arguments, "why": part.why, "made": part.made })
}

fn address(config: &Config) -> String {
    config.queue.address.to_string()
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Exchange => "exchange",
        Kind::Queue => "queue",
        Kind::Binding => "binding",
        Kind::File => "file",
        Kind::Rows => "rows",
    }
}
