//! `worker dead retry` and `worker dead drop`: what changes something asks first.

use std::collections::BTreeSet;
use std::io::{Write as _, stdout};

use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::filter::{Filter, Matches};
use super::{Trouble, counted, each, facts, graveyard, leave, narrow, print};
use crate::cli::{ActArgs, Cli, Format, Rate};
use crate::command::run::is_confirmed;
use crate::command::say;
use crate::config::Config;
use crate::exit::Exit;
use crate::source::{DeadLetter, SourceError};

/// How many letters go together, and how many bytes of bodies at about the same time.
const TOGETHER: usize = 64;
const BYTES_TOGETHER: usize = 8 << 20;

/// What is done to dead letters.
#[derive(Clone, Copy)]
pub enum Act {
    /// They are put back, at most so many in a second.
    Retry(Option<Rate>),
    /// They are deleted.
    Drop,
}

impl Act {
    fn question(self, letters: &str, queue: &str) -> String {
        match self {
            Self::Retry(_) => format!("Put {letters} back on {queue}?"),
            Self::Drop => format!("Delete {letters} of {queue} for good?"),
        }
    }

    fn done(self, letters: &str, queue: &str) -> String {
        match self {
            Self::Retry(_) => format!("put {letters} back on {queue}"),
            Self::Drop => format!("deleted {letters} of {queue}"),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Retry(_) => "replayed",
            Self::Drop => "dropped",
        }
    }
}

/// Does something to the letters that are meant, if that is really wanted.
pub async fn act(cli: &Cli, config: &Config, args: &ActArgs, act: Act) -> Result<(), Trouble> {
    let mut filter = Filter::of(&args.which);
    narrow(config, &mut filter, &args.ids).await?;
    let queue = format!("queue {} at {}", config.queue.name, config.queue.address);
    if args.dry_run {
        let letters = facts(config, &filter).await?;
        print(cli, config, &letters)?;
        say(&format!("would have {}; nothing was changed", act.done(&counted(letters.len() as u64), &queue)));
        return Ok(());
    }
    if !cli.output.yes {
        let count = count(config, &filter).await?;
        if count > 0 && !is_confirmed(&act.question(&counted(count), &queue)) {
            say("nothing was changed; pass --yes to do it without being asked, or --dry-run to see what would be done");
            return Err(Trouble::Said(Exit::Usage));
        }
        // Nobody was asked about what dies meanwhile.
        filter.confirmed = count;
    }
    let mut done = 0;
    let worked = work(config, &filter, act, &mut done).await;
    say(&act.done(&counted(done), &queue));
    if cli.output.format == Format::Json {
        let (name, address) = (&config.queue.name, config.queue.address.to_string());
        let mut result = json!({ "schema": "ckan-worker/1", "queue": name, "address": address });
        result[act.word()] = json!(done);
        writeln!(stdout(), "{result:#}")?;
    }
    let missed = worked?;
    if missed.is_empty() {
        return Ok(());
    }
    let missed = missed.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    say(&format!("error: nothing was done about {missed}: no such dead letter was there, or none that is meant"));
    Err(Trouble::Said(Exit::Failed))
}

/// How many letters are meant.
async fn count(config: &Config, filter: &Filter) -> Result<u64, Trouble> {
    if filter.is_all() {
        let Some(graveyard) = graveyard(config).await? else { return Ok(0) };
        let count = graveyard.count().min(filter.limit());
        leave(graveyard).await;
        return Ok(count);
    }
    let mut count = 0;
    each(config, filter, |_| {
        count += 1;
        Ok(())
    })
    .await?;
    Ok(count)
}

/// Goes through the letters that are meant, some together; counts those that are through, also when it fails. Answers
/// the ids that were asked for and not there.
async fn work(config: &Config, filter: &Filter, act: Act, done: &mut u64) -> Result<BTreeSet<String>, Trouble> {
    let Some(graveyard) = graveyard(config).await? else { return Ok(filter.ids.clone().unwrap_or_default()) };
    let mut matches = Matches::new(graveyard, filter);
    let worked = work_through(&mut matches, act, done).await;
    let missed = matches.missed();
    let closed = matches.graveyard.close().await;
    if let (Err(_), Err(error)) = (&worked, &closed) {
        say(&format!("error: {error}"));
    }
    worked.and(closed)?;
    Ok(missed)
}

async fn work_through(matches: &mut Matches<'_>, act: Act, done: &mut u64) -> Result<(), SourceError> {
    let lots = match act {
        Act::Retry(Some(rate)) => Some(rate.lots()),
        Act::Retry(None) | Act::Drop => None,
    };
    let together = lots.map_or(TOGETHER, |(together, _)| together);
    let mut next_lot = Instant::now();
    loop {
        let (mut letters, mut bytes): (Vec<DeadLetter>, usize) = (Vec::new(), 0);
        while letters.len() < together && bytes < BYTES_TOGETHER {
            let Some(letter) = matches.next().await? else { break };
            bytes += letter.body.len();
            letters.push(letter);
        }
        if letters.is_empty() {
            return Ok(());
        }
        sleep_until(next_lot).await;
        next_lot = Instant::now() + lots.map(|(_, pause)| pause).unwrap_or_default();
        match act {
            Act::Retry(_) => matches.graveyard.replay(letters, done).await?,
            Act::Drop => matches.graveyard.remove(letters, done).await?,
        }
    }
}
