//! Errors that come with the status of a success: exception reports, and pages that say that something is not there.
//!
//! All of it is guessed from the first bytes, so each guess needs more than one sign: a page counts only where a data
//! file was declared, if it is short, and if its title or a firewall's mark says what it is.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::serde_json;

/// How much of a file is looked at.
pub const HEAD_BYTES: u64 = 16 * 1024;
/// Exception reports begin with their name.
const REPORT_CHARS: usize = 500;
/// Pages of errors are short; a longer one may be data.
const PAGE_BYTES_MAX: u64 = 64 * 1024;

const REPORTS: [&str; 3] = ["<ServiceExceptionReport", "<ows:ExceptionReport", "<ExceptionReport"];

/// Formats that no page is in.
const DATA: [&str; 29] = [
    "7z", "accdb", "avro", "csv", "dbf", "doc", "docx", "geojson", "gml", "gpkg", "gpx", "gz", "json", "jsonl", "kml",
    "kmz", "mdb", "nc", "ods", "parquet", "pdf", "rar", "shp", "tsv", "txt", "xls", "xlsx", "xml", "zip",
];

/// What the titles of such pages hold, in small letters.
const TITLES: [&str; 24] = [
    "400 bad request",
    "403",
    "404",
    "410",
    "500",
    "502",
    "503",
    "504",
    "access denied",
    "attention required!",
    "bad gateway",
    "forbidden",
    "internal server error",
    "just a moment",
    "maintenance",
    "no encontrad",
    "non trovat",
    "not found",
    "nicht gefunden",
    "niet gevonden",
    "introuvable",
    "request rejected",
    "service unavailable",
    "wartung",
];

/// What firewalls write into their pages, in small letters.
const MARKS: [&str; 6] = [
    "_incapsula_resource",
    "cdn-cgi/challenge-platform",
    "cf-browser-verification",
    "incapsula incident id",
    "the requested url was rejected",
    "window.awswafcookiedomainlist",
];

/// The beginning of a file.
pub struct Head {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How long the whole file is, if that is known.
    pub length: Option<u64>,
}

impl Head {
    /// Reads it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path, length: Option<u64>) -> Result<Self> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut bytes));
        read.map_err(|error| Error::retryable(error.to_string()).with_code("fetch.disk"))?;
        Ok(Self { bytes, length })
    }

    /// As a text, whatever is in it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn is_whole(&self) -> bool {
        self.length == Some(self.bytes.len() as u64)
    }
}

/// What a success turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The exception report of a map service.
    Report(String),
    /// Another error, as a reason.
    Other(String),
}

impl Fault {
    /// Why the link counts as broken.
    pub fn reason(&self) -> &str {
        match self {
            Self::Report(reason) | Self::Other(reason) => reason,
        }
    }
}

/// The error in what came with the status of a success; `declared` is the format that its publisher named.
pub fn fault(head: &Head, declared: &str) -> Option<Fault> {
    let text = head.text();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let start: String = text.chars().take(REPORT_CHARS).collect();
    if REPORTS.iter().any(|report| start.contains(report)) {
        return Some(Fault::Report("Server content contained an API error message".to_owned()));
    }
    if head.is_whole() && text.starts_with('{') {
        return error_object(text).map(Fault::Other);
    }
    error_page(head, text, declared).map(Fault::Other)
}

/// Whether a format is one that no page is in.
pub fn is_data(declared: &str) -> bool {
    DATA.contains(&declared.trim_start_matches('.').to_ascii_lowercase().as_str())
}

/// What ArcGIS and others answer: `{"error": {"code": …, "message": …}}`, and nothing else of weight.
fn error_object(text: &str) -> Option<String> {
    let object: Value = serde_json::from_str(text).ok()?;
    let error = object.get("error")?.as_object()?;
    let code = error.get("code").filter(|code| code.is_number() || code.is_string())?;
    if object.as_object()?.len() > 3 {
        return None;
    }
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let code = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
    Some(format!("Server content contained an API error message: {}", one_line(&format!("{code} {message}"))))
}

fn error_page(head: &Head, text: &str, declared: &str) -> Option<String> {
    if !is_data(declared) || head.length.is_some_and(|length| length > PAGE_BYTES_MAX) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let start: String = lower.chars().take(1000).collect();
    if !lower.starts_with('<') || !["<!doctype html", "<html", "<head", "<title"].iter().any(|tag| start.contains(tag))
    {
        return None;
    }
    let title = title(text, &lower);
    let small = title.to_lowercase();
    let says_so = TITLES.iter().any(|words| contains_word(&small, words));
    let is_firewall = MARKS.iter().any(|mark| lower.contains(mark));
    (says_so || is_firewall)
        .then(|| format!("an HTML page came in the place of a {} file: {title:?}", one_line(declared)))
}

/// Whether a title has these words; numbers only as words of their own.
fn contains_word(title: &str, words: &str) -> bool {
    if words.len() > 3 {
        return title.contains(words);
    }
    title.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == words)
}

/// The text of the page's title; `lower` is the same in small letters, byte for byte.
fn title(text: &str, lower: &str) -> String {
    let found = lower.find("<title").and_then(|at| {
        let begin = at + lower[at..].find('>')? + 1;
        Some(&text[begin..begin + lower[begin..].find('<')?])
    });
    one_line(&found.unwrap_or_default().chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &str, declared: &str, expected: Option<&str>) {
        let bytes = content.as_bytes();
        let head = Head { bytes: bytes[..bytes.len().min(16_384)].to_vec(), length: Some(bytes.len() as u64) };
        assert_eq!(fault(&head, declared).as_ref().map(Fault::reason), expected, "{declared}: {content:.80}");
    }

    const API: &str = "Server content contained an API error message";

    #[test]
    fn exception_reports_are_errors_whatever_was_declared() {
        for report in [
            "<?xml version='1.0'?><ServiceExceptionReport><x/></ServiceExceptionReport>",
            "<ows:ExceptionReport version=\"1.1.0\">",
            "<ExceptionReport xmlns=\"http://www.opengis.net/ows/1.1\">",
        ] {
            check(report, "WMS", Some(API));
            check(report, "CSV", Some(API));
        }
        check(&format!("{}<ServiceExceptionReport>", "name,height\n".repeat(100)), "CSV", None);
    }

    #[test]
    fn an_object_that_is_only_an_error_is_one() {
        let reason = format!("{API}: 499 Token Required");
        check(r#"{"error":{"code":499,"message":"Token Required","details":[]}}"#, "JSON", Some(&reason));
        check(r#"{ "error" : {"code":"E7"} }"#, "GeoJSON", Some(&format!("{API}: E7")));
    }

    #[test]
    fn an_object_that_is_data_is_none() {
        check(r#"{"error": "none", "value": 7}"#, "JSON", None);
        check(r#"{"error": {"text": "x"}}"#, "JSON", None);
        check(r#"{"error":{"code":1},"a":1,"b":2,"c":3}"#, "JSON", None);
        check(&format!("{{\"error\":{{\"code\":1}},\"rows\":[{}1]}}", "1,".repeat(20_000)), "JSON", None);
    }

    #[test]
    fn a_page_that_says_that_the_file_is_not_there_is_an_error() {
        let page = |title: &str| format!("<!DOCTYPE html>\n<html><head><title>{title}</title></head><body/></html>");
        let reason = |title: &str| format!("an HTML page came in the place of a CSV file: {title:?}");
        for title in [
            "404 Not Found",
            "Page not found - City",
            "Seite nicht gefunden",
            "Attention Required! | Cloudflare",
            "Access Denied",
            "Request Rejected",
            "503 Service Unavailable",
            "Error 404",
        ] {
            check(&page(title), "CSV", Some(&reason(title)));
            check(&page(title), "HTML", None);
            check(&page(title), "", None);
        }
        check("<html><script src=\"/_Incapsula_Resource?x\"></script></html>", "CSV", Some(&reason("")));
    }

    #[test]
    fn a_page_that_does_not_say_so_is_none() {
        check("<!DOCTYPE html><title>Please sign in</title>", "CSV", None);
        check("<!DOCTYPE html><title>The 40400 trees</title>", "CSV", None);
        check("a,b\n<title>404</title>,1\n", "CSV", None);
        check("<?xml version=\"1.0\"?><title>404</title>", "SVG", None);
        let long = format!("<html><title>404 Not Found</title>{}</html>", "x".repeat(70_000));
        check(&long, "CSV", None);
    }
}
