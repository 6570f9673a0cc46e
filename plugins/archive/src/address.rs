//! Addresses as they may be written down.

const SECRET_PARAMETERS: [&str; 12] = [
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "auth",
    "key",
    "passwd",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
];

/// An address without user name, password, and the values of parameters that are keys, tokens or signatures.
pub fn without_secrets(url: &str) -> String {
    let (front, fragment) = cut(url, '#');
    let (front, query) = cut(front, '?');
    let mut clean = without_user(front);
    if let Some(query) = query {
        clean.push('?');
        clean.push_str(&query.split('&').map(without_value).collect::<Vec<_>>().join("&"));
    }
    if let Some(fragment) = fragment {
        clean.push('#');
        clean.push_str(fragment);
    }
    clean
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(front, rest)| (front, Some(rest)))
}

fn without_user(front: &str) -> String {
    let Some((scheme, rest)) = front.split_once("://") else { return front.to_owned() };
    let end = rest.find(['/', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn without_value(parameter: &str) -> String {
    let Some((name, _)) = parameter.split_once('=') else { return parameter.to_owned() };
    let lower = name.to_ascii_lowercase();
    // The clouds write `X-Amz-Signature`, `X-Goog-Credential` and the like.
    let signed = ["x-amz-", "x-goog-"].iter().any(|start| lower.starts_with(start));
    if signed || SECRET_PARAMETERS.contains(&lower.as_str()) { format!("{name}=***") } else { parameter.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        assert_eq!(without_secrets(url), expected);
    }

    #[test]
    fn secrets_are_left_out() {
        check("http://user:pass@host/a?b=1#c", "http://host/a?b=1#c");
        check("http://u:p@evil@host:8080", "http://host:8080");
        check("http://h/a?token=abc&year=2020&Signature=x", "http://h/a?token=***&year=2020&Signature=***");
        check("http://h/a?X-Amz-Credential=x&key", "http://h/a?X-Amz-Credential=***&key");
    }

    #[test]
    fn other_addresses_stay_as_they_are() {
        for url in ["", "http://h/a@b", "no address", "http://h/?q=token", "http://h/a?x=y@z"] {
            check(url, url);
        }
    }
}
