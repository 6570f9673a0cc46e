//! The outbox of a portal's extension, which is asked for what it has until it has nothing more.
//!
//! What it hands out is written to the queue's file first, and then acknowledged: what the process dies in between with
//! is handed out again, and known by its number and name: the numbers of a table that was made anew begin at 1 again.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Message;
use super::fed::{Ground, Outage, Size, Trouble};
use super::sqlite::{Intake, Pulled};
use crate::services::Failure;
use crate::services::ckan::{Client, NOT_AUTHORIZED};

/// The action that hands out what nobody has acknowledged.
const POLL: &str = "worker_outbox_poll";

/// The action that takes what has arrived out of the outbox.
const ACKNOWLEDGE: &str = "worker_outbox_ack";

/// How many messages are asked for at once at most: with each comes a whole dataset.
const LIMIT_MAX: usize = 100;

/// While so many wait here, the rest may wait at the portal.
const WAITING_MAX: u64 = 10_000;

/// How the outbox is emptied.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often it is asked while it has nothing.
    pub interval: Duration,
}

/// What the outbox hands out.
#[derive(Debug, Deserialize)]
struct Handed<'a> {
    #[serde(borrow)]
    messages: Vec<Row<'a>>,
    /// Whether there is more.
    more: bool,
}

#[derive(Debug, Deserialize)]
struct Row<'a> {
    /// Its number at the portal.
    id: i64,
    message_id: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

impl Row<'_> {
    fn pulled(&self) -> Pulled {
        Pulled { id: self.id, message_id: self.message_id.clone() }
    }
}

/// Asks the extension for ever.
pub async fn run(ground: Ground, settings: Settings) {
    tracing::info!("emptying the outbox of {} every {:?}", ground.site_url, settings.interval);
    let (mut outage, mut limit) = (Outage::default(), Size::new(1, LIMIT_MAX));
    loop {
        let wait = match turn(&ground, &mut limit).await {
            Ok(has_more) => {
                outage.worked(&ground.site_url);
                if has_more { Duration::ZERO } else { settings.interval }
            }
            Err(trouble) => outage.failed(&ground.site_url, &trouble, fastrand::f64()),
        };
        ground.trouble.send_replace(outage.trouble().map(ToOwned::to_owned));
        sleep(wait).await;
    }
}

/// Looks whether the extension is there and hands its outbox out to us; answers whether anything waits in it.
///
/// # Errors
/// It is not, or does not.
pub async fn self_test(client: &Client) -> Result<bool, Failure> {
    let answer = ask(client, 1).await?;
    Ok(!read(&answer)?.messages.is_empty())
}

/// Fetches what there is; answers whether there is more.
async fn turn(ground: &Ground, limit: &mut Size) -> Result<bool, Trouble> {
    let Ground { client, book, queue, .. } = ground;
    if book.ready(queue.clone()).await? >= WAITING_MAX {
        return Ok(false);
    }
    let begun = Instant::now();
    let answer = ask(client, limit.now()).await;
    limit.learn(answer.as_ref().err(), begun.elapsed());
    let answer = answer?;
    let handed = read(&answer)?;
    let known: BTreeSet<Pulled> = book.pulled().await?.into_iter().collect();
    let fresh = || handed.messages.iter().filter(|row| !known.contains(&row.pulled()));
    let messages = fresh().map(|row| Ok((queue.clone(), message(row, &answer)?))).collect::<Result<_, Failure>>()?;
    let pulled = fresh().map(Row::pulled).collect();
    book.take_in(Intake { messages, pulled, ..Intake::default() }).await?;

    let ids: Vec<i64> = handed.messages.iter().map(|row| row.id).collect();
    if !ids.is_empty() {
        client.action(ACKNOWLEDGE, json!({ "ids": ids }).to_string()).await?;
    }
    // What was pulled and is not handed out any more has been acknowledged, too: only the answer to that was lost.
    let now: BTreeSet<Pulled> = handed.messages.iter().map(Row::pulled).collect();
    let earlier = known.into_iter().filter(|pulled| !handed.more && !now.contains(pulled));
    let acknowledged: Vec<Pulled> = earlier.chain(now.iter().cloned()).collect();
    if !acknowledged.is_empty() {
        book.take_in(Intake { acknowledged, ..Intake::default() }).await?;
    }
    if !handed.more {
        let _ = ground.has_looked.send(true);
    }
    Ok(handed.more)
}

async fn ask(client: &Client, limit: usize) -> Result<Bytes, Failure> {
    client.action(POLL, json!({ "limit": limit }).to_string()).await.map_err(|failure| match failure.code {
        NOT_AUTHORIZED => explained(failure, "the outbox is for sysadmins, so make a token of one for the worker"),
        "ckan.bad-request" => explained(
            failure,
            "the extension ckanext-worker may be missing or not among ckan.plugins; without it use poll: instead",
        ),
        "ckan.validation" => explained(failure, "until then what changes at the portal is NOT recorded"),
        _ => failure,
    })
}

fn explained(failure: Failure, why: &str) -> Failure {
    Failure { message: format!("{}; {why}", failure.message), ..failure }
}

fn read(answer: &[u8]) -> Result<Handed<'_>, Failure> {
    serde_json::from_slice(answer).map_err(|error| incompatible(&error.to_string()))
}

/// A row as a message, its body byte for byte as it stands in the answer.
fn message(row: &Row<'_>, answer: &Bytes) -> Result<Message, Failure> {
    let body = answer.slice_ref(row.body.get().as_bytes());
    let parsed: Value = serde_json::from_slice(&body).map_err(|error| incompatible(&error.to_string()))?;
    let routing_key = parsed["routing_key"].as_str().ok_or_else(|| incompatible("a message without `routing_key`"))?;
    Ok(Message { routing_key: routing_key.to_owned(), body, id: Some(row.message_id.clone()), only: None })
}

fn incompatible(problem: &str) -> Failure {
    Failure::permanent(
        "ckan.incompatible",
        format!("{POLL}: the extension answers what this worker does not know: {problem}"),
    )
}
