//! Servers that never come to an end, and one that has more than enough: the host stays small, and the others' files
//! are archived meanwhile.

use std::path::PathBuf;

use ckan_worker::demo::{Dataset, Datasets};
use serde_json::json;

use crate::bomb;
use crate::lab::{Lab, MEMORY_MAX, SOON};
use crate::web::{Answer, Web, file};

const MEBIBYTE: usize = 1 << 20;
const LORISES: usize = 8;
/// So many of these at once are one server's share.
const LORISES_AT_ONCE: usize = 4;
const ORDINARY: usize = 10;

/// Patience without end: whatever ends a download, it is no deadline.
const PATIENT: &str = "concurrency = 12\ndeadline = 12h\nfetch.timeout = 12h\nfetch.first_byte_timeout = 1h\n\
                       fetch.idle_timeout = 1h\nfetch.rate_min = 0\nfetch.host_rate = 50\ndrain = 1s\ngrace = 5s";
const IMPATIENT: &str = "concurrency = 12\nfetch.first_byte_timeout = 1s\nfetch.host_rate = 50\nretry.delays = 1s\n\
                         drain = 1s\ngrace = 5s";

/// The servers, each with an address of its own.
struct Webs {
    endless: Web,
    bomb: Web,
    loris: Web,
    ordinary: Web,
}

fn body_of(path: &str) -> Vec<u8> {
    format!("number,letter\n1,{path}\n").repeat(500).into_bytes()
}

impl Webs {
    fn start() -> Self {
        let bomb = bomb::packed_twice();
        let mut packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nConnection: close\r\n\r\n".to_vec();
        packed.extend_from_slice(&bomb);
        let flood = Answer::Flood { at_first: 40 * MEBIBYTE, in_all: 200 * MEBIBYTE };
        Self {
            endless: Web::start("127.0.0.3", move |_| flood.clone()),
            bomb: Web::start("127.0.0.4", move |_| Answer::Bytes(packed.clone())),
            loris: Web::start("127.0.0.5", |_| Answer::Loris),
            ordinary: ordinary(),
        }
    }

    fn datasets(&self) -> Datasets {
        let one = |name: &str, url: &str| Dataset::new(name).resource(name, url, "CSV");
        let mut datasets = with_ordinary(Datasets::default(), &self.ordinary)
            .with(one("endless", &self.endless.url("/endless.csv")))
            .with(one("bomb", &self.bomb.url("/bomb.csv")));
        for name in lorises() {
            datasets = datasets.with(one(&name, &self.loris.url(&format!("/{name}.csv"))));
        }
        datasets
    }
}

fn ordinary() -> Web {
    Web::start("127.0.0.2", |path| file("text/csv", &body_of(path)))
}

fn with_ordinary(mut datasets: Datasets, web: &Web) -> Datasets {
    for name in ordinary_names() {
        let [first, second] = paths_of(&name);
        let dataset = Dataset::new(&name).resource("1", &web.url(&first), "CSV");
        datasets = datasets.with(dataset.resource("2", &web.url(&second), "CSV"));
    }
    datasets
}

fn ordinary_names() -> impl Iterator<Item = String> {
    (0..ORDINARY).map(|number| format!("ordinary-{number}"))
}

fn paths_of(name: &str) -> [String; 2] {
    ["a", "b"].map(|letter| format!("/{name}/{letter}.csv"))
}

fn lorises() -> impl Iterator<Item = String> {
    (0..LORISES).map(|number| format!("loris-{number}"))
}

/// Whether all ordinary files are kept.
fn is_ordinary_work_done(lab: &Lab) -> bool {
    let kept = lab.kept();
    ordinary_names().flat_map(|name| paths_of(&name)).all(|path| kept.contains(&worker_tests::sha256(&body_of(&path))))
}

/// The temporary files that are as long as what was let through of the flood.
fn flooded(lab: &Lab) -> Vec<PathBuf> {
    let is_long = |path: &PathBuf| path.metadata().is_ok_and(|found| found.len() >= 39 * MEBIBYTE as u64);
    let fetched = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fetch-"));
    lab.temporary().into_iter().filter(|path| fetched(path) && is_long(path)).collect()
}

#[test]
fn an_endless_file_a_bomb_and_slow_servers_keep_nobody_from_work_and_leave_nothing_behind() {
    let webs = Webs::start();
    let mut lab = Lab::new(webs.datasets());
    lab.configure(PATIENT, "bytes_max = 50_000_000");
    lab.announce(lorises().chain(["endless".to_owned()]));
    lab.start(&["archive"]);
    lab.wait_until("the bad ones", |_| webs.endless.held() == 1 && webs.loris.held() == LORISES_AT_ONCE);

    lab.announce(ordinary_names().chain(["bomb".to_owned()]));
    lab.wait_until("the ordinary files", is_ordinary_work_done);
    lab.wait_until("the bomb, as it is", |lab| lab.keeps(&bomb::packed_twice()));
    assert_eq!((webs.endless.held(), webs.loris.held()), (1, LORISES_AT_ONCE), "all the while");
    lab.assert_small();
    assert_eq!(flooded(&lab).len(), 1, "{:?}", lab.temporary());

    lab.worker.kill();
    lab.worker.wait(SOON);
    assert_eq!(flooded(&lab).len(), 1, "what a killed worker leaves: {:?}", lab.temporary());
    webs.endless.open_the_gate();
    lab.configure(IMPATIENT, "bytes_max = 50_000_000");
    let left = lab.temporary();
    lab.start(&["archive"]);
    lab.wait_until("the end of the flood", |lab| said(lab, "endless", "exceeds maximum allowed value 50000000"));
    for name in lorises() {
        lab.wait_until("the end of the slow ones", |lab| said(lab, &name, "timed out after 1s"));
    }
    lab.wait_until("an empty queue", |lab| lab.left() == 0);
    assert_eq!(webs.loris.held(), 0);
    lab.assert_small();
    assert!(left.iter().all(|path| !path.exists()), "a start removes what was left: {:?}", lab.temporary());
    lab.stop();
    assert_eq!(lab.letters().len(), 0, "{}", lab.worker.report());
}

/// Whether the last word about a resource contains this.
fn said(lab: &Lab, resource: &str, text: &str) -> bool {
    lab.said_about(resource).is_some_and(|fields| fields.contains(text))
}

const MANY: usize = 10_000;
/// What a resource takes while its dataset is worked on.
const RESOURCE_BYTES: u64 = 8 << 10;

/// A server with many files, of so many datasets, and others with few: the few are done while the many go on.
fn crowd(datasets: usize, is_small: impl Fn(&Lab)) {
    let (many, web) = (Web::start("127.0.0.6", |path| file("text/csv", &body_of(path))), ordinary());
    let mut lab = Lab::new(with_ordinary(Datasets::default(), &web));
    let names: Vec<String> = (0..datasets).map(|number| format!("crowd-{number}")).collect();
    for name in &names {
        let resource = |number| json!({"name": number, "url": many.url(&format!("/{name}/{number}.csv"))});
        let resources: Vec<_> = (0..MANY / datasets).map(|number| resource(number.to_string())).collect();
        lab.portal.create(Dataset::new(name).set("resources", resources));
    }
    lab.configure(PATIENT, "");
    lab.announce(&names);
    lab.start(&["archive"]);
    lab.wait_until("the first of many", |_| many.asked() > 10);
    lab.announce(ordinary_names());
    lab.wait_until("the ordinary files", is_ordinary_work_done);
    let asked = many.asked();
    assert!(asked < MANY, "the many go on meanwhile");
    lab.wait_until("some more of many", |_| many.asked() > asked + 100);
    is_small(&lab);
    lab.stop();
    assert!(lab.left() > 0, "what was not finished comes back");
    assert_eq!(lab.letters().len(), 0, "{}", lab.worker.report());
}

#[test]
fn s21_a_server_of_10000_files_in_200_datasets_keeps_nobody_from_work() {
    crowd(200, Lab::assert_small);
}

#[test]
fn s21_nor_does_one_dataset_of_10000_files() {
    // While it is worked on, a dataset is in memory in full, as JSON and as what was read from it.
    crowd(1, |lab| lab.assert_smaller_than(MEMORY_MAX + MANY as u64 * RESOURCE_BYTES));
}
