//! `worker dead …`: dead letters are listed, shown, put back on the queue, exported and deleted.
//!
//! Each command goes once through the letters that were there when it began. It can be killed at any moment: a letter
//! that is put back is on the queue before it is no longer here.

mod act;
mod export;
mod filter;
mod shown;

use std::io::{self, stdout};
use std::path::Path;

use super::{configured, exit_of, not_written, runtime, say};
use crate::cli::{Cli, DeadCommand, Format, WhichArgs};
use crate::config::Config;
use crate::exit::Exit;
use crate::source::{self, DeadLetter, Graveyard, SourceError};
use act::Act;
use export::Target;
use filter::{Filter, Matches, Resolved, resolve};
use shown::{Facts, Whole};

/// Why a command could not do what it should.
enum Trouble {
    Queue(SourceError),
    Output(io::Error),
    /// What was said about it already.
    Said(Exit),
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Self::Queue(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Does what is asked for.
pub fn dead(cli: &Cli, command: &DeadCommand) -> Exit {
    let config = match configured(cli) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let done = runtime.block_on(async {
        match command {
            DeadCommand::List { which } => list(cli, &config, which).await,
            DeadCommand::Show { id } => show(cli, &config, id).await,
            DeadCommand::Export { file, which } => export(&config, file, which).await,
            DeadCommand::Retry { act, rate } => act::act(cli, &config, act, Act::Retry(*rate)).await,
            DeadCommand::Drop { act } => act::act(cli, &config, act, Act::Drop).await,
        }
    });
    match done {
        Ok(()) => Exit::Done,
        Err(Trouble::Said(exit)) => exit,
        Err(Trouble::Output(error)) => not_written(&error),
        Err(Trouble::Queue(error)) => {
            say(&format!("error: {error}"));
            exit_of(&error)
        }
    }
}

async fn list(cli: &Cli, config: &Config, which: &WhichArgs) -> Result<(), Trouble> {
    let letters = facts(config, &Filter::of(which)).await?;
    print(cli, config, &letters)
}

fn print(cli: &Cli, config: &Config, letters: &[Facts]) -> Result<(), Trouble> {
    let out = &mut stdout().lock();
    Ok(match cli.output.format {
        Format::Text => shown::table(letters, out),
        Format::Json => shown::document(config, letters, out),
    }?)
}

/// What is known of the letters that are meant.
async fn facts(config: &Config, filter: &Filter) -> Result<Vec<Facts>, Trouble> {
    let mut letters = Vec::new();
    each(config, filter, |letter| {
        letters.push(Facts::of(&letter));
        Ok(())
    })
    .await?;
    Ok(letters)
}

/// Shows each letter that is meant to `look`, and leaves all where they are.
async fn each(
    config: &Config,
    filter: &Filter,
    mut look: impl FnMut(DeadLetter) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let Some(graveyard) = source::graveyard(&config.queue).await? else { return Ok(()) };
    let mut matches = Matches::new(graveyard, filter);
    let seen = async {
        while let Some(letter) = matches.next().await? {
            look(letter)?;
        }
        Ok(())
    };
    let seen = seen.await;
    leave(matches.graveyard).await;
    seen
}

/// Leaves letters that were only looked at: they stay, however that ends.
async fn leave(graveyard: Box<dyn Graveyard>) {
    if let Err(error) = graveyard.close().await {
        tracing::warn!("{error}");
    }
}

async fn show(cli: &Cli, config: &Config, id: &str) -> Result<(), Trouble> {
    let mut filter = Filter::of(&WhichArgs::default());
    narrow(config, &mut filter, &[id.to_owned()]).await?;
    let mut letters = Vec::new();
    each(config, &filter, |letter| {
        letters.push(letter);
        Ok(())
    })
    .await?;
    let out = &mut stdout().lock();
    Ok(match cli.output.format {
        Format::Text => shown::pages(&letters, out),
        Format::Json => shown::document(config, &letters.iter().map(Whole::of).collect::<Vec<_>>(), out),
    }?)
}

/// Narrows `filter` down to the ids that begin so, or says why that cannot be.
async fn narrow(config: &Config, filter: &mut Filter, beginnings: &[String]) -> Result<(), Trouble> {
    if beginnings.is_empty() {
        return Ok(());
    }
    let resolved = match source::graveyard(&config.queue).await? {
        None => Resolved::Unknown(beginnings[0].clone()),
        Some(mut graveyard) => {
            let resolved = resolve(&mut *graveyard, beginnings).await;
            leave(graveyard).await;
            resolved?
        }
    };
    match resolved {
        Resolved::Ids(ids) => {
            filter.ids = Some(ids);
            Ok(())
        }
        Resolved::Unknown(id) => {
            say(&format!("error: no dead letter has an id that begins with {id:?}; `worker dead list` lists them"));
            Err(Trouble::Said(Exit::Failed))
        }
        Resolved::Ambiguous(id, ids) => {
            say(&format!("error: several ids begin with {id:?}, as {}; write more of it", ids.join(", ")));
            Err(Trouble::Said(Exit::Usage))
        }
    }
}

async fn export(config: &Config, path: &Path, which: &WhichArgs) -> Result<(), Trouble> {
    let cannot = |error: io::Error| {
        say(&format!("error: {}: cannot be written: {error}", path.display()));
        Trouble::Said(Exit::Unavailable)
    };
    let mut target = Target::open(path).map_err(cannot)?;
    let mut count = 0_u64;
    {
        let mut out = target.writer();
        each(config, &Filter::of(which), |letter| {
            serde_json::to_writer(&mut out, &Whole::of(&letter)).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
            count += 1;
            Ok(())
        })
        .await?;
        out.flush()?;
    }
    target.finish(path).map_err(cannot)?;
    say(&format!("exported {}; they are still there", counted(count)));
    Ok(())
}

/// So many dead letters, in words.
fn counted(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// The letters of the queue of `config`; nothing to do without any.
async fn graveyard(config: &Config) -> Result<Option<Box<dyn Graveyard>>, Trouble> {
    Ok(source::graveyard(&config.queue).await?)
}
