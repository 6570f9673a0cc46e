//! The table of formats, `FORMATS.md`: files that are made here, and what comes out for each.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::*;

const HEAD: &str = "\
# What comes out for which file

The tests of `qa` make these files and write this table; `UPDATE_GOLDEN=1 cargo test -p ckan-worker-qa oracle` writes it
anew. Each file is a resource under an open licence; its address says nothing unless it stands in the table.

| file | address | declared | score | format | packed in | decided by |
| --- | --- | --- | ---: | --- | --- | --- |
";

/// A file of the table.
pub struct Case {
    /// What it is.
    pub what: &'static str,
    /// Its content.
    pub content: Vec<u8>,
    /// The end of its address.
    pub address: &'static str,
    /// The format that its publisher says it has.
    pub declared: &'static str,
}

/// A file that nothing else is said about.
pub fn case(what: &'static str, content: impl Into<Vec<u8>>) -> Case {
    Case { what, content: content.into(), address: "", declared: "" }
}

impl Case {
    /// Its address ends so.
    pub fn at(self, address: &'static str) -> Self {
        Self { address, ..self }
    }

    /// Its publisher says this of it.
    pub fn declared(self, declared: &'static str) -> Self {
        Self { declared, ..self }
    }
}

/// Runs the worker on a file, and answers its row.
fn row(case: &Case) -> String {
    let url = format!("http://data.example/files/{}", if case.address.is_empty() { "1" } else { case.address });
    let rig = Rig::of_one(&url);
    rig.edit(|dataset| dataset["resources"][0]["format"] = json!(case.declared));
    rig.bench.web(&url).body(&case.content);
    assert_eq!(rig.run(), done(), "{}", case.what);
    let record = rig.record();
    let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        case.what,
        case.address,
        case.declared,
        record["openness_score"],
        text("format"),
        text("container"),
        text("rule")
    )
}

fn cases() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("texts", files_text::cases()),
        ("linked data", files_text::linked()),
        ("other files", files_binary::cases()),
        ("containers", files_packed::cases()),
        ("hostile files", files_hostile::cases()),
        ("deep files", files_hostile::deep()),
    ]
}

#[test]
fn the_oracle_has_a_row_for_each_file_and_it_comes_out_again() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMATS.md");
    let mut table = String::from(HEAD);
    let mut count = 0;
    for (kind, cases) in cases() {
        writeln!(table, "| **{kind}** | | | | | | |").unwrap();
        count += cases.len();
        for case in &cases {
            table += &row(case);
        }
    }
    assert!(count >= 60, "{count} files");
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
        fs::write(&path, &table).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let different: Vec<String> = table
        .lines()
        .zip(golden.lines().chain(std::iter::repeat("")))
        .filter(|(new, old)| new != old)
        .map(|(new, old)| format!("came out: {new}\nexpected: {old}"))
        .collect();
    assert!(different.is_empty() && table == golden, "{}", different.join("\n"));
}

#[test]
fn a_file_with_faults_panics_nowhere() {
    let scores = crate::format::Scores::default();
    let mut numbers = files_hostile::numbers().map(|number| number as usize);
    let mut next = |below: usize| numbers.next().unwrap() % below.max(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let files = cases().into_iter().flat_map(|(_, cases)| cases).filter(|case| case.content.len() < 5_000);
    for case in files {
        for round in 0..12 {
            let mut content = case.content.clone();
            if round % 2 == 0 {
                content.truncate(next(case.content.len()));
            }
            for _ in 0..=round / 4 {
                let place = next(content.len());
                if let Some(byte) = content.get_mut(place) {
                    *byte = next(256).to_le_bytes()[0];
                }
            }
            fs::write(&path, &content).unwrap();
            for is_whole in [true, false] {
                let sample = crate::sniff::Sample::open(&path, is_whole, 65_536).unwrap();
                let looked = std::panic::catch_unwind(|| crate::sniff::look(&sample, &scores).map(drop));
                assert!(matches!(looked, Ok(Ok(()))), "{} became {:?}", case.what, String::from_utf8_lossy(&content));
            }
        }
    }
}

#[test]
fn the_longest_head_overflows_no_stack_however_deep_it_is_nested() {
    let prefix = "@prefix a: <http://a.example/> .\na:b a:c ";
    let as_long = |start: &str, again: &str| format!("{start}{}", again.repeat((1 << 18) / again.len() + 9));
    for (content, format) in [
        (as_long("", "[1,"), "JSON"),
        (as_long("", "{\"a\":"), "JSON"),
        (as_long("{\"@context\":{},\"@graph\":", "["), "JSON-LD"),
        (as_long("{\"@context\":{},\"@graph\":[", "{\"http://a.example/a\":"), "JSON-LD"),
        (as_long("{\"@graph\":[],\"@context\":", "{\"a\":"), "JSON-LD"),
        (as_long("{\"@graph\":[],\"@context\":", "{\"@context\":"), "JSON-LD"),
        (as_long("{\"@graph\":[],\"@context\":", "["), "JSON-LD"),
        (as_long(prefix, "[a:d "), "TTL"),
        (as_long(prefix, "("), "TTL"),
        (as_long(prefix, "{"), "TTL"),
        (as_long(prefix, "<< "), "TTL"),
        (as_long("<a>", "<a>"), "XML"),
        (as_long("<html>", "<p>"), "HTML"),
    ] {
        let rig = Rig::with(json!([resource("http://data.example/1")]), json!({ "head_bytes": "262_144" }));
        rig.bench.web("http://data.example/1").body(content);
        assert_eq!(rig.run(), done());
        rig.check_record(json!({ "format": format, "rule": "content" }));
    }
}

#[test]
fn what_stands_in_no_table_of_scores_scores_1() {
    let scores = crate::format::Scores::default();
    let mut seen = 0;
    for line in fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMATS.md")).unwrap().lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        if let Some(format) = cells.get(4).filter(|format| cells.len() == 7 && !["---", "format", ""].contains(format))
        {
            let known = scores.named(format);
            seen += 1;
            // It is known by its own name.
            assert!(known.is_some() || cells[3] == "1", "{line}");
        }
    }
    assert!(seen >= 60, "{seen} formats came out");
}
