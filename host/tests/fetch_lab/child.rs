//! A process of its own for what cannot be tried in this one: to be killed, or to trust another authority.
//!
//! The child is this very test program, which runs the one test that started it; that test sees that it has a task.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const TASK: &str = "FETCH_LAB_TASK";
const MARK: &str = "> ";

/// What this process is to do, if it is a child.
pub fn task() -> Option<String> {
    std::env::var(TASK).ok()
}

/// Tells the parent something.
#[expect(clippy::print_stdout, reason = "how a child talks to its parent")]
pub fn tell(line: &str) {
    println!("\n{MARK}{line}");
}

/// Runs the test of this name as a child.
pub fn start(test: &str, task: &str, environment: &[(&str, &str)]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(TASK, task)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// The next thing that a child tells; `None` once it has ended.
pub async fn told(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(told) = line.strip_prefix(MARK) {
            return Some(told.to_owned());
        }
    }
    None
}
