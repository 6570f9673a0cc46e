//! Reads links that strangers typed, and where answers redirect to.
//!
//! One parser for both: what was checked is what is connected to.

use url::Url;

use crate::services::Failure;
use crate::services::http::{Response, header, plain};

/// The longest link that is tried.
const URL_BYTES_MAX: usize = 8 * 1024;

/// Reads a link; what it gives is both what is checked and what is connected to.
pub(super) fn parse(text: &str) -> Result<Url, Failure> {
    if text.len() > URL_BYTES_MAX {
        return Err(invalid(format!("URL parsing failure: it is longer than {URL_BYTES_MAX} bytes")));
    }
    let url = Url::parse(text).map_err(|error| {
        invalid(format!("URL parsing failure: {error}: \"{}\"", plain(&without_secrets(text), 200)))
    })?;
    check_url(&url, text)?;
    Ok(url)
}

fn check_url(url: &Url, text: &str) -> Result<(), Failure> {
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = plain(url.scheme(), 20);
        return Err(invalid(format!("Invalid url scheme. Please use one of: http, https; this is {scheme}")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("URL parsing failure: it contains a user name or password; write it without".to_owned()));
    }
    // Browsers read `\` as `/`, other programs do not: it is written to make two of them disagree about the host.
    let authority = text.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?', '#']).next();
    if authority.is_some_and(|authority| authority.contains('\\')) {
        return Err(invalid("URL parsing failure: there is a backslash in its host".to_owned()));
    }
    Ok(())
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

/// The same for a text that is no link.
fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    }
}
