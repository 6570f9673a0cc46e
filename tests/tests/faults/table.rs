//! The table of faults: a row for each case, printed as the cases end and kept in `tests/FAULTS.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use worker_tests::places::{scratch, workspace};
use worker_tests::wait::FileLock;
use worker_tests::{Counts, Verdict};

use crate::cases::{CASES, Case, form};

const HEAD: &str = "| case | what breaks | messages | lost | unexpected | duplicated | recovered | detail |\n\
                    | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n";

/// Writes a row, prints it, and with `UPDATE_GOLDEN=1` writes the table anew.
pub fn add(case: &Case, verdict: &Verdict) {
    let dir = rows();
    fs::create_dir_all(&dir).unwrap();
    let _lock = FileLock::acquire(&dir.join("lock"));
    let row = row(case, verdict);
    fs::write(dir.join(case.id), &row).unwrap();
    worker_tests::say(row.trim_end());
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") && verdict.is_good() {
        update();
    }
}

fn row(case: &Case, verdict: &Verdict) -> String {
    let Counts { acknowledged, lost, unexpected, duplicated, letters_twice, recovered, repeated, .. } = verdict.counts;
    let mut detail = verdict.detail.clone();
    if letters_twice > 0 {
        detail.push(format!("{letters_twice} dead letters twice"));
    }
    if repeated > 0 {
        detail.push(format!("{repeated} failed attempts repeated"));
    }
    let (id, fault, detail) = (case.id, case.fault, detail.join("; "));
    format!("| {id} | {fault} | {acknowledged} | {lost} | {unexpected} | {duplicated} | {recovered} | {detail} |\n")
}

fn rows() -> PathBuf {
    scratch().join("faults").join(form().name)
}

fn file() -> PathBuf {
    workspace().join("tests/FAULTS.md")
}

/// Writes the rows that there are into the section of this form; a row that did not run stays.
fn update() {
    let text = fs::read_to_string(file()).unwrap();
    let title = format!("## The {} form\n", form().name);
    let (before, rest) = text.split_once(&title).expect("the section is there");
    let (section, after) = rest.find("\n## ").map_or((rest, ""), |at| rest.split_at(at));
    let old = rows_in(section);
    let mut table = String::from(HEAD);
    for case in CASES {
        let new = fs::read_to_string(rows().join(case.id)).ok();
        let old = old.iter().find(|row| row.starts_with(&format!("| {} |", case.id))).map(|row| format!("{row}\n"));
        table += &new.or(old).unwrap_or_default();
    }
    let mut whole = String::new();
    write!(whole, "{before}{title}\n{table}{after}").unwrap();
    fs::write(file(), whole).unwrap();
}

fn rows_in(section: &str) -> Vec<&str> {
    section.lines().filter(|line| line.starts_with("| F") || line.starts_with("| S")).collect()
}

#[test]
fn the_table_has_a_row_for_each_case_and_nothing_is_lost_in_any() {
    let text = fs::read_to_string(file()).unwrap();
    for form in ["short", "long"] {
        let (_, rest) = text.split_once(&format!("## The {form} form\n")).expect("the section is there");
        let rows = rows_in(rest.split("\n## ").next().unwrap_or_default());
        let columns = rows.iter().map(|row| row.split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect());
        let columns: Vec<Vec<&str>> = columns.collect();
        // The long form may have been run in part; the short one has run as a whole.
        let known = CASES.iter().map(|case| [case.id, case.fault]);
        let found: Vec<[&str; 2]> = columns.iter().map(|row| [row[0], row[1]]).collect();
        if form == "short" {
            assert_eq!(found, known.collect::<Vec<_>>(), "UPDATE_GOLDEN=1 cargo test -p worker-tests --test faults");
        } else {
            assert!(found.iter().all(|row| known.clone().any(|case| case == *row)), "{found:?}");
        }
        for row in columns {
            assert_ne!(row[2], "0", "{}: something was published", row[0]);
            assert_eq!(row[3..5], ["0", "0"], "{}: nothing is lost and nothing is there that should not be", row[0]);
        }
    }
}

#[test]
fn each_case_is_run_by_one_test() {
    let source = workspace().join("tests/tests/faults");
    let files = fs::read_dir(source).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let text: String = files.collect();
    for case in CASES {
        let runs = text.matches(&format!("conclude(\"{}\"", case.id)).count();
        assert_eq!(runs, 1, "{}: {}", case.id, case.fault);
    }
}
