//! Reads links that strangers typed, and where answers redirect to.
//!
//! One parser for both: what was checked is what is connected to.

use url::Url;

use crate::services::Failure;
use crate::services::http::{Response, header, plain};

/// The longest link that is tried.
const URL_BYTES_MAX: usize = 8 * 1024;

/// Reads a link; what it gives is both what is checked and what is connected to. White space around it is no part of it.
pub(super) fn parse(text: &str) -> Result<Url, Failure> {
    let text = text.trim();
    if text.len() > URL_BYTES_MAX {
        return Err(invalid(format!("URL parsing failure: it is longer than {URL_BYTES_MAX} bytes")));
    }
    let url = Url::parse(text).map_err(|error| {
        invalid(format!("URL parsing failure: {error}: \"{}\"", plain(&without_secrets(text), 200)))
    })?;
    check_url(&url, text)?;
    // The parser takes `http:host` and `http:/host` for links, too; other programs take them for paths.
    if !text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://")) {
        return Err(invalid(format!("URL parsing failure: expected {}:// and a host", url.scheme())));
    }
    Ok(url)
}

/// What holds for links and for what redirects name.
fn check_url(url: &Url, text: &str) -> Result<(), Failure> {
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = plain(url.scheme(), 20);
        return Err(invalid(format!("Invalid url scheme. Please use one of: http, https; this is {scheme}")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("URL parsing failure: it contains a user name or password; write it without".to_owned()));
    }
    // The parser leaves line breaks out and reads on; what follows one was written for somebody else.
    if text.contains(char::is_control) {
        return Err(invalid("URL parsing failure: there is a line break or a control character in it".to_owned()));
    }
    // Browsers read `\` as `/`, other programs do not: it is written to make two of them disagree about the host.
    if names_a_host_with_a_backslash(text) {
        return Err(invalid("URL parsing failure: there is a backslash in its host".to_owned()));
    }
    Ok(())
}

fn names_a_host_with_a_backslash(text: &str) -> bool {
    let rest = match text.split_once(':') {
        Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => rest,
        _ => text,
    };
    let slashes = rest.len() - rest.trim_start_matches(['/', '\\']).len();
    let (slashes, rest) = rest.split_at(slashes);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    slashes.len() > 1 && (slashes.contains('\\') || authority.contains('\\'))
}

/// Where an answer sends us, if it does.
pub(super) fn redirect(response: &Response, from: &Url) -> Result<Option<Url>, Failure> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(header::LOCATION) else { return Ok(None) };
    // Servers write addresses here as they come, not always in ASCII.
    let location = String::from_utf8_lossy(location.as_bytes());
    let led_astray = |mut failure: Failure| {
        failure.message = format!("{} redirects to a URL that is not followed: {}", shown(from), failure.message);
        failure
    };
    if location.len() > URL_BYTES_MAX {
        return Err(led_astray(invalid(format!("it is longer than {URL_BYTES_MAX} bytes"))));
    }
    let url = from.join(&location).map_err(|error| led_astray(invalid(error.to_string())))?;
    check_url(&url, &location).map_err(led_astray)?;
    Ok(Some(url))
}

pub(super) fn invalid(message: String) -> Failure {
    Failure::permanent("fetch.invalid-url", message)
}

/// A link as it may be shown: queries carry keys as often as not.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    let had_query = url.query().is_some();
    url.set_query(None);
    plain(url.as_str(), 200) + if had_query { "?…" } else { "" }
}

/// A link as it is told on: whole, but for the values in its query that look like secrets.
pub(super) fn masked(url: &Url) -> String {
    let Some(query) = url.query() else { return url.as_str().to_owned() };
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret(name) => format!("{name}=***"),
        _ => part.to_owned(),
    });
    let query = parts.collect::<Vec<_>>().join("&");
    let mut url = url.clone();
    url.set_query(Some(&query));
    url.into()
}

/// Whether a part of a query carries a secret, by its name.
fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 9] =
        ["token", "secret", "signature", "password", "passwd", "credential", "apikey", "session", "authorization"];
    const WHOLE: [&str; 8] = ["key", "sig", "sas", "pwd", "pass", "auth", "code", "jwt"];
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().to_lowercase();
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    WHOLE.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

/// The same for a text that is no link.
fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_link_everything_is_told_on_but_secrets() {
        for (link, told) in [
            ("https://a.example/x.csv?page=2&token=abc#top", "https://a.example/x.csv?page=2&token=***#top"),
            (
                "https://s3.example/x?X-Amz-Signature=ab%3D&X-Amz-Date=1",
                "https://s3.example/x?X-Amz-Signature=***&X-Amz-Date=1",
            ),
            (
                "https://a.example/?api%5Fkey=abc&API_KEY=abc&key=abc",
                "https://a.example/?api%5Fkey=***&API_KEY=***&key=***",
            ),
            ("https://a.example/?keyword=birds&postcode=1&sig=", "https://a.example/?keyword=birds&postcode=1&sig="),
            ("https://a.example/a%20b?q=%C3%A4&map=/srv/x.map", "https://a.example/a%20b?q=%C3%A4&map=/srv/x.map"),
        ] {
            assert_eq!(masked(&Url::parse(link).unwrap()), told);
        }
    }

    #[test]
    fn a_backslash_in_a_path_is_a_slash_and_before_it_a_trick() {
        for text in [r"http:\\a", r"http://a\@b", r"/\a", r"\\a", r"http:/\a"] {
            assert!(names_a_host_with_a_backslash(text), "{text}");
        }
        for text in [r"/files\x.csv", r"http://a/b\c", r"\x.csv", "//a/b", "x:y"] {
            assert!(!names_a_host_with_a_backslash(text), "{text}");
        }
    }
}
