//! Whether CKAN has a value already. What is not different is not written: every write announces a change.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Number, Value};

/// The fields that CKAN keeps as whole numbers.
const NUMBERS: [&str; 1] = ["size"];

/// Whether `there` is what is `wanted`: 7 is "7", an empty text is nothing, a time is the same with and without its
/// zone, and CKAN may have put more into an object.
pub(super) fn has(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Number(there), Value::Number(wanted)) => same_number(there, wanted),
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            text.trim() == number.to_string()
        }
        (Value::Object(there), Value::Object(wanted)) => has_fields(there, wanted),
        (Value::Array(there), Value::Array(wanted)) => same_list(there, wanted),
        (Value::String(there), Value::String(wanted)) => there == wanted || same_time(there, wanted),
        // What CKAN has no value for it shows as null, as an empty text, or not at all.
        (Value::Null, Value::String(text)) | (Value::String(text), Value::Null) => text.is_empty(),
        (there, wanted) => there == wanted,
    }
}

/// CKAN shows times without a zone, in UTC, and with microseconds.
fn same_time(one: &str, other: &str) -> bool {
    time(one).is_some_and(|one| time(other) == Some(one))
}

fn time(text: &str) -> Option<Timestamp> {
    // Shorter ones may be something else: a version, a number.
    if text.len() < "2026-01-01T00:00".len() || !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let without_zone = || TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    text.parse().ok().or_else(without_zone)
}

fn same_number(one: &Number, other: &Number) -> bool {
    one == other || (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
}

fn has_fields(there: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(field, wanted)| has(there.get(field).unwrap_or(&Value::Null), wanted))
}

/// CKAN keeps tags, groups and extras in an order of its own; other lists have theirs.
fn same_list(there: &[Value], wanted: &[Value]) -> bool {
    there.len() == wanted.len()
        && if wanted.iter().all(Value::is_object) {
            wanted.iter().all(|wanted| there.iter().any(|there| has(there, wanted)))
        } else {
            there.iter().zip(wanted).all(|(there, wanted)| has(there, wanted))
        }
}

/// The value as it is sent: a number as a number where CKAN keeps one, for to CKAN the text "7" is a change of 7.
pub(super) fn fit(field: &str, there: &Value, wanted: &Value) -> Value {
    match wanted.as_str().map(|text| text.trim().parse::<i64>()) {
        Some(Ok(number)) if there.is_number() || NUMBERS.contains(&field) => number.into(),
        _ => wanted.clone(),
    }
}

/// Puts a value where another is, as `package_revise` does: an object goes into the one that is there.
pub(super) fn put(there: &mut Value, wanted: &Value) {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            for (field, wanted) in wanted {
                put(there.entry(field.clone()).or_insert(Value::Null), wanted);
            }
        }
        (there, wanted) => *there = wanted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_ckan_has_already_is_recognised() {
        let check = |there: Value, wanted: Value, expected: bool| {
            assert_eq!(has(&there, &wanted), expected, "{there} {wanted}");
        };
        check(json!(7), json!("7"), true);
        check(json!("7"), json!(7), true);
        check(json!(7), json!(7.0), true);
        check(json!(7), json!("8"), false);
        check(json!(7), json!("7.5"), false);
        check(json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64), false);
        check(json!("7"), json!("07"), false);
        check(json!(null), json!(null), true);
        check(json!({})["hash"].clone(), json!(null), true);
        check(json!(""), json!(null), true);
        check(json!(null), json!(""), true);
        check(json!("0"), json!(null), false);
        check(json!("2026-01-01T00:00:00.000000"), json!("2026-01-01T00:00:00Z"), true);
        check(json!("2026-01-01T00:00:00.000000"), json!("2026-01-01T01:00:00+01:00"), true);
        check(json!("2026-01-01T00:00:00.000000"), json!("2026-01-01T00:00:01"), false);
        check(json!("2026-01-01"), json!("20260101"), false);
        check(json!(true), json!("true"), false);
        check(json!({"a": 1, "b": 2}), json!({"a": "1"}), true);
        check(json!({"a": 1}), json!({"a": 1, "b": 2}), false);
        check(json!([{"name": "a", "id": "1"}, {"name": "b"}]), json!([{"name": "b"}, {"name": "a"}]), true);
        check(json!([{"name": "a"}, {"name": "b"}]), json!([{"name": "a"}]), false);
        check(json!(["a", "b"]), json!(["b", "a"]), false);
        check(json!([]), json!([]), true);
    }

    #[test]
    fn numbers_are_sent_as_numbers() {
        assert_eq!(fit("size", &json!(null), &json!("12")), json!(12));
        assert_eq!(fit("rank", &json!(3), &json!("12")), json!(12));
        assert_eq!(fit("version", &json!("1"), &json!("12")), json!("12"));
        assert_eq!(fit("size", &json!(1), &json!("big")), json!("big"));
    }
}
