//! Publishes with Python's kombu, exactly as a portal's publisher of 2011 did with carrot.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::python;

/// Publishes notifications, each the JSON object `{"routing_key", "operation", "payload"}`, to the exchange of `site`
/// and returns when all are with the broker.
///
/// # Panics
/// Python says no; what it says stands in the message.
pub fn publish(url: &str, site: &str, notifications: &[serde_json::Value]) {
    let mut command = Command::new(python::with("kombu==5.*"));
    command
        .arg(python::script("publish.py"))
        .arg(url)
        .arg(site)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut input = child.stdin.take().expect("its input was asked for");
    for notification in notifications {
        // If the script has ended, its complaint says more than the broken pipe.
        let _ = writeln!(input, "{notification}");
    }
    drop(input);
    let output = child.wait_with_output().expect("it is our child");
    assert!(output.status.success(), "kombu could not publish:\n{}", String::from_utf8_lossy(&output.stderr));
}
