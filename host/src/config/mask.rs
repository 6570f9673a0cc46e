//! Keeps secrets out of everything that is shown.

/// What stands where a secret was.
pub const MASK: &str = "***";

/// Whether a setting of this name most likely holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 9] =
        ["password", "passwd", "secret", "token", "api_key", "apikey", "api_kye", "credential", "private"];
    let name = name.to_lowercase();
    let is_a_name_or_place = name.ends_with("_file") || name.ends_with("_header_name");
    let is_routing = name.contains("routing");
    !is_a_name_or_place && !is_routing && (WORDS.iter().any(|word| name.contains(word)) || name.ends_with("key"))
}

/// The line of a file, with what may be a secret in it masked.
pub fn line(line: &str) -> String {
    let (name, value_at) = if let Some(at) = line.find(['=', ':']) {
        (&line[..at], at + 1)
    } else {
        let name = line.split_whitespace().next().unwrap_or_default();
        (name, line.find(name).unwrap_or_default() + name.len())
    };
    let (head, tail) = line.split_at(value_at);
    if is_secret_name(name.trim()) && !tail.trim().is_empty() {
        return format!("{head}{}{MASK}", &tail[..tail.len() - tail.trim_start().len()]);
    }
    format!("{head}{}", address(tail))
}

/// The value of a setting, masked if its name or its look asks for it. Of several lines only the first is shown: another
/// setting may have got among them.
pub fn value(name: &str, value: &str) -> String {
    if is_secret_name(name) && !value.is_empty() {
        return MASK.to_owned();
    }
    match value.split_once('\n') {
        Some((first, _)) => format!("{} …", address(first)),
        None => address(value),
    }
}

/// A text with the passwords of addresses in it masked: all between the first colon of `user:password@` and the last `@`.
pub fn address(text: &str) -> String {
    let Some(end) = text.rfind('@') else { return text.to_owned() };
    let after_scheme = text.find("://").map_or(0, |at| at + 3);
    match text.get(after_scheme..end).and_then(|userinfo| userinfo.find(':')) {
        Some(colon) => format!("{}:{MASK}{}", &text[..after_scheme + colon], &text[end..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_line_are_masked_and_the_rest_is_kept() {
        for (written, shown) in [
            ("ckan.api_key = abc", "ckan.api_key = ***"),
            ("ckan.api_kye: abc", "ckan.api_kye: ***"),
            ("queue.password=abc", "queue.password=***"),
            ("ckan.api_key abc", "ckan.api_key ***"),
            ("ckan.api_key =", "ckan.api_key ="),
            ("ckan.api_key_file = /etc/key", "ckan.api_key_file = /etc/key"),
            ("queue.routing_key = Package", "queue.routing_key = Package"),
            ("amqp.url = amqp://me:s@cret@host/v", "amqp.url = amqp://me:***@host/v"),
            ("amqp.url = amqp://a:b@h1,amqp://c:d@h2", "amqp.url = amqp://a:***@h2"),
            ("amqp.url = me:secret@host", "amqp.url = me:***@host"),
            ("amqp.url = amqp://me@host:5672", "amqp.url = amqp://me@host:5672"),
            ("mail = me@host", "mail = me@host"),
            ("[worker]", "[worker]"),
            ("", ""),
        ] {
            assert_eq!(line(written), shown);
        }
    }
}
