//! What is said about broken settings: each case of `config/broken.txt` with where it is, what it is and what to do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write;
use std::path::Path;

use ckan_worker::config::{Config, Flag, Request};
use ckan_worker::diagnostic::{Finding, Findings};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/broken.txt");

/// What a case finds. Lines that begin with `@` are no part of the file.
fn findings(case: &str, directory: &Path) -> Findings {
    let mut request = Request { directory: directory.to_owned(), ..Request::default() };
    let home = directory.join("home");
    let mut set = |name: &str, value: &str| request.environment.insert(name.to_owned(), value.to_owned());
    set("HOME", &home.display().to_string());
    let mut text = Vec::new();
    for line in case.lines() {
        match line.strip_prefix('@').map(|line| line.split_once(' ').unwrap_or((line, ""))) {
            Some(("env", variable)) => {
                let (name, value) = variable.split_once('=').unwrap();
                set(name, value);
            }
            Some(("flag", line)) => {
                let (flag, setting) = line.split_once(' ').unwrap();
                let (key, value) = setting.split_once('=').unwrap();
                request.flags.push(Flag { flag: flag.to_owned(), key: key.to_owned(), value: value.to_owned() });
            }
            Some(("home", line)) => {
                std::fs::create_dir(&home).unwrap();
                std::fs::write(home.join(".ckanworker.cfg"), format!("[worker]\n{line}\n")).unwrap();
            }
            Some(("bytes", _)) => text.extend(b"ckan.site_id = \xfc\n"),
            _ => text.extend(format!("{line}\n").bytes()),
        }
    }
    std::fs::write(directory.join("worker.cfg"), text).unwrap();
    match Config::load(&request) {
        Ok((_, findings)) | Err(findings) => findings,
    }
}

fn describe(finding: &Finding, directory: &str) -> String {
    let mut text = match (&finding.place, &finding.origin) {
        (Some(place), _) => format!("{}:{}:{}", place.file, place.line, place.column),
        (None, Some(origin)) => origin.clone(),
        (None, None) => "nowhere".to_owned(),
    };
    let severity = format!("{:?}", finding.severity).to_lowercase();
    write!(text, " {severity}[{}] {}", finding.code, finding.message).unwrap();
    if let Some(help) = &finding.help {
        write!(text, "\n  help: {help}").unwrap();
    }
    text.replace(directory, "").replace("/home/.", "~/.").replace("/worker.cfg", "worker.cfg")
}

fn answer(case: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let findings = findings(case, directory.path());
    let rendered = format!("{findings}\n{}", serde_json::to_string(&findings).unwrap());
    assert!(!rendered.contains("hunter"), "a secret is shown:\n{rendered}");
    let path = directory.path().display().to_string();
    findings.iter().map(|finding| describe(finding, &path) + "\n").collect()
}

#[test]
fn every_mistake_is_found_where_it_stands_and_explained() {
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    let (mut actual, mut cases) = (String::new(), 0);
    for block in golden.split("=== ").skip(1) {
        let (title, rest) = block.split_once('\n').unwrap();
        let (case, _) = rest.split_once("---\n").unwrap();
        let answer = answer(case);
        assert!(answer.contains(" error["), "{title}: nothing is found wrong");
        write!(actual, "=== {title}\n{case}---\n{answer}").unwrap();
        cases += 1;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &actual).unwrap();
        return;
    }
    assert!(cases >= 40, "only {cases} cases");
    for (line, (actual, golden)) in actual.lines().zip(golden.lines()).enumerate() {
        assert_eq!(actual, golden, "line {} of {GOLDEN}; UPDATE_GOLDEN=1 writes it anew", line + 1);
    }
    assert_eq!(actual.len(), golden.len());
}

#[test]
fn no_way_to_break_a_file_stops_the_reader_or_shows_the_token() {
    const PIECES: [&str; 24] = [
        "[worker]",
        "[worker:webhook]",
        "[DEFAULT]",
        "[app:main",
        "ckan.api_key = hunter2",
        "ckan.api_key=hunter2 \u{e9}",
        "  ckan.api_key = hunter2",
        "ckan.api_key hunter2",
        "ckan.api_kye: hunter2",
        "ckan.api_key =\n  hunter2",
        "ckan.api_key =\nhunter2",
        "api_key = hunter2%",
        "queue.password: hunter2",
        "amqp_password = hunter2\n  more",
        "amqp.url = amqp://me:hunter2@host:x/",
        "amqp.url = me:hunter2@host",
        "amqp.url = amqp://me:hunter2%%zz@host/a/b",
        "ckan.site_url = ftp://me:hunter2@host",
        "token = hunter2",
        "attempts = many",
        "attempts = %(ckan.api_key)s",
        "plugin_dir = %(",
        "use = config:worker.cfg",
        "  \u{1f980} = ",
    ];
    let directory = tempfile::tempdir().unwrap();
    let mut seed = 7_u64;
    for _ in 0..3000 {
        let mut text = String::new();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(PIECES[usize::try_from(seed >> 33).unwrap() % PIECES.len()]);
            text.push('\n');
        }
        let findings = findings(&text, directory.path());
        let shown = format!("{findings} {} {findings:?}", serde_json::to_string(&findings).unwrap());
        assert!(!shown.contains("hunter"), "{text}\n{shown}");
    }
}
