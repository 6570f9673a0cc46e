//! Nobody is left running: ends the programs that a test started, also when the test itself is killed.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Reads `+ PID` and `- PID`, with a process group as a negative number; at the end of its input, which is our end, it ends
/// those that are left.
const SCRIPT: &str = r#"
pids=" "
while read -r what pid; do
    case $what in
        +) pids="$pids$pid " ;;
        -) pids="${pids%% $pid *} ${pids#* $pid }" ;;
    esac
done
for pid in $pids; do kill -s KILL -- "$pid" 2>/dev/null; done
"#;

/// Takes care of a child from now on.
pub fn begin(child: &Child) {
    tell('+', &child.id().to_string());
}

/// Forgets a child that has been waited for: its pid may be given to somebody else.
pub fn end(child: &Child) {
    tell('-', &child.id().to_string());
}

/// As [`begin`], for a child that leads a process group, and all that are in it.
pub fn begin_group(child: &Child) {
    tell('+', &format!("-{}", child.id()));
}

/// As [`end`], for a process group.
pub fn end_group(child: &Child) {
    tell('-', &format!("-{}", child.id()));
}

fn tell(what: char, whom: &str) {
    static WATCH: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let watch = WATCH.get_or_init(|| Mutex::new(start()));
    let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
    // If the watch is gone there is nobody to tell; the child is still ended when its owner is dropped.
    let _ = writeln!(watch, "{what} {whom}");
}

#[expect(clippy::zombie_processes, reason = "the watch outlives this process, that is its purpose")]
fn start() -> ChildStdin {
    let mut watch = Command::new("sh")
        .args(["-c", SCRIPT])
        // Ctrl-C in the terminal ends the tests, not the watch.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh is on every Unix");
    watch.stdin.take().expect("its input was asked for")
}
