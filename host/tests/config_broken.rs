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
