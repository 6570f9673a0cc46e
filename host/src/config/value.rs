//! Reads the text of a setting as what it should be, or says what was expected.

use std::net::IpAddr;
use std::time;

use ipnet::IpNet;

use crate::services::ckan::Rewrite;

/// What the value of a setting looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One line of text of limited length.
    Text {
        /// The most characters.
        bytes_max: usize,
    },
    /// A text that is shown to nobody.
    Secret,
    /// A file.
    Path,
    /// Files or directories.
    Paths,
    /// An `http://` or `https://` address.
    Url,
    /// Where a queue is.
    Address,
    /// Yes or no.
    Flag,
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A time in whole seconds.
    Duration {
        /// The least seconds.
        min: u64,
        /// The most seconds.
        max: u64,
    },
    /// Times, shortest first, at least one.
    Durations {
        /// The least milliseconds of one.
        min_ms: u64,
        /// The most seconds of one.
        max: u64,
    },
    /// A number of bytes.
    Size {
        /// The least bytes.
        min: u64,
        /// The most bytes.
        max: u64,
    },
    /// Networks and single addresses.
    Networks,
    /// Public addresses, each with an internal one.
    Rewrites,
    /// Ports.
    Ports,
}

/// Reads a whole number from `min` to `max`.
///
/// # Errors
/// What was expected.
pub fn count(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let expected = || format!("expected a whole number from {min} to {max}");
    text.parse().ok().filter(|number| (min..=max).contains(number)).ok_or_else(expected)
}

/// Reads a yes or no, in the words of Python's ConfigParser.
///
/// # Errors
/// What was expected.
pub fn flag(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err("expected yes or no".to_owned()),
    }
}

/// Reads whole seconds, or a number with `s`, `m` or `h`, from `min` to `max` seconds.
///
/// # Errors
/// What was expected.
pub fn duration(text: &str, min: u64, max: u64) -> Result<time::Duration, String> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds = factor.zip(number).and_then(|(factor, number)| number.checked_mul(factor));
    match seconds {
        Some(seconds) if (min..=max).contains(&seconds) => Ok(time::Duration::from_secs(seconds)),
        Some(_) => Err(format!("expected a time from {} to {}", spell(min), spell(max))),
        None => Err("expected a time in whole seconds, as in 300, 30s, 5m or 2h".to_owned()),
    }
}

/// Reads times separated by commas, each from `min_ms` milliseconds to `max` seconds.
///
/// # Errors
/// What was expected.
pub fn durations(text: &str, min_ms: u64, max: u64) -> Result<Vec<time::Duration>, String> {
    let one = |text: &str| match split_unit(text) {
        (Some(number), "ms") if (min_ms..=max.saturating_mul(1000)).contains(&number) => {
            Ok(time::Duration::from_millis(number))
        }
        (Some(_), "ms") => Err(format!("expected times from {min_ms}ms to {}", spell(max))),
        _ => duration(text, 1, max),
    };
    items(text).map(one).collect()
}

/// Reads a number of bytes, plain or with a unit as in `50MB` or `16MiB`, from `min` to `max`.
///
/// # Errors
/// What was expected.
pub fn size(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let factor = match unit.to_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    };
    match factor.zip(number).and_then(|(factor, number)| number.checked_mul(factor)) {
        Some(bytes) if (min..=max).contains(&bytes) => Ok(bytes),
        Some(_) => Err(format!("expected a size from {min} to {max} bytes")),
        None => Err("expected a size in bytes, as in 1048576, 50MB or 16MiB".to_owned()),
    }
}

/// Reads networks and single addresses, separated by commas, white space or lines.
///
/// # Errors
/// What was expected.
pub fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let network = |word: &str| word.parse().or_else(|_| word.parse::<IpAddr>().map(IpNet::from)).ok();
    let words = text.split(|character: char| character == ',' || character.is_whitespace()).filter(|w| !w.is_empty());
    words
        .map(|word| network(word).ok_or_else(|| format!("expected networks as in 10.0.0.0/8 or ::1, `{word}` is none")))
        .collect()
}

/// Reads pairs of a public and an internal address, as in `https://data.example=http://ckan:5000`, separated by commas.
///
/// # Errors
/// What was expected.
pub fn rewrites(text: &str) -> Result<Vec<Rewrite>, String> {
    items(text).map(Rewrite::parse).collect()
}

/// Reads ports, separated by commas or lines.
///
/// # Errors
/// What was expected.
pub fn ports(text: &str) -> Result<Vec<u16>, String> {
    let port = |item: &str| item.parse().ok().filter(|port| *port != 0);
    items(text)
        .map(|item| port(item).ok_or_else(|| format!("expected ports as in 80, 443, `{item}` is none")))
        .collect()
}

/// The items of a list, separated by commas or lines.
pub fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty())
}

fn split_unit(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok(), text[end..].trim_start())
}

fn spell(seconds: u64) -> String {
    match seconds {
        0 => "0".to_owned(),
        s if s.is_multiple_of(3600) => format!("{}h", s / 3600),
        s if s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        for (text, expected) in [
            ("300", "Ok(300s)"),
            ("30s", "Ok(30s)"),
            ("5m", "Ok(300s)"),
            ("1 h", "Ok(3600s)"),
            ("2h", r#"Err("expected a time from 1s to 1h")"#),
            ("0", r#"Err("expected a time from 1s to 1h")"#),
            ("5 minutes", r#"Err("expected a time in whole seconds, as in 300, 30s, 5m or 2h")"#),
            ("1.5h", r#"Err("expected a time in whole seconds, as in 300, 30s, 5m or 2h")"#),
            ("-1", r#"Err("expected a time in whole seconds, as in 300, 30s, 5m or 2h")"#),
            ("99999999999999999999h", r#"Err("expected a time in whole seconds, as in 300, 30s, 5m or 2h")"#),
            ("9999999999999999999h", r#"Err("expected a time in whole seconds, as in 300, 30s, 5m or 2h")"#),
        ] {
            assert_eq!(format!("{:?}", duration(text, 1, 3600)), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        assert_eq!(size("50MB", 0, u64::MAX), Ok(50_000_000));
        assert_eq!(size("16MiB", 0, u64::MAX), Ok(16 * 1024 * 1024));
        assert_eq!(size("1024", 0, u64::MAX), Ok(1024));
        assert!(size("5 bananas", 0, u64::MAX).is_err());
        assert_eq!(size("2GiB", 0, 1024), Err("expected a size from 0 to 1024 bytes".to_owned()));
    }

    #[test]
    fn ports_are_numbers_that_a_port_can_have() {
        assert_eq!(ports("80, 443\n8080"), Ok(vec![80, 443, 8080]));
        assert_eq!(ports("80, 0"), Err("expected ports as in 80, 443, `0` is none".to_owned()));
        assert_eq!(ports("65536"), Err("expected ports as in 80, 443, `65536` is none".to_owned()));
    }

    #[test]
    fn networks_may_be_single_addresses() {
        let read = networks("127.0.0.0/8, ::1\n10.1.2.3").unwrap();
        assert_eq!(read.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.0/8", "::1/128", "10.1.2.3/32"]);
        assert_eq!(
            networks("localhost"),
            Err("expected networks as in 10.0.0.0/8 or ::1, `localhost` is none".to_owned())
        );
    }
}
