//! What happens to the journal's disk, and to the clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use worker_tests::debian;
use worker_tests::{Broker, Verdict, eventually};

use crate::cases::{conclude, form};
use crate::scene::{CONCURRENCY, PREFETCH, Publishing, SOON, Scene, USUAL, WORKERS, usual};

/// A small disk of its own, in memory; gone when it is dropped.
pub struct Disk {
    dir: TempDir,
}

impl Disk {
    /// One on which a journal has room for its file and for what SQLite keeps beside it, four megabytes.
    ///
    /// `None`, said in capitals, where this process may not mount anything.
    pub fn new(name: &str) -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("disk-").tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs"]).arg(dir.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self { dir });
        }
        worker_tests::say(&format!("LEFT OUT, NOT TESTED: {} NEEDS A SMALL DISK, AND ROOT", name.to_uppercase()));
        None
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes all the room that is left, in pieces that become smaller.
    pub fn fill(&self) {
        let piece = |number: usize| self.dir.path().join(format!("ballast{number}"));
        for (number, bytes) in [1 << 24, 1 << 16, 4096, 512].into_iter().enumerate() {
            // What does not fit in full is written as far as it goes.
            let _ = fs::write(piece(number), vec![7; bytes]);
        }
    }

    pub fn free(&self) {
        for number in 0..4 {
            let _ = fs::remove_file(self.dir.path().join(format!("ballast{number}")));
        }
    }

    fn remount(&self, how: &str) {
        let output = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(self.dir.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a host that was not waited for may still have it open.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

/// Starts a host again that has ended, as systemd would, but not in a tight loop.
pub fn start_again(scene: &mut Scene) {
    if !scene.hosts[0].is_running() {
        scene.start(0);
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A disk that is full while there is work and has room again later.
pub fn full(mut scene: Scene, disk: &Disk, settings: &str) -> Verdict {
    scene.play(settings);
    let publishing = Publishing::begin(&mut scene, form().messages.min(1000), "m", usual(20));
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || scene.seen().len() > 50), "work has begun");
    publishing.end(&mut scene);
    disk.fill();
    let said = || scene.hosts[0].stderr().to_lowercase();
    let is_said = eventually(SOON, || said().contains("full") || said().contains("no space"));
    more.expect(is_said, "the host says that the disk is full");
    let ended = eventually(Duration::from_secs(2), || !scene.hosts[0].is_running());
    let (left, seen) = (scene.left(), scene.seen().len());
    std::thread::sleep(Duration::from_secs(2));
    more.expect(scene.left() >= left, format!("nothing is acknowledged: {left} were left, then {}", scene.left()));
    let begun = scene.seen().len() - seen;
    more.expect(begun <= CONCURRENCY, format!("nothing new is begun, but {begun} were"));
    let left = if left == usize::MAX { "it cannot be seen how many are".to_owned() } else { left.to_string() };
    more.note(format!("{left} left while it was full; the host {}", if ended { "ended" } else { "paused" }));
    disk.free();
    let mut verdict = scene.judge(form().within, start_again).and(more);
    scene.stop(&mut verdict);
    verdict
}

#[test]
fn a_journal_whose_disk_is_full_stops_the_work_and_nothing_is_acknowledged() {
    let (Some(broker), Some(disk)) = (Broker::shared(), Disk::new("F25a")) else { return };
    let settings = format!("journal.path = {}", disk.path().join("journal").display());
    let verdict = full(Scene::at(broker, "full", &USUAL), &disk, &settings);
    // What was begun when the disk was full has ended and nobody could write that down.
    conclude("F25a", &verdict, CONCURRENCY);
}

#[test]
fn a_journal_that_cannot_be_written_stops_the_start_and_nothing_is_acknowledged() {
    let (Some(broker), Some(disk)) = (Broker::shared(), Disk::new("F25b")) else { return };
    let mut scene = Scene::old_at(broker, "read-only", &USUAL);
    scene.publish_usual(form().messages.min(300), 5);
    let url = scene.url();
    scene.add_host(&url, &format!("journal.path = {}", disk.path().join("journal").display()));
    disk.remount("ro");
    scene.start(0);
    let mut more = Verdict::default();
    let said = eventually(SOON, || scene.hosts[0].stderr().to_lowercase().contains("journal"));
    more.expect(said, "the host says what it cannot do");
    eventually(Duration::from_secs(2), || !scene.hosts[0].is_running());
    let (left, expected) = (scene.left(), scene.ledger.confirmed());
    more.expect(left == expected, format!("nothing is acknowledged: {left} of {expected} are left"));
    more.expect(scene.seen().is_empty(), "nothing was begun");
    disk.remount("rw");
    let mut verdict = scene.judge(form().within, start_again).and(more);
    scene.stop(&mut verdict);
    conclude("F25b", &verdict, 0);
}

#[test]
fn a_corrupt_journal_is_set_aside_and_that_is_said() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "corrupt", &USUAL);
    let journal = scene.path("journal");
    scene.play(&format!("journal.path = {}", journal.display()));
    scene.publish_usual(form().messages.min(300), 20);
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || scene.seen().len() > 50), "work has begun");
    scene.hosts[0].kill();
    scene.hosts[0].wait(SOON);
    let files: Vec<PathBuf> = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()).collect();
    more.expect(!files.is_empty(), "there is a journal");
    for file in files.iter().filter(|file| file.is_file()) {
        let length = fs::metadata(file).unwrap().len().max(1000);
        fs::write(file, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
    }
    let before = scene.hosts[0].stderr().len();
    scene.start(0);
    let said = |host: &worker_tests::WorkerProcess| host.stderr()[before..].to_lowercase().contains("journal");
    more.expect(eventually(SOON, || said(&scene.hosts[0])), "the host says that its journal is of no use");
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    scene.stop(&mut verdict);
    // Without the journal, what had ended and was not acknowledged is done again.
    conclude("F25c", &verdict, PREFETCH * WORKERS.len());
}

/// The library that fakes a clock, if it is there or can be installed.
fn faketime() -> Option<PathBuf> {
    if let Err(problem) = debian::ensure(Path::new("/usr/bin/faketime"), "faketime") {
        worker_tests::say(&format!("LEFT OUT, NOT TESTED: F26 NEEDS A FAKE CLOCK: {problem}"));
        return None;
    }
    let places = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path().join("faketime"));
    places.map(|dir| dir.join("libfaketimeMT.so.1")).find(|library| library.exists())
}

#[test]
fn a_clock_that_jumps_by_an_hour_starts_no_storm_and_holds_nothing_up() {
    let Some(broker) = Broker::shared() else { return };
    let Some(library) = faketime() else { return };
    let mut scene = Scene::at(broker, "clock", &USUAL);
    let url = scene.url();
    scene.add_host(&url, "");
    let clock = scene.path("clock");
    fs::write(&clock, "+0\n").unwrap();
    scene.start_with(
        0,
        &[
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            // A real clock that jumps does not take the monotonic one along.
            ("DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ],
    );
    scene.hosts[0].wait_for_line("consuming queue", SOON);
    let publishing = Publishing::begin(&mut scene, form().messages, "m", usual(20));
    let mut more = Verdict::default();
    for (round, jump) in ["+3600\n", "-3600\n", "+0\n"].into_iter().enumerate() {
        more.expect(eventually(SOON, || scene.seen().len() > 100 * (round + 1)), format!("work goes on, {round}"));
        fs::write(&clock, jump).unwrap();
    }
    publishing.end(&mut scene);
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    verdict.expect(scene.sessions(0) == 1, format!("one session, but there were {}", scene.sessions(0)));
    let repeated = verdict.counts.repeated;
    verdict.expect(repeated == 0, format!("no attempt is made again, but {repeated} were"));
    let hours = |text: &str| text.split_once("\"timestamp\":\"").map(|(_, rest)| rest[..13].to_owned());
    let hours: std::collections::BTreeSet<_> = scene.hosts[0].stderr().lines().filter_map(hours).collect();
    verdict.note(format!("the host's log is of {} different hours", hours.len()));
    scene.stop(&mut verdict);
    conclude("F26", &verdict, 0);
}
