//! The table, to the letter.

use std::time::Duration;

use super::super::data;
use super::super::table::{ResourceLine, Table, size};
use super::super::{expected, mismatches};

fn line(name: &str, fields: &[(&str, &str)]) -> ResourceLine {
    let mut all = vec![("resource", name), ("name", name), ("declared", "CSV"), ("status_id", "0")];
    all.splice(0..0, fields.iter().copied());
    ResourceLine::from_fields(&all).unwrap()
}

fn kept<'a>(bytes: &'a str, mimetype: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("bytes", bytes), ("mimetype", mimetype), ("sha256", "91c0ffee"), ("status", "Archived successfully")]
}

#[test]
fn the_table_has_a_line_for_each_verdict() {
    let xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    let mut moved = kept("10599", "application/json");
    moved.push(("redirected_to", "http://a.example/new.json"));
    let mut timed = kept("6100", "text/csv");
    timed.push(("duration_ms", "2"));
    let lines = [
        line("elements.csv", &timed),
        line("planets.xlsx", &kept("9800", xlsx)),
        line("iso-countries.json", &moved),
        line("old-budget.csv", &[("status_id", "12"), ("reason", "Server reported status error: 404 Not Found")]),
        line("report.csv", &kept("199", "text/html; charset=utf-8")),
        line(
            "satellite.tif",
            &[("status_id", "21"), ("reason", "Content-length 2100000000 exceeds maximum allowed value 1000000")],
        ),
        line("disk-full.csv", &[("status_id", "23"), ("status", "System error during archival"), ("reason", "")]),
        line("seen.csv", &[("status_id", "1")]),
        line("busy.csv", &[("status_id", ""), ("status", "Postponed"), ("reason", "503, come back in 60 s")]),
        line("list.csv", &[("reason", "declared as CSV, but it looks like application/pdf")]),
    ];
    let mut table = Table::new();
    let mut text: Vec<String> = lines.into_iter().filter_map(|line| table.add(line)).collect();
    text.push(table.summary(Duration::from_millis(7400)));
    assert_eq!(text.join("\n"), GOLDEN);
}

const GOLDEN: &str = "  ok       elements.csv            6.1 kB  text/csv          sha256 91c0…  2 ms
  ok       planets.xlsx            9.8 kB  spreadsheet       sha256 91c0…
  moved    iso-countries.json     10.5 kB  application/json  sha256 91c0…  moved to http://a.example/new.json
  broken   old-budget.csv        Server reported status error: 404 Not Found
  wrong    report.csv            declared CSV, is an HTML page
  too big  satellite.tif         Content-length 2100000000 exceeds maximum allowed value 1000000
  error    disk-full.csv         System error during archival
  same     seen.csv
  retry    busy.csv              503, come back in 60 s
  wrong    list.csv              declared as CSV, but it looks like application/pdf
10 resources: 4 kept, 5 problems found, 1 waiting     7.4 s";

#[test]
fn a_resource_worked_on_twice_has_one_line_until_something_else_comes_of_it() {
    let mut table = Table::new();
    assert!(table.add(line("a.csv", &kept("10", "text/csv"))).is_some());
    assert_eq!(table.add(line("a.csv", &[("status_id", "1")])), None);
    assert_eq!(table.add(line("a.csv", &kept("10", "text/csv"))), None);
    assert!(table.add(line("a.csv", &[("status_id", "12"), ("reason", "404")])).is_some());
    assert_eq!((table.lines().len(), table.lines()[0].status_id), (1, Some(12)));
}

#[test]
fn a_log_line_that_is_not_about_a_resource_is_not_one() {
    assert_eq!(ResourceLine::from_fields(&[("package", "p")]), None);
    assert_eq!(ResourceLine::from_fields(&[("resource", "r"), ("status_id", "many")]), None);
}

#[test]
fn sizes_are_said_in_thousands() {
    for (bytes, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (6149, "6.1 kB"),
        (999_999, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (2_100_000_000, "2.1 GB"),
    ] {
        assert_eq!(size(bytes), text);
    }
}

/// The lines that would be printed if all went as expected.
fn perfect() -> Vec<ResourceLine> {
    let lines = expected().into_iter().map(|expected| ResourceLine {
        resource: expected.name.to_owned(),
        name: expected.name.to_owned(),
        status_id: Some(expected.status_id),
        bytes: expected.kept.as_ref().map(|(bytes, _)| *bytes),
        sha256: expected.kept.map(|(_, sha256)| sha256),
        mimetype: expected.mimetypes.first().map(|kind| (*kind).to_owned()),
        redirected_to: expected.redirected.then(|| "http://a.example/".to_owned()),
        reason: expected.reason.to_owned(),
        ..ResourceLine::default()
    });
    lines.collect()
}

#[test]
fn an_outcome_as_expected_has_no_mismatch() {
    assert_eq!(mismatches(&expected(), &perfect()), Vec::<String>::new());
    assert_eq!(perfect().len(), data::count().1);
}

#[test]
fn a_mismatch_says_what_was_expected_and_what_came() {
    fn check(name: &str, change: impl Fn(&mut ResourceLine), sentence: &str) {
        let mut lines = perfect();
        change(lines.iter_mut().find(|line| line.name == name).unwrap());
        assert_eq!(mismatches(&expected(), &lines), [sentence]);
    }
    check("si-units.csv", |line| line.status_id = Some(12), "si-units.csv: expected status 0, got 12 (: )");
    check("empty.csv", |line| line.status_id = None, "empty.csv: expected status 12, got none (: )");
    check(
        "report.csv",
        |line| line.mimetype = Some("text/csv".into()),
        "report.csv: expected type text/html, got text/csv",
    );
    check("si-units.csv", |line| line.mimetype = None, "si-units.csv: expected type text/csv, got none");
    check(
        "old-budget.csv",
        |line| line.reason = "Gone".into(),
        "old-budget.csv: expected a reason with \"404\", got \"Gone\"",
    );
    check(
        "iso-countries.json",
        |line| line.redirected_to = None,
        "iso-countries.json: expected a redirect to be followed, got none",
    );

    let units = expected().into_iter().find(|expected| expected.name == "si-units.csv").unwrap();
    let cut = ResourceLine { bytes: Some(3), ..line("si-units.csv", &[]) };
    let sentence = format!("si-units.csv: expected bytes {}, got 3", units.kept.as_ref().unwrap().0);
    assert_eq!(units.mismatch(&cut), Some(sentence));

    let mut lines = perfect();
    lines.retain(|line| line.name != "slow.csv");
    lines.push(line("draft.csv", &[("status", "Archived successfully")]));
    let said = mismatches(&expected(), &lines);
    assert_eq!(
        said,
        ["slow.csv: expected status 12, got no result", "draft.csv: expected no result, got Archived successfully"]
    );
}
