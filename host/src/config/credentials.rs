//! Finds the API token, in a setting or in a file of its own.

use std::fs::File;
use std::io::Read;

use secrecy::SecretString;

use super::layer::Won;
use super::read::{Reader, secret};
use crate::diagnostic::Finding;

/// The longest file that is taken for a token.
const KEY_BYTES_MAX: u64 = 16 * 1024;

/// The API token, from the stronger of `ckan.api_key` and `ckan.api_key_file`.
pub fn api_key(reader: &mut Reader<'_>) -> Option<SecretString> {
    match (reader.won("ckan.api_key"), reader.won("ckan.api_key_file")) {
        (Some(key), Some(file)) if key.origin.rank == file.origin.rank => {
            let message = "`ckan.api_key` and `ckan.api_key_file` are both set";
            let finding = Finding::error("config::contradiction", message).about("ckan.api_key_file");
            let finding = file.origin.at_key(finding, format!("the other is set in {}", key.origin.words));
            reader.findings.push(finding.help("keep one, best the file"));
            None
        }
        (Some(key), Some(file)) if key.origin.rank > file.origin.rank => reader.secret("ckan.api_key"),
        (_, Some(file)) => from_file(reader, file),
        (_, None) => reader.secret("ckan.api_key"),
    }
}

fn from_file(reader: &mut Reader<'_>, file: &Won) -> Option<SecretString> {
    let path = file.origin.shown.as_str();
    let failed = |message: String| {
        let finding = Finding::error("config::unreadable", message).about("ckan.api_key_file");
        file.origin.at_value(finding, "this file").help("it should hold the token and nothing else")
    };
    let mut text = String::new();
    let opened = File::open(file.text.trim()).and_then(|file| {
        let metadata = file.metadata()?;
        file.take(KEY_BYTES_MAX).read_to_string(&mut text)?;
        Ok(metadata)
    });
    let metadata = match opened {
        Ok(metadata) => metadata,
        Err(error) => {
            reader.findings.push(failed(format!("cannot read the token's file {path}: {error}")));
            return None;
        }
    };
    if is_open_to_others(&metadata) {
        let message = format!("other users may read the token's file {path}");
        let finding = Finding::warning("config::secret-readable", message).about("ckan.api_key_file");
        reader.findings.push(file.origin.at_value(finding, "this file").help(format!("chmod 600 {path}")));
    }
    match secret(text.trim()) {
        Ok(_) if text.trim().is_empty() => reader.findings.push(failed(format!("the token's file {path} is empty"))),
        Ok(key) => return Some(key),
        Err(_) => reader.findings.push(failed(format!("the token's file {path} holds more than one line of text"))),
    }
    None
}

#[cfg(unix)]
fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o007 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &std::fs::Metadata) -> bool {
    false
}
