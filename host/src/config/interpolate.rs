//! Fills in `%(name)s`, as Python's ConfigParser does.

/// How deep one value may lead to another; Python's own limit.
const DEPTH_MAX: usize = 10;

/// How long a value may grow.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Fills in every `%(name)s` of `value` by what `lookup` finds for it, and turns `%%` into `%`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn interpolate(value: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::new();
    fill(value, lookup, 1, &mut filled)?;
    Ok(filled)
}

fn fill(value: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: usize, out: &mut String) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err("the values refer to each other in a circle, or too deep".to_owned());
    }
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let reference = &rest[at + 1..];
        if let Some(after) = reference.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (name, after) = reference
            .strip_prefix('(')
            .and_then(|inside| inside.split_once(')'))
            .and_then(|(name, after)| Some((name, after.strip_prefix('s')?)))
            .ok_or("a single `%` begins a reference such as `%(here)s`")?;
        let found = lookup(name).ok_or_else(|| format!("`%({name})s` refers to nothing in this section"))?;
        fill(&found, lookup, depth + 1, out)?;
        rest = after;
        if out.len() > VALUE_BYTES_MAX {
            return Err(format!("the value grows beyond {VALUE_BYTES_MAX} bytes"));
        }
    }
    out.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Result<&str, &str>) {
        let lookup = |name: &str| match name {
            "here" => Some("/etc".to_owned()),
            "dir" => Some("%(here)s/dir".to_owned()),
            "loop" => Some("%(loop)s".to_owned()),
            "bomb" => Some("%(dir)s".repeat(20_000)),
            _ => None,
        };
        assert_eq!(interpolate(value, &lookup), expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn references_are_filled_in() {
        check("%(here)s/a", Ok("/etc/a"));
        check("%(dir)s/a%%20b", Ok("/etc/dir/a%20b"));
        check("100%%", Ok("100%"));
        check("plain", Ok("plain"));
    }

    #[test]
    fn what_cannot_be_filled_in_is_an_error() {
        check("50% off", Err("a single `%` begins a reference such as `%(here)s`"));
        check("%(here)", Err("a single `%` begins a reference such as `%(here)s`"));
        check("%(heer)s", Err("`%(heer)s` refers to nothing in this section"));
        check("%(loop)s", Err("the values refer to each other in a circle, or too deep"));
        check("%(bomb)s", Err("the value grows beyond 65536 bytes"));
    }
}
