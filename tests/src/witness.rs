//! A stand-in for CKAN in a process of its own, which writes down what workers tell it: so that somebody else than the
//! host has seen that something was done.
//!
//! The process is the test binary once more. It needs this test at its root, which does nothing unless it is asked:
//! `#[test] fn the_witness_serves_when_it_is_asked() { worker_tests::witness::serve_if_asked(); }`

mod server;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::wait::eventually_some;

pub use server::serve_if_asked;

/// The test of each binary that is run again to be the witness.
const TEST: &str = "the_witness_serves_when_it_is_asked";

/// Names the directory in which the witness keeps its files; set only for its process.
const DIR_VARIABLE: &str = "WORKER_TESTS_WITNESS";

/// How long its process may take to start.
const START_MAX: Duration = Duration::from_secs(30);

/// How the witness answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mood {
    /// As a CKAN that is well.
    Well,
    /// With this status, as something in front of a CKAN that is not.
    Status(u16),
    /// With the status 429, and when to come again, in seconds.
    TooMany(u32),
    /// Not at all: the connection is reset.
    Resets,
    /// Well, but after so many milliseconds.
    Slow(u64),
    /// One byte each second, and never the last.
    Trickles,
}

/// Something that the witness was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which notification it was about.
    pub id: String,
    /// The worker that told it.
    pub worker: String,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// How that attempt was going to end: `done` or `failed`.
    pub ending: String,
    /// When, in milliseconds since 1970.
    pub t_ms: u64,
    /// Whether the witness answered well.
    pub was_well: bool,
}

impl Seen {
    /// Whether the worker had done its work when it had been answered.
    pub fn is_success(&self) -> bool {
        self.was_well && self.ending == "done"
    }
}

/// A witness, from outside; its process ends with it.
pub struct Witness {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl Witness {
    /// Starts one.
    ///
    /// # Panics
    /// It does not start: is the test there that it needs?
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("witness-").tempdir().expect("there is a temporary directory");
        let program = std::env::current_exe().expect("a test has a file");
        let mut command = Command::new(program);
        command.args(["--exact", TEST]).env(DIR_VARIABLE, dir.path());
        // It ends at the end of its input, which is our end, however that comes.
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let found = eventually_some(START_MAX, || std::fs::read_to_string(dir.path().join("port")).ok());
        let port = found.and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("the witness has not started: has this binary the test {TEST}?"));
        Self { dir, port, child }
    }

    /// Its address, for the setting `ckan.site_url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes how it answers, from the next request on.
    ///
    /// # Panics
    /// It does not answer.
    pub fn set(&self, mood: Mood) {
        let body = serde_json::to_string(&mood).expect("a mood is plain");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the witness runs");
        let length = body.len();
        write!(stream, "POST /mood HTTP/1.1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .expect("the witness listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the witness answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Reads what it was told, from now on only what is new.
    pub fn log(&self) -> Log {
        Log { path: self.dir.path().join("seen"), at: 0, seen: Vec::new() }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It is our child: the pid is its own until it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a witness was told so far.
pub struct Log {
    path: PathBuf,
    at: u64,
    seen: Vec<Seen>,
}

impl Log {
    /// All of it, in the order it came.
    ///
    /// # Panics
    /// The file holds something else.
    pub fn read(&mut self) -> &[Seen] {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(self.at)).and_then(|_| file.read_to_end(&mut text)).expect("it is a file");
        }
        // The last line may still be under way.
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.at += u64::try_from(end).expect("a file is no longer");
        for line in text[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.seen.push(serde_json::from_slice(line).expect("the witness writes what it is told"));
        }
        &self.seen
    }
}
