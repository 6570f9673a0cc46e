//! Reads single settings as what the table of keys says they are. What is wrong is reported, and left out.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::keys;
use super::layer::{Merged, Won};
use super::value::{self, Kind};
use crate::diagnostic::{Finding, Findings};

/// Reads settings of the host.
pub struct Reader<'a> {
    /// What was set.
    pub merged: &'a Merged,
    /// What is wrong with it.
    pub findings: &'a mut Findings,
}

impl<'a> Reader<'a> {
    /// What was set, if it is not empty.
    pub fn won(&self, name: &str) -> Option<&'a Won> {
        self.merged.host.get(name).filter(|won| !won.text.trim().is_empty())
    }

    /// A setting read by `parse`.
    pub fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        parsed(name, self.won(name)?, parse, self.findings)
    }

    /// One line of text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let Kind::Text { bytes_max } = kind(name)? else { return None };
        self.parsed(name, |text| {
            let fits = text.len() <= bytes_max && !text.contains(char::is_control);
            fits.then(|| text.to_owned()).ok_or_else(|| format!("expected one line of at most {bytes_max} bytes"))
        })
    }

    /// A name that can stand in the head of an HTTP request.
    pub fn header_name(&mut self, name: &str) -> Option<String> {
        self.parsed(name, |text| {
            let is_token = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(&byte));
            is_token.then(|| text.to_owned()).ok_or_else(|| "expected the name of an HTTP header".to_owned())
        })
    }

    /// A secret.
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.parsed(name, secret)
    }

    /// A yes or no.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        self.parsed(name, value::flag)
    }

    /// A whole number.
    pub fn count<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        let Kind::Count { min, max } = kind(name)? else { return None };
        self.parsed(name, |text| {
            T::try_from(value::count(text, min, max)?).map_err(|_| "expected a smaller number".to_owned())
        })
    }

    /// A time.
    pub fn duration(&mut self, name: &str) -> Option<Duration> {
        let Kind::Duration { min, max } = kind(name)? else { return None };
        self.parsed(name, |text| value::duration(text, min, max))
    }

    /// Times.
    pub fn durations(&mut self, name: &str) -> Option<Vec<Duration>> {
        let Kind::Durations { min_ms, max } = kind(name)? else { return None };
        self.parsed(name, |text| value::durations(text, min_ms, max))
    }

    /// A number of bytes.
    pub fn size(&mut self, name: &str) -> Option<usize> {
        let Kind::Size { min, max } = kind(name)? else { return None };
        self.parsed(name, |text| {
            usize::try_from(value::size(text, min, max)?).map_err(|_| "expected a smaller size".to_owned())
        })
    }

    /// Files or directories.
    pub fn paths(&mut self, name: &str) -> Vec<PathBuf> {
        self.won(name).into_iter().flat_map(|won| value::items(&won.text)).map(PathBuf::from).collect()
    }

    /// A file or directory.
    pub fn text_of_path(&mut self, name: &str) -> Option<PathBuf> {
        self.won(name).map(|won| won.text.trim()).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// An `http://` or `https://` address.
    pub fn url(&mut self, name: &str) -> Option<Url> {
        self.parsed(name, |text| {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            url.ok_or_else(|| "expected an address as in https://data.example".to_owned())
        })
    }
}

/// Reads `won` by `parse`, or reports what was expected.
pub fn parsed<T>(
    name: &str,
    won: &Won,
    parse: impl FnOnce(&str) -> Result<T, String>,
    findings: &mut Findings,
) -> Option<T> {
    let text = won.text.trim();
    parse(text)
        .map_err(|expected| {
            let message = match keys::host(name).map(|key| key.kind) {
                Some(Kind::Address | Kind::Secret) => format!("`{name}`: {expected}"),
                _ => format!("`{name}`: {expected}, got {:?}", won.origin.shown),
            };
            let finding = Finding::error("config::wrong-value", message).about(name);
            findings.push(won.origin.at_value(finding, expected));
        })
        .ok()
}

/// Takes a secret that can stand in the head of an HTTP request.
///
/// # Errors
/// What was expected.
pub fn secret(text: &str) -> Result<SecretString, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    is_plain.then(|| text.into()).ok_or_else(|| "expected one line of plain ASCII characters".to_owned())
}

fn kind(name: &str) -> Option<Kind> {
    keys::host(name).map(|key| key.kind)
}
