//! What a plugin file says of itself. Read from the file each time, never kept beside it: what is kept goes stale.

use serde::{Deserialize, Serialize};

/// What a plugin says of itself in its file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// The worker's name, as on the command line.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The version of the plugin ABI it was built with, as in `1.0.0`.
    pub abi: String,
    /// The version of the SDK it was built with.
    pub sdk: String,
    /// The compiler it was built with.
    pub rustc: String,
    /// What it was built for, as in `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// One line on what it does.
    pub description: String,
    /// Its licence.
    pub license: String,
    /// Where to read about it.
    pub homepage: String,
    /// The routing keys it wants; empty for all.
    pub routing_keys: Vec<String>,
    /// The operations it wants; empty for all.
    pub operations: Vec<String>,
    /// The CKAN actions it writes with.
    pub writes: Vec<String>,
    /// Whether its calls must come one after another.
    pub serial: bool,
    /// How long notifications about one dataset are gathered for it, in milliseconds; 0 for not at all.
    pub coalesce_ms: u64,
    /// What of a dataset it looks at; empty for all but what changes by itself and what it writes.
    pub inputs: Vec<String>,
    /// What of a dataset it writes.
    pub outputs: Vec<String>,
    /// Whether it wants to hear how the runs of other workers ended.
    pub outcomes: bool,
}

impl Manifest {
    /// Reads the JSON in a plugin file. Fields of later versions are passed over.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with "its manifest".
    pub fn read(json: &[u8]) -> Result<Self, String> {
        // The note is filled up with zero bytes to whole words.
        let end = json.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let manifest: Self =
            serde_json::from_slice(&json[..end]).map_err(|error| format!("is not what a manifest is: {error}"))?;
        if !is_name(&manifest.name) {
            return Err(format!(
                "names the worker {:?}, expected letters, digits, `-` and `_`, 64 at most",
                manifest.name
            ));
        }
        if manifest.abi_version().is_none() {
            return Err(format!("has the ABI version {:?}, expected one like 1.0.0", manifest.abi));
        }
        Ok(manifest)
    }

    /// Major and minor version of the ABI it was built with.
    pub fn abi_version(&self) -> Option<(u32, u32)> {
        major_minor(&self.abi)
    }
}

/// The first two numbers of a version.
pub fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_a_later_version_can_be_read() {
        let manifest = Manifest::read(br#"{"name":"geo","abi":"1.7.0","colour":"green"}"#).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.abi_version()), ("geo", Some((1, 7))));
    }

    #[test]
    fn a_manifest_that_is_wrong_says_what_was_expected() {
        for (json, text) in [
            (r#"{"name":"../geo","abi":"1.0.0"}"#, "names the worker \"../geo\", expected letters"),
            (r#"{"name":"geo","abi":"one"}"#, "has the ABI version \"one\", expected one like 1.0.0"),
            ("{", "is not what a manifest is: EOF while parsing"),
        ] {
            let problem = Manifest::read(json.as_bytes()).unwrap_err();
            assert!(problem.starts_with(text), "{problem}");
        }
    }
}
