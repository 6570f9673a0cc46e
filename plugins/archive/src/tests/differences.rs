//! The table in `DIFFERENCES.md`: what becomes of each case here is what the worker does on the bench.

use std::fmt::Write as _;

use super::*;

mod acts;
mod complaints;
mod statuses;

use acts::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/DIFFERENCES.md");

const HEAD: &str = "\
# What is different from ckanext-archiver

Numbers, texts and rules are those of ckanext-archiver, so that reports and pages that know them go on working:
below 10 a link is not broken, from 10 to 19 it is, above that nobody knows; the last good copy stays while a link is
broken. The second column says what ckanext-archiver 2 and later does, read in its source; the third is written by a
test that runs this worker through each case.

| case | ckanext-archiver | this worker | why |
| --- | --- | --- | --- |
";

/// One case.
struct Case {
    /// What happens.
    name: &'static str,
    /// What ckanext-archiver makes of it.
    theirs: &'static str,
    /// Runs the worker, and says what it makes of it.
    ours: fn() -> String,
    /// Why that is something else; empty if it is not.
    why: &'static str,
}

/// What the record of the resource says.
fn said(rig: &Rig) -> String {
    let record = rig.record();
    if record.is_null() {
        return "no record".to_owned();
    }
    let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let mut said = format!("{} {}", record["status_id"], text("status"));
    let reason = text("reason");
    if !reason.is_empty() {
        write!(said, ": {reason}").unwrap();
    }
    let _ = match &record["is_broken"] {
        Value::Null => write!(said, " (not known to be broken)"),
        broken if *broken == true => write!(said, " (broken)"),
        _ => Ok(()),
    };
    said
}

fn cases() -> impl Iterator<Item = &'static Case> {
    statuses::CASES.iter().chain(complaints::CASES)
}

fn table() -> String {
    let mut table = HEAD.to_owned();
    for case in cases() {
        let Case { name, theirs, why, .. } = case;
        let ours = (case.ours)().replace('|', "\\|");
        writeln!(table, "| {name} | {theirs} | {ours} | {why} |").unwrap();
    }
    table
}

#[test]
fn the_table_of_differences_is_what_the_worker_does() {
    let table = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(FILE, &table).unwrap();
    }
    let written = fs::read_to_string(FILE).unwrap();
    for (written, done) in written.lines().zip(table.lines()) {
        assert_eq!(written, done, "UPDATE_GOLDEN=1 writes the table anew");
    }
    assert_eq!(written.lines().count(), table.lines().count());
}

#[test]
fn every_status_is_in_the_table_and_every_difference_has_a_reason() {
    let table = table();
    for status in [
        "0 Archived successfully",
        "1 Content has not changed",
        "10 URL invalid",
        "12 Download error",
        "21 Chose not to download",
        "22 Download failure",
        "23 System error during archival",
    ] {
        assert!(table.contains(status), "{status}");
    }
    for case in cases() {
        let is_same = case.theirs.split(';').next().is_some_and(|theirs| (case.ours)().starts_with(theirs));
        assert!(is_same || !case.why.is_empty(), "{}", case.name);
    }
}
