//! A disk without room for what is fetched.

use std::process::Command;

use ckan_worker::demo::{Dataset, Datasets};

use crate::lab::Lab;
use crate::web::{Web, file};

/// More than a file may hold, and less than archive keeps.
const BYTES: usize = 40 << 20;

fn body_of(path: &str) -> Vec<u8> {
    let bytes = if path == "/long.csv" { BYTES } else { 1000 };
    format!("a,b\n1,{path}\n").into_bytes().into_iter().cycle().take(bytes).collect()
}

/// A small disk of its own needs root, a directory that cannot be written to needs another user than root, and a quota
/// needs a file system with quotas. The longest file that a process may write is a limit that everybody may set; only
/// what is longer meets it, as the last file on a disk that is nearly full.
fn on_a_full_disk(lab: &Lab, arguments: &[&str]) -> Command {
    let own = lab.command(arguments);
    let mut limited = Command::new("sh");
    // 32 MiB: the private copies of plugins have room.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 65536; exec \"$0\" \"$@\""]).arg(own.get_program());
    limited.args(own.get_args()).current_dir(lab.worker.dir());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

#[test]
fn s20_a_full_disk_is_a_failure_that_passes_and_loses_nothing() {
    let web = Web::start("127.0.0.2", |path| file("text/csv", &body_of(path)));
    let dataset = |name: &str| Dataset::new(name).resource(name, &web.url(&format!("/{name}.csv")), "CSV");
    let datasets = Datasets::default().with(dataset("long")).with(dataset("short")).with(dataset("other"));
    let mut lab = Lab::new(datasets);
    lab.configure("attempts = 100\nretry.delays = 100ms", "");
    lab.announce(["long", "short"]);
    lab.worker.spawn(on_a_full_disk(&lab, &["archive"]));
    let failures = |lab: &Lab| {
        let log = lab.worker.stderr();
        let is_so =
            |line: &&str| line.contains("archive will retry Package changed") && line.contains("cannot write to");
        log.lines().filter(is_so).count()
    };
    lab.wait_until("two tries", |lab| failures(lab) >= 2);
    lab.announce(["other"]);
    lab.wait_until("those that have room", |lab| {
        lab.keeps(&body_of("/short.csv")) && lab.keeps(&body_of("/other.csv"))
    });
    assert!(!lab.keeps(&body_of("/long.csv")));
    lab.stop();
    assert_eq!((lab.left(), lab.letters().len()), (1, 0), "{}", lab.worker.report());

    // Somebody has made room.
    lab.start(&["archive"]);
    lab.wait_until("what had no room", |lab| lab.keeps(&body_of("/long.csv")));
    lab.wait_until("an empty queue", |lab| lab.left() == 0);
    lab.stop();
    assert_eq!(lab.letters().len(), 0, "{}", lab.worker.report());
}
