//! Everything ends with its test, also when that is killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use worker_tests::ckan::{self, Ckan};
use worker_tests::eventually;

const SOON: Duration = Duration::from_secs(20);

/// Names the file in which the scapegoat writes where its CKAN lives.
const VARIABLE: &str = "WORKER_TESTS_CKAN_SCAPEGOAT";

#[test]
fn scapegoat_with_a_ckan_waits_to_be_killed() {
    let Some(place) = std::env::var_os(VARIABLE) else { return };
    let Some(ckan) = Ckan::shared(ckan::versions()[0]) else { return };
    let _site = ckan.site("scapegoat").start();
    // Renamed into place, so that whoever waits for it finds it whole.
    let part = Path::new(&place).with_extension("part");
    std::fs::write(&part, ckan.bed_dir().to_str().unwrap()).unwrap();
    std::fs::rename(part, place).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_test_leaves_nothing_of_its_ckan() {
    if Ckan::shared(ckan::versions()[0]).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("bed");
    let mut scapegoat = Command::new(std::env::current_exe().unwrap());
    // Cargo is not its parent: so it has a bed of its own.
    scapegoat.args(["--exact", "end::scapegoat_with_a_ckan_waits_to_be_killed"]).env(VARIABLE, &place);
    let mut scapegoat = scapegoat.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = eventually(Duration::from_secs(180), || place.exists());
    let bed = started.then(|| PathBuf::from(std::fs::read_to_string(&place).unwrap()));
    let before = bed.as_deref().map(living_in).unwrap_or_default();
    scapegoat.kill().unwrap();
    scapegoat.wait().unwrap();
    let bed = bed.expect("the scapegoat has started its CKAN");
    for name in ["postgres", "redis-server", "gunicorn"] {
        assert!(before.iter().any(|running| running.contains(name)), "{name} ran before the kill: {before:?}");
    }
    assert!(eventually(SOON, || living_in(&bed).is_empty()), "left running: {:?}", living_in(&bed));
    assert!(eventually(SOON, || !bed.exists()), "{} is still there", bed.display());
}

#[test]
fn a_site_ends_with_its_test_and_leaves_no_database() {
    let Some(ckan) = Ckan::shared(ckan::versions()[0]) else { return };
    let (lasting, site) = (ckan.site("lasting").start(), ckan.site("ended").start());
    let home = site.ini().parent().unwrap().to_owned();
    assert!(living_in(&home).len() >= 3, "gunicorn and its workers: {:?}", living_in(&home));
    let database = site.sql("SELECT current_database()");
    let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{}'", database.trim());
    assert_eq!(lasting.sql(&count).trim(), "1");
    drop(site);
    assert!(eventually(SOON, || living_in(&home).is_empty()), "left running: {:?}", living_in(&home));
    assert_eq!(lasting.sql(&count).trim(), "0");
}

/// The command lines of the processes whose working directory is that directory or below it.
fn living_in(dir: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("this is Linux").flatten();
    let lives = |process: &std::fs::DirEntry| {
        let place = std::fs::read_link(process.path().join("cwd")).unwrap_or_default();
        // As text: when the directory is gone, the system writes so behind its name.
        place.to_string_lossy().starts_with(&*dir.to_string_lossy())
    };
    let line = |process: std::fs::DirEntry| std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
    processes.filter(lives).map(line).collect()
}
