//! Reads settings, which are texts in an INI file, into the type that a worker declares.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};
use serde_json::{Map, Value};

/// One thing that is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingProblem {
    /// The setting; empty if it is about no single one.
    pub key: String,
    /// What is wrong, as in `expected a whole number, got "many"`.
    pub message: String,
    /// What to do, if that is known.
    pub help: Option<String>,
}

/// All that is wrong with some settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingProblems {
    /// The problems; at least one.
    pub settings: Vec<SettingProblem>,
}

impl fmt::Display for SettingProblems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.settings.iter().enumerate() {
            if index > 0 {
                formatter.write_str("; ")?;
            }
            if !problem.key.is_empty() {
                write!(formatter, "{}: ", problem.key)?;
            }
            formatter.write_str(&problem.message)?;
            if let Some(help) = &problem.help {
                write!(formatter, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for SettingProblems {}

/// Reads a JSON object of settings into `T`. Texts become what `T` asks for: `"5"` a number, `"yes"` a truth value,
/// `"a, b"` or lines a list.
///
/// # Errors
/// All unknown settings, each with the nearest known name, or else the first one with a wrong value.
pub fn read_settings<T: DeserializeOwned>(settings: &Map<String, Value>) -> Result<T, SettingProblems> {
    let known = known_settings::<T>();
    let unknown: Vec<SettingProblem> = match known {
        Some(known) => {
            settings.keys().filter(|key| !known.contains(&key.as_str())).map(|key| unknown(key, known)).collect()
        }
        None => Vec::new(),
    };
    if !unknown.is_empty() {
        return Err(SettingProblems { settings: unknown });
    }
    let fields = settings.iter().map(|(key, value)| (key.as_str(), Setting { key, value }));
    T::deserialize(MapDeserializer::new(fields))
        .map_err(|problem: Problem| SettingProblems { settings: vec![problem.0] })
}

fn unknown(key: &str, known: &[&str]) -> SettingProblem {
    let nearest = nearest(key, known.iter().copied());
    let help = match nearest {
        Some(name) => format!("a similar setting exists: {name}"),
        None if known.is_empty() => "this worker has no settings".to_owned(),
        None => format!("it knows: {}", known.join(", ")),
    };
    SettingProblem { key: key.to_owned(), message: "unknown setting".to_owned(), help: Some(help) }
}

/// The name in `known` that somebody who wrote `word` most likely meant.
#[doc(hidden)]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The names of the fields that `T` asks for; `None` if it takes any.
fn known_settings<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut fields = None;
    let _ = T::deserialize(Probe { fields: &mut fields });
    fields
}

/// A deserializer that only looks at what is asked of it.
struct Probe<'a> {
    fields: &'a mut Option<&'static [&'static str]>,
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Problem> {
        Err(serde::de::Error::custom("only a probe"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Problem> {
        *self.fields = Some(fields);
        Err(serde::de::Error::custom("only a probe"))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        *self.fields = Some(&[]);
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A setting on its way into a type.
#[derive(Clone, Copy)]
struct Setting<'a> {
    key: &'a str,
    value: &'a Value,
}

impl<'a> Setting<'a> {
    fn expected(self, what: &str) -> Problem {
        Problem(SettingProblem {
            key: self.key.to_owned(),
            message: format!("expected {what}, got {}", self.value),
            help: None,
        })
    }

    fn named(self, problem: Problem) -> Problem {
        let mut problem = problem.0;
        if problem.key.is_empty() {
            self.key.clone_into(&mut problem.key);
        }
        Problem(problem)
    }

    fn text(self) -> Option<&'a str> {
        self.value.as_str().map(str::trim)
    }
}

macro_rules! numbers {
    ($what:literal: $($method:ident $visit:ident $type:ty),*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let number: Option<$type> = match self.text() {
                Some(text) => text.replace('_', "").parse().ok(),
                None => <$type>::deserialize(self.value).ok(),
            };
            visitor.$visit(number.ok_or_else(|| self.expected($what))?)
        }
    )* };
}

impl<'de> Deserializer<'de> for Setting<'_> {
    type Error = Problem;

    numbers! { "a whole number":
    deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
    deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
    deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64 }
    numbers! { "a number": deserialize_f32 visit_f32 f32, deserialize_f64 visit_f64 f64 }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::String(text) => visitor.visit_str(text),
            other => {
                other.clone().deserialize_any(visitor).map_err(|error| self.named(serde::de::Error::custom(error)))
            }
        }
        .map_err(|problem: Problem| self.named(problem))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        // The words of Python's ConfigParser.
        let truth = match (self.value, self.text().map(str::to_lowercase).as_deref()) {
            (Value::Bool(truth), _) => Some(*truth),
            (_, Some("1" | "yes" | "true" | "on")) => Some(true),
            (_, Some("0" | "no" | "false" | "off")) => Some(false),
            _ => None,
        };
        visitor.visit_bool(truth.ok_or_else(|| self.expected("yes or no"))?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Null => visitor.visit_none(),
            Value::String(text) if text.trim().is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Some(text) = self.text() else { return self.deserialize_any(visitor) };
        let items: Vec<Value> = text
            .split([',', '\n'])
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| Value::String(item.to_owned()))
            .collect();
        let key = self.key;
        visitor.visit_seq(SeqDeserializer::new(items.iter().map(|value| Setting { key, value })))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let _ = name;
        match self.text() {
            Some(text) if variants.contains(&text) => {
                let text: StrDeserializer<'_, Problem> = text.into_deserializer();
                visitor.visit_enum(text).map_err(|problem| self.named(problem))
            }
            _ => Err(self.expected(&format!("one of {}", variants.join(", ")))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self).map_err(|problem| self.named(problem))
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Problem> for Setting<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[derive(Debug)]
struct Problem(SettingProblem);

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(SettingProblem { key: String::new(), message: message.to_string(), help: None })
    }

    fn missing_field(field: &'static str) -> Self {
        Self(SettingProblem { key: field.to_owned(), message: "this setting is missing".to_owned(), help: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Config {
        dir: std::path::PathBuf,
        #[serde(default)]
        bytes_max: u64,
        #[serde(default)]
        verify: bool,
        #[serde(default)]
        hosts: Vec<String>,
        note: Option<String>,
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        Archive,
        Check,
    }

    #[track_caller]
    fn check(settings: &Value, expected: &str) {
        let read = read_settings::<Config>(settings.as_object().unwrap());
        let text = match read {
            Ok(config) => format!("{config:?}"),
            Err(problems) => problems.to_string(),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn texts_become_what_the_type_asks_for() {
        check(
            &serde_json::json!({"dir": "/a", "bytes_max": "5_000", "verify": "yes", "hosts": "a, b\nc", "mode": "check"}),
            r#"Config { dir: "/a", bytes_max: 5000, verify: true, hosts: ["a", "b", "c"], note: None, mode: Check }"#,
        );
        check(
            &serde_json::json!({"dir": "/a", "bytes_max": 7, "note": "x"}),
            r#"Config { dir: "/a", bytes_max: 7, verify: false, hosts: [], note: Some("x"), mode: Archive }"#,
        );
    }

    #[test]
    fn all_unknown_settings_are_named_with_the_nearest_known_one() {
        check(
            &serde_json::json!({"dri": "/a", "zzz": "1"}),
            "dri: unknown setting (a similar setting exists: dir); \
             zzz: unknown setting (it knows: dir, bytes_max, verify, hosts, note, mode)",
        );
    }

    #[test]
    fn a_wrong_value_says_which_setting_and_what_was_expected() {
        check(
            &serde_json::json!({"dir": "a", "bytes_max": "many"}),
            r#"bytes_max: expected a whole number, got "many""#,
        );
        check(&serde_json::json!({"dir": "a", "verify": "maybe"}), r#"verify: expected yes or no, got "maybe""#);
        check(&serde_json::json!({"dir": "a", "mode": "x"}), r#"mode: expected one of archive, check, got "x""#);
        check(&serde_json::json!({}), "dir: this setting is missing");
    }

    #[test]
    fn a_worker_without_settings_says_so() {
        let problems = read_settings::<crate::NoSettings>(serde_json::json!({"a": "1"}).as_object().unwrap());
        assert_eq!(problems.unwrap_err().to_string(), "a: unknown setting (this worker has no settings)");
    }
}
