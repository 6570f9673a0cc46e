//! What the actor can do, and how it writes down that it did.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ckan_worker_plugin::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::NAME;

/// The settings of `[worker:actor]`.
#[derive(Deserialize)]
#[serde(crate = "ckan_worker_plugin::serde")]
pub struct Settings {
    /// The file to which each run appends its lines.
    journal: Option<PathBuf>,
    /// Fails to be made: `error` or `panic`.
    create: Option<String>,
}

/// A worker whose payload says what happens: `{"id": …, "act": "fail"}`, or `{"acts": {"actor": …, "actor2": …}}`.
pub struct Actor {
    journal: Option<File>,
}

impl Worker for Actor {
    type Config = Settings;

    fn create(settings: Settings, _: &Host<'_>) -> Result<Self> {
        match settings.create.as_deref() {
            Some("error") => return Err(Error::permanent("told to refuse its settings")),
            Some("panic") => panic!("told to panic while it is made"),
            _ => {}
        }
        let journal = match settings.journal {
            Some(path) => Some(File::options().create(true).append(true).open(path)?),
            None => None,
        };
        Ok(Self { journal })
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        let started = now_ms();
        self.note(*notification, "start", started, None)?;
        let result = act(&act_of(*notification), *notification, host);
        let outcome = match &result {
            Ok(Outcome::Done) => "done".to_owned(),
            Ok(Outcome::Skipped(_)) => "skipped".to_owned(),
            Err(error) => format!("{:?}", error.class()).to_lowercase(),
        };
        self.note(*notification, "end", started, Some(&outcome))?;
        result
    }
}

impl Actor {
    /// Appends one line; one write each, so that lines of several processes do not mix.
    fn note(&self, notification: Notification<'_>, event: &str, started: u64, outcome: Option<&str>) -> Result<()> {
        let Some(mut journal) = self.journal.as_ref() else { return Ok(()) };
        let payload = notification.payload();
        let mut line = json!({
            "event": event,
            "worker": NAME,
            "routing_key": notification.routing_key(),
            "operation": notification.operation(),
            "id": notification.entity_id().ok(),
            "package_id": notification.package_id().ok(),
            "title": notification.json::<Value>().ok().and_then(|mut payload| payload.get_mut("title").map(Value::take)),
            "attempt": notification.attempt(),
            "redelivered": notification.redelivered(),
            "payload_sha256": hex(&Sha256::digest(payload)),
            "payload_bytes": payload.len(),
            "pid": std::process::id(),
            "thread": format!("{:?}", std::thread::current().id()),
            "start_ms": started,
            "end_ms": outcome.map(|_| now_ms()),
            "outcome": outcome,
        })
        .to_string();
        line.push('\n');
        journal.write_all(line.as_bytes())?;
        Ok(())
    }
}

/// What this actor is to do; nothing special where the payload does not say.
fn act_of(notification: Notification<'_>) -> String {
    let payload: Value = notification.json().unwrap_or_default();
    let act = payload["acts"][NAME].as_str().or_else(|| payload["act"].as_str());
    act.unwrap_or("done").to_owned()
}

/// Does one act after another, `;` between them, up to the first that does not end well.
fn act(acts: &str, notification: Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
    let mut rest = Some(acts);
    while let Some(acts) = rest {
        let (act, others) = acts.split_once(';').map_or((acts, None), |(act, others)| (act, Some(others)));
        rest = others;
        let outcome = do_one(act.trim(), others.unwrap_or("done"), notification, host)?;
        if let Outcome::Skipped(_) = outcome {
            return Ok(outcome);
        }
    }
    Ok(Outcome::done())
}

fn do_one(act: &str, rest: &str, notification: Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
    let (verb, what) = act.split_once(':').unwrap_or((act, ""));
    match verb {
        "done" => {}
        "skip" => return Ok(Outcome::skipped("told to skip")),
        "fail" => return Err(Error::retryable("told to fail")),
        "fail_times" => fail_times(number(what)?, notification.attempt())?,
        "retry_after_ms" => {
            let delay = Duration::from_millis(number(what)?);
            return Err(Error::retryable("told to come back later").retry_after(delay));
        }
        "permanent" => return Err(Error::permanent("told to fail for good")),
        "permanent_without" if Path::new(what).exists() => {}
        "permanent_without" => return Err(Error::permanent("told to fail for good as long as a file is missing")),
        "error_bytes" => return Err(Error::permanent("e".repeat(number(what)?))),
        "panic" => panic!("told to panic"),
        "hang" => hang(),
        "hang_until_cancelled" => host.sleep(Duration::MAX)?,
        "sleep_ms" => std::thread::sleep(Duration::from_millis(number(what)?)),
        "gate" => gate(Path::new(what), host)?,
        "abort" => std::process::abort(),
        "exit" => std::process::exit(if what.is_empty() { 3 } else { number(what)? }),
        "segfault" => segfault(),
        "overflow" => drop(overflow(0)),
        "exhaust" => drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 60))),
        "log" => host.info(if what.is_empty() { "told to log" } else { what }),
        "ckan" => drop(host.ckan().action::<Value>(what, parameters(notification))?),
        "witness" => drop(host.ckan().action::<Value>("witness", testimony(rest, notification)?)?),
        "fetch" => {
            let fetched = host.fetch(what, FETCH_BYTES_MAX)?;
            host.info(&format!("fetched {} bytes, sha256 {}", fetched.bytes, fetched.sha256));
        }
        "request" => {
            let response = host.request(what).bytes_max(FETCH_BYTES_MAX).send()?;
            host.info(&format!("answered {} after {} redirects", response.status(), response.trace.redirects.len()));
        }
        _ => return Err(Error::permanent(format!("the actor knows no act {act:?}"))),
    }
    Ok(Outcome::done())
}

/// Waits until somebody makes that file.
fn gate(file: &Path, host: &Host<'_>) -> Result<()> {
    while !file.exists() {
        host.sleep(Duration::from_millis(20))?;
    }
    Ok(())
}

/// What the witness is told: who works on what, for which time, and how that is going to end.
fn testimony(rest: &str, notification: Notification<'_>) -> Result<Value> {
    let attempt = notification.attempt();
    let fails = |act: &str| match act.trim().split_once(':') {
        Some(("fail_times", times)) => number::<u32>(times).map_or(true, |times| attempt <= times),
        Some(("sleep_ms" | "gate" | "log", _)) => false,
        Some(_) => true,
        None => act.trim() != "done",
    };
    let ending = if rest.split(';').any(fails) { "failed" } else { "done" };
    Ok(json!({"id": notification.entity_id()?, "worker": NAME, "attempt": attempt, "ending": ending}))
}

/// Writes to where nothing is.
fn segfault() {
    let nowhere = std::ptr::without_provenance_mut::<u8>(1);
    // SAFETY: there is none, on purpose: this is what a broken plugin does to the process.
    unsafe { nowhere.write_volatile(0) }
}

/// Calls itself until the stack is full.
#[expect(unconditional_recursion, reason = "that is its purpose")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    overflow(depth + 1) + frame[0]
}

/// Fails the first `times` attempts.
fn fail_times(times: u32, attempt: u32) -> Result<()> {
    if attempt > times { Ok(()) } else { Err(Error::retryable(format!("told to fail {times} times"))) }
}

const FETCH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The `parameters` of the payload, for the act `ckan:ACTION`.
fn parameters(notification: Notification<'_>) -> Value {
    let payload: Value = notification.json().unwrap_or_default();
    if payload["parameters"].is_null() { json!({}) } else { payload["parameters"].clone() }
}

/// Never returns, whatever the host wants.
fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

fn number<T: std::str::FromStr<Err = std::num::ParseIntError>>(text: &str) -> Result<T> {
    text.parse().map_err(|error| Error::permanent(format!("the act's number {text:?}: {error}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
