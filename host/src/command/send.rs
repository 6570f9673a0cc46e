//! `worker send FILE`: puts notifications on the queue, each confirmed.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::Path;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::{configured, exit_of, say};
use crate::cli::Cli;
use crate::config::Config;
use crate::exit::Exit;
use crate::notification;
use crate::source::{self, Message, Publisher, SourceError};

/// How many messages may be unconfirmed.
const UNCONFIRMED_MAX: usize = 256;

/// Why not everything was sent.
enum SendError {
    Read(std::io::Error),
    Line { number: usize, problem: String },
    Queue(SourceError),
}

/// Sends each line of `file`, `-` being standard input.
pub fn send(cli: &Cli, file: &Path) -> Exit {
    let config = match configured(cli) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let lines: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(stdin().lock())
    } else {
        match File::open(file) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) => {
                say(&format!("error: {}: cannot be read: {error}", file.display()));
                return Exit::BadData;
            }
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: no runtime to reach the queue with: {error}"));
            return Exit::Unavailable;
        }
    };
    let mut sent = 0;
    let outcome = runtime.block_on(send_lines(&config, lines, &mut sent));
    report(file, sent, &config, outcome)
}

fn report(file: &Path, sent: usize, config: &Config, outcome: Result<(), SendError>) -> Exit {
    let file = file.display();
    let noun = if sent == 1 { "notification is" } else { "notifications are" };
    let already = format!("{sent} {noun} on queue {} and confirmed", config.queue.name);
    match outcome {
        Ok(()) => {
            say(&already);
            Exit::Done
        }
        Err(SendError::Read(error)) => {
            say(&format!("error: {file}: could not be read to its end: {error}; {already}"));
            Exit::BadData
        }
        Err(SendError::Line { number, problem }) => {
            say(&format!(
                "error: {file}:{number}: not a notification: {problem}; {already}, correct this line and send the rest"
            ));
            Exit::BadData
        }
        Err(SendError::Queue(error)) => {
            say(&format!("error: {error}; {already}"));
            exit_of(&error)
        }
    }
}

/// Sends line by line, some ahead of their confirms; counts those that were confirmed, also when it fails.
async fn send_lines(config: &Config, lines: Box<dyn BufRead>, sent: &mut usize) -> Result<(), SendError> {
    let publisher = source::open_publisher(&config.queue).map_err(SendError::Queue)?;
    let mut unconfirmed = FuturesUnordered::new();
    let mut failed = None;
    for (index, line) in lines.split(b'\n').enumerate() {
        let message = line.map_err(SendError::Read).and_then(|line| message(&line, index + 1, config));
        match message {
            Ok(None) => {}
            Ok(Some(message)) => unconfirmed.push(publish(&*publisher, message)),
            Err(error) => failed = Some(error),
        }
        while unconfirmed.len() >= UNCONFIRMED_MAX
            && let Some(confirmed) = unconfirmed.next().await
        {
            count(confirmed, sent, &mut failed);
        }
        if failed.is_some() {
            break;
        }
    }
    while let Some(confirmed) = unconfirmed.next().await {
        count(confirmed, sent, &mut failed);
    }
    publisher.close().await;
    failed.map_or(Ok(()), Err)
}

async fn publish(publisher: &dyn Publisher, message: Message) -> Result<(), SourceError> {
    publisher.publish(message).await
}

fn count(confirmed: Result<(), SourceError>, sent: &mut usize, failed: &mut Option<SendError>) {
    match confirmed {
        Ok(()) => *sent += 1,
        Err(error) => *failed = Some(SendError::Queue(error)),
    }
}

/// Reads a line; `None` for an empty one.
fn message(line: &[u8], number: usize, config: &Config) -> Result<Option<Message>, SendError> {
    let line = line.trim_ascii_end();
    if line.is_empty() {
        return Ok(None);
    }
    let body = Bytes::copy_from_slice(line);
    let notification = notification::parse(&body, config.run.body_bytes_max)
        .map_err(|malformed| SendError::Line { number, problem: malformed.to_string() })?;
    let routing_key = notification.routing_key().to_owned();
    Ok(Some(Message { routing_key, body, id: None, only: None }))
}
