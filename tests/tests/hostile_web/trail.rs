//! Looks for a secret, in each form that somebody could read it in.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What has to be encoded in a path; many encode more.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Every form of a secret in small letters.
pub struct Trail {
    forms: Vec<String>,
}

impl Trail {
    pub fn of(secret: &str) -> Self {
        assert_eq!(secret, secret.to_lowercase());
        let each_byte = |before: &str| secret.bytes().fold(String::new(), |text, byte| text + before + &hex(byte));
        let mut forms = vec![secret.to_owned(), secret.replace('/', "\\/"), each_byte(""), each_byte("%")];
        for set in [PATH, NON_ALPHANUMERIC] {
            let encoded = utf8_percent_encode(secret, set).to_string();
            forms.extend([encoded.to_lowercase(), encoded]);
        }
        forms.extend([each_byte("").to_uppercase(), each_byte("%").to_uppercase()]);
        // In base64 it looks different behind one byte, and behind two. What is left out depends on its neighbours.
        for (before, unclear) in [(0, 0), (1, 2), (2, 3)] {
            let bytes = [&vec![0; before], secret.as_bytes()].concat();
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let encoded = engine.encode(&bytes);
                forms.push(encoded[unclear..bytes.len() * 8 / 6].to_owned());
            }
        }
        forms.sort();
        forms.dedup();
        Self { forms }
    }

    /// Checks that it is nowhere in a text.
    #[track_caller]
    pub fn assert_absent(&self, place: &str, text: &str) {
        if let Some((form, at)) = self.found_in(text) {
            let from = text.floor_char_boundary(at.saturating_sub(300));
            let to = text.ceil_char_boundary((at + form.len() + 100).min(text.len()));
            panic!("{form} stands in {place}: {}", &text[from..to]);
        }
    }

    /// In which form it stands in a text, and where.
    fn found_in(&self, text: &str) -> Option<(&str, usize)> {
        self.forms.iter().find_map(|form| Some((form.as_str(), text.find(form.as_str())?)))
    }

    /// Checks that it is in no file below a directory.
    #[track_caller]
    pub fn assert_absent_below(&self, dir: &Path) {
        let found = self.files_below(dir);
        assert!(found.is_empty(), "the secret stands in\n{found}");
    }

    /// The files below a directory that it is in, a line for each.
    fn files_below(&self, dir: &Path) -> String {
        let patterns = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(patterns.path(), self.forms.join("\n")).unwrap();
        let mut grep = Command::new("grep");
        grep.args(["-r", "-l", "-a", "-F", "-f"]).arg(patterns.path()).arg(dir).env("LC_ALL", "C");
        let output = grep.output().unwrap();
        // Others may delete a file that is just looked at: that is said with 2.
        assert_ne!(output.status.code(), None);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn hex(byte: u8) -> String {
    let mut text = String::new();
    write!(text, "{byte:02x}").unwrap();
    text
}

#[test]
fn a_secret_is_found_in_each_form() {
    let (secret, dir) = ("canary-7f3a/9c+e1d0~b2", tempfile::tempdir().unwrap());
    let trail = Trail::of(secret);
    let in_base64 = |before: &str| STANDARD_NO_PAD.encode(format!("{before}{secret} and more"));
    let texts = [
        format!("Authorization: {secret}\r\n"),
        "x=canary-7f3a%2F9c%2Be1d0~b2&y".to_owned(),
        "x=canary-7f3a%2f9c%2be1d0~b2&y".to_owned(),
        "canary%2D7f3a%2F9c%2Be1d0%7Eb2".to_owned(),
        r#"{"token":"canary-7f3a\/9c+e1d0~b2"}"#.to_owned(),
        in_base64(""),
        in_base64(":"),
        in_base64("a:"),
        in_base64("user:"),
        "63616e6172792d376633612f39632b653164307e6232".to_owned(),
    ];
    for (number, text) in texts.iter().enumerate() {
        let file = dir.path().join(number.to_string());
        std::fs::write(&file, format!("\0\u{ff}before{text}")).unwrap();
        assert!(trail.files_below(dir.path()).contains(&*file.to_string_lossy()), "{text}");
        assert!(trail.found_in(text).is_some(), "{text}");
    }
    assert_eq!(trail.found_in("canary-7f3a/9c+e1d0~b3"), None);
}
