//! The INI reader against Python's own, and against noise.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on has failed or says so")]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use ckan_worker::config::ini;

/// Reads `[["text", …], …]` and answers for each text `{"section": {"key": "value"}}`, or null where Python errs.
const ORACLE: &str = r#"
import configparser, json, sys
answers = []
for text in json.load(sys.stdin):
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None)
    try:
        parser.read_string(text)
        sections = {name: dict(parser._sections[name]) for name in parser.sections()}
        if parser.defaults():
            sections["DEFAULT"] = dict(parser.defaults())
        answers.append(sections)
    except configparser.Error:
        answers.append(None)
json.dump(answers, sys.stdout)
"#;

type Sections = BTreeMap<String, BTreeMap<String, String>>;

fn ours(text: &str) -> Option<Sections> {
    let (document, findings) = ini::parse("worker.cfg", text);
    if findings.has_errors() {
        return None;
    }
    let entries = |section: ini::Section| section.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    let sections = document.sections.into_iter().map(|section| (section.name.clone(), entries(section)));
    // Python does not tell an empty `[DEFAULT]` from none.
    Some(sections.filter(|(name, entries): &(_, BTreeMap<_, _>)| name != "DEFAULT" || !entries.is_empty()).collect())
}

fn python(texts: &[String]) -> Option<Vec<Option<Sections>>> {
    let mut child = Command::new("python3")
        .args(["-c", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .inspect_err(|error| {
            println!("SKIPPED: no comparison with Python's configparser, python3 does not start: {error}");
        })
        .ok()?;
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(texts).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Texts put together at random out of what matters in INI files; the same ones in every run.
fn random_texts(count: usize) -> Vec<String> {
    const PIECES: [&str; 26] = [
        "[a]",
        "[b]",
        "[DEFAULT]",
        "[",
        "]",
        "\n",
        "\n",
        "\n",
        "\n\n",
        "\n  ",
        "\n\t",
        "key",
        "Key",
        "other",
        "=",
        " = ",
        ":",
        " : ",
        "value",
        "x;y",
        " ; note",
        "#",
        "\n# note\n",
        "\n; note",
        " ",
        "ä€",
    ];
    let mut seed = 42_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let text = |_| {
        let pieces: String = (0..random(24)).map(|_| PIECES[random(PIECES.len())]).collect();
        // Most texts should get past the first line.
        if random(8) > 0 { format!("[s]\nk = v\n{pieces}") } else { pieces }
    };
    (0..count).map(text).collect()
}

#[test]
fn files_are_read_as_python_reads_them() {
    let mut texts: Vec<String> = [
        "[worker]\nckan.site_id = a\n",
        "[worker]\nkey = abc;def#ghi ; a comment\nurl: http://h/p#frag\n",
        "[worker]\nlist =\n  one\n  two\n\n  three\n\nnext = 1\n",
        "[worker]\r\nKEY = Value\r\n  more\r\n",
        "[worker]\na = 1\n# note\n  continued\n; note\n b = 2\n",
        "[DEFAULT]\na = 1\n[x:y]\nb = %(a)s\n[DEFAULT]\nc=3\n",
        "[a] trailing\nk = v\n[b]c]\nk=v\n",
        "  [a]\n  k = v\n    w\n",
        "[a]\nk = [x]\n  [y]\n",
        "[a]\n= v\n",
        "[a]\nk\n",
        "k = v\n",
        "[]\nk = v\n",
    ]
    .map(str::to_owned)
    .into();
    texts.extend(random_texts(4000));
    let Some(answers) = python(&texts) else { return };
    let understood = answers.iter().flatten().count();
    assert!(understood > 500, "only {understood} of {} texts are any good", texts.len());
    for (text, expected) in texts.iter().zip(answers) {
        assert_eq!(ours(text), expected, "{text:?}");
    }
}

#[test]
fn noise_is_reported_and_never_stops_the_reader() {
    for text in random_texts(20_000) {
        let (document, findings) = ini::parse("noise", &text);
        let shown = findings.to_string();
        for finding in &findings {
            let place = finding.place.as_ref().unwrap();
            assert!(
                place.line >= 1 && place.column >= 1 && shown.contains(&format!("noise:{}:", place.line)),
                "{text:?}"
            );
        }
        for entry in document.sections.iter().flat_map(|section| &section.entries) {
            let line = text.split('\n').nth(entry.key_place.line - 1).unwrap();
            let at = |column: usize, width: usize| line.chars().skip(column - 1).take(width).collect::<String>();
            assert_eq!(at(entry.key_place.column, entry.key_place.width).to_lowercase(), entry.key, "{text:?}");
            let value = at(entry.value_place.column, entry.value_place.width);
            assert!(entry.value_place.width == 0 || entry.value.starts_with(&value), "{text:?} {value:?}");
        }
    }
}
