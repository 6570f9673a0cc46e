//! The targets: one line of the setting `targets` for each.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use ckan_worker_plugin::serde::{Deserialize, Deserializer, de};
use url::Url;

use crate::filter::Filter;
use crate::format::Format;

const TARGETS_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 64;
const OPTIONS: &str = "url_file, secret_file, routing_keys, operations, organizations, private, plugin_data, format";

/// The setting `targets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets(pub Vec<Target>);

/// Who is told, how, and of what.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, for the log.
    pub name: String,
    /// Where it is posted to.
    pub place: Place,
    /// The file with its secrets, if it has some of its own.
    pub secret_file: Option<PathBuf>,
    /// Which notifications it asks for.
    pub filter: Filter,
    /// Whether it gets what only sysadmins see in CKAN.
    pub plugin_data: bool,
    /// In which form it wants them.
    pub format: Format,
}

/// Where a target is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// At this address.
    Address(Url),
    /// At the address in this file: with some services whoever knows the address may post.
    InFile(PathBuf),
}

/// Shows all but the address, which may be a secret.
impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Target")
            .field("name", &self.name)
            .field("secret_file", &self.secret_file)
            .field("filter", &self.filter)
            .field("plugin_data", &self.plugin_data)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;

        impl de::Visitor<'_> for Lines {
            type Value = Targets;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("lines, a target each")
            }

            // What fails in here is reported with the setting's name and its place in the file.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Targets, E> {
                Targets::read(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Lines)
    }
}

impl Targets {
    /// Reads lines of the form `NAME URL option=value …`.
    ///
    /// # Errors
    /// A sentence that names the first wrong line and says what was expected. It repeats no address.
    pub fn read(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut targets: Vec<Target> = Vec::new();
        let mut names = BTreeSet::new();
        for (index, line) in lines.enumerate() {
            // Only what is a name is shown: where the name was forgotten, the address stands first.
            let shown = name(line.split_whitespace().next().unwrap_or_default());
            let shown = shown.map(|name| format!(" ({name})")).unwrap_or_default();
            let wrong = |reason: String| format!("target {}{shown}: {reason}", index + 1);
            let target = target(line).map_err(wrong)?;
            if !names.insert(target.name.clone()) {
                return Err(wrong("another target has this name".to_owned()));
            }
            targets.push(target);
        }
        match targets.len() {
            0 => Err("expected at least one line `NAME URL option=value …`, got none".to_owned()),
            1..=TARGETS_MAX => Ok(Self(targets)),
            count => Err(format!("expected at most {TARGETS_MAX} targets, got {count}")),
        }
    }
}

fn target(line: &str) -> Result<Target, String> {
    if line.chars().any(|letter| letter.is_control() && letter != '\t') {
        return Err("there is a control character in this line".to_owned());
    }
    let mut words = line.split_whitespace().peekable();
    let name = name(words.next().unwrap_or_default())?;
    let address = words.next_if(|word| word.contains("://")).map(address).transpose()?;
    let mut options = Options::default();
    for word in words {
        options.take(word)?;
    }
    let place = match (address, options.url_file) {
        (Some(address), None) => Place::Address(address),
        (None, Some(file)) => Place::InFile(file),
        (Some(_), Some(_)) => return Err("expected an address or `url_file=PATH`, got both".to_owned()),
        (None, None) => {
            return Err("expected an http or https address after the name, or `url_file=PATH`, got neither".to_owned());
        }
    };
    let Options { secret_file, filter, plugin_data, format, .. } = options;
    Ok(Target { name, place, secret_file, filter, plugin_data, format })
}

fn name(word: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if word.len() <= NAME_CHARS_MAX && word.bytes().all(is_plain) {
        return Ok(word.to_owned());
    }
    Err(format!("expected a name of letters, digits, `-`, `_` and `.`, at most {NAME_CHARS_MAX}, first in the line"))
}

/// Reads the address of a target.
///
/// # Errors
/// A sentence that says what was expected and does not repeat the address.
pub fn address(text: &str) -> Result<Url, String> {
    // The parser would leave them out without a word.
    if text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return Err("there is white space or a control character in the address".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("the address cannot be read: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("expected an address that begins with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("expected an address without user name and password: posts are signed instead".to_owned());
    }
    Ok(url)
}

#[derive(Default)]
struct Options {
    seen: BTreeSet<String>,
    url_file: Option<PathBuf>,
    secret_file: Option<PathBuf>,
    filter: Filter,
    plugin_data: bool,
    format: Format,
}

impl Options {
    fn take(&mut self, word: &str) -> Result<(), String> {
        // What is not understood is not repeated: it may be a secret.
        let Some((key, value)) = word.split_once('=') else {
            return Err("expected `option=value` after the address, got a word without `=`".to_owned());
        };
        if value.is_empty() {
            return Err(format!("{} has no value", shown(key)));
        }
        if !self.seen.insert(key.to_owned()) {
            return Err(format!("{} stands there twice", shown(key)));
        }
        match key {
            "url_file" => self.url_file = Some(value.into()),
            "secret_file" => self.secret_file = Some(value.into()),
            "routing_keys" => self.filter.routing_keys = list(key, value)?,
            "operations" => self.filter.operations = list(key, value)?,
            "organizations" => self.filter.organizations = list(key, value)?,
            "private" => self.filter.private = flag(key, value)?,
            "plugin_data" => self.plugin_data = flag(key, value)?,
            "format" => self.format = Format::read(value)?,
            "secret" | "url" => {
                return Err(format!(
                    "this setting is shown, so no secret stands in it: write `{key}_file=PATH` instead"
                ));
            }
            _ => return Err(format!("{} is no option; there are {OPTIONS}", shown(key))),
        }
        Ok(())
    }
}

/// The name of an option, if it looks like one: the end of a secret in Base64 is `=`, too.
fn shown(key: &str) -> String {
    let looks_like_one = key.len() <= 16 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if looks_like_one { format!("`{key}`") } else { "a word with `=` in it".to_owned() }
}

fn list(key: &str, value: &str) -> Result<Vec<String>, String> {
    let items: Vec<String> = value.split(',').map(str::to_owned).collect();
    if items.iter().any(String::is_empty) {
        return Err(format!("expected words with single commas between them for `{key}`, got {value:?}"));
    }
    Ok(items)
}

fn flag(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("expected yes or no for `{key}`, got {value:?}")),
    }
}
