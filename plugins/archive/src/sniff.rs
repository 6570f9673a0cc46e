//! What a file is, by its content: a server's `Content-Type` and a publisher's format are often wrong.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ckan_worker_plugin::prelude::*;
use file_format::FileFormat;

use crate::page::Head;

const LINES_MAX: usize = 10;
/// A text that is shorter than this was not cut off.
const SHORT: usize = 4096;

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub struct Sniffed {
    /// As in `text/csv`.
    pub mimetype: String,
    /// What is odd about it, as a sentence; mostly nothing.
    pub remark: String,
}

/// Looks at a file that begins with `head`; `declared` is the format that its publisher named, as in `CSV`.
///
/// # Errors
/// It cannot be read.
pub fn sniff(path: &Path, head: &Head, declared: &str) -> Result<Sniffed> {
    let disk = |error: std::io::Error| Error::retryable(error.to_string()).with_code("fetch.disk");
    let file = File::open(path).map_err(disk)?;
    let format = FileFormat::from_reader(BufReader::new(&file)).map_err(disk)?;
    let mimetype = media_type(&head.bytes, &format, declared).to_owned();
    let remark = remark(declared, &mimetype);
    Ok(Sniffed { mimetype, remark })
}

/// The media type of a file that begins with `head`.
fn media_type<'a>(head: &[u8], format: &'a FileFormat, declared: &str) -> &'a str {
    let Some(text) = text_of(head) else { return format.media_type() };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('<') {
        return markup(text, format);
    }
    if looks_like_json(text) {
        return if is_geographic(text) { "application/geo+json" } else { "application/json" };
    }
    match separator(text) {
        Some('\t') => "text/tab-separated-values",
        Some(_) => "text/csv",
        // Texts with a mark at their beginning: calendars, cards, RTF, …
        None if is_marked(format.media_type()) => format.media_type(),
        // One column has no separator.
        None if declared.eq_ignore_ascii_case("csv") => "text/csv",
        None => "text/plain",
    }
}

/// The head as text; `None` if it holds what no text holds.
fn text_of(head: &[u8]) -> Option<String> {
    if head.starts_with(b"%PDF") {
        return None;
    }
    let is_text = |byte: &u8| *byte >= 0x20 && *byte != 0x7f || b"\t\n\r\x0c".contains(byte);
    head.iter().all(is_text).then(|| String::from_utf8_lossy(head).into_owned())
}

fn markup<'a>(text: &str, format: &'a FileFormat) -> &'a str {
    let start = text.chars().take(1024).collect::<String>().to_ascii_lowercase();
    if start.contains("<!doctype html") || start.contains("<html") {
        return "text/html";
    }
    match format.media_type() {
        known if known.ends_with("xml") && known != "text/xml" => known,
        "text/html" => "text/html",
        _ => "application/xml",
    }
}

/// An object or a list, as far as one can see.
fn looks_like_json(text: &str) -> bool {
    let mut letters = text.chars().filter(|letter| !letter.is_whitespace());
    match (letters.next(), letters.next()) {
        (Some('{'), Some('"' | '}')) => true,
        (Some('['), Some(second)) => "[{]\"-tfn".contains(second) || second.is_ascii_digit(),
        _ => false,
    }
}

fn is_geographic(text: &str) -> bool {
    let packed: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    ["\"FeatureCollection\"", "\"Feature\"", "\"GeometryCollection\""]
        .iter()
        .any(|kind| packed.contains(&format!("\"type\":{kind}")))
}

/// The separator that stands equally often in each of the first lines.
fn separator(text: &str) -> Option<char> {
    // The last line of a long text may be cut off.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let rest = if text.len() < SHORT { text[whole.len()..].trim() } else { "" };
    let lines: Vec<&str> =
        whole.lines().chain([rest].into_iter().filter(|rest| !rest.is_empty())).take(LINES_MAX).collect();
    if lines.len() < 2 {
        return None;
    }
    [',', ';', '\t', '|'].into_iter().find(|separator| {
        let count = count_outside_quotes(lines[0], *separator);
        count > 0 && lines.iter().all(|line| count_outside_quotes(line, *separator) == count)
    })
}

fn count_outside_quotes(line: &str, separator: char) -> usize {
    let mut quoted = false;
    line.chars()
        .filter(|letter| {
            quoted ^= *letter == '"';
            !quoted && *letter == separator
        })
        .count()
}

/// Whether that is a kind of text which says so at its beginning. Pictures do not count: their marks can be two
/// letters, as a text may begin with.
fn is_marked(media_type: &str) -> bool {
    // That it is text says nothing of which; what is told by that depends on who else is built with the same library.
    let is_some_text = media_type.starts_with("text/") && media_type != "text/plain";
    is_some_text || ["application/rtf", "application/postscript"].contains(&media_type)
}

/// What is odd about a file that was declared as something else.
fn remark(declared: &str, mimetype: &str) -> String {
    let lower = declared.trim_start_matches('.').to_ascii_lowercase();
    let fits = match lower.as_str() {
        "csv" | "tsv" => ["text/csv", "text/tab-separated-values"].contains(&mimetype),
        "json" => mimetype.ends_with("json"),
        "geojson" => mimetype == "application/geo+json" || mimetype == "application/json",
        "xml" | "kml" | "gml" | "rdf" | "wms" | "wfs" => mimetype.ends_with("xml") || mimetype.contains("+xml"),
        "html" | "htm" => mimetype.starts_with("text/html") || mimetype.ends_with("xml"),
        "pdf" => mimetype == "application/pdf",
        "xlsx" => mimetype.ends_with("spreadsheetml.sheet"),
        "xls" => mimetype.contains("excel") || mimetype.ends_with("spreadsheetml.sheet"),
        "ods" => mimetype.ends_with("opendocument.spreadsheet"),
        "zip" => mimetype.contains("zip"),
        "txt" => mimetype.starts_with("text/"),
        _ => true,
    };
    if fits { String::new() } else { format!("declared as {}, but it looks like {mimetype}", declared.trim()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn sniffed(content: &[u8], declared: &str) -> Sniffed {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let head = Head::read(file.path(), Some(content.len() as u64)).unwrap();
        sniff(file.path(), &head, declared).unwrap()
    }

    const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

    /// A ZIP file with one empty file in it.
    fn zip_with(name: &str) -> Vec<u8> {
        let length = u8::try_from(name.len()).unwrap();
        let sizes = [[0; 12].as_slice(), &[length, 0, 0, 0]].concat();
        let local = [b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0", sizes.as_slice(), name.as_bytes()].concat();
        let entry = [b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0", sizes.as_slice(), &[0; 14], name.as_bytes()].concat();
        let (at, long) = (u8::try_from(local.len()).unwrap(), u8::try_from(entry.len()).unwrap());
        let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &[long, 0, 0, 0, at, 0, 0, 0, 0, 0]].concat();
        [local, entry, end].concat()
    }

    #[track_caller]
    fn check(content: impl AsRef<[u8]>, declared: &str, mimetype: &str, remark: &str) {
        let expected = Sniffed { mimetype: mimetype.to_owned(), remark: remark.to_owned() };
        assert_eq!(sniffed(content.as_ref(), declared), expected);
    }

    #[test]
    fn texts_are_told_apart() {
        check("a,b\n1,2\n", "CSV", "text/csv", "");
        check("\u{feff}a;b;c\r\n1;\"x;y\";2\r\n", "csv", "text/csv", "");
        check("a\tb\n1\t2", "CSV", "text/tab-separated-values", "");
        check("BM,name\n1,ä\n", "CSV", "text/csv", "");
        check(b"name,x\n\xe4\xf6,1\n", "CSV", "text/csv", "");
        check("only one column\n1\n2\n", "CSV", "text/csv", "");
        check("just words, here\nand there\n", "", "text/plain", "");
        check("{\"a\": 1}", "JSON", "application/json", "");
        check("[1, 2]", "JSON", "application/json", "");
        check("{ \"type\" : \"FeatureCollection\", \"features\": []}", "GeoJSON", "application/geo+json", "");
        check("<?xml version=\"1.0\"?><a/>", "XML", "application/xml", "");
        check("<?xml version=\"1.0\"?><kml xmlns=\"x\"></kml>", "KML", "application/vnd.google-earth.kml+xml", "");
    }

    #[test]
    fn binary_files_are_told_by_their_marks() {
        check(b"%PDF-1.4\nx", "PDF", "application/pdf", "");
        check(b"\x1f\x8b\x08\0\0\0\0\0", "", "application/gzip", "");
        check(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG", "image/png", "");
        check(zip_with("xl/workbook.xml"), "XLSX", XLSX, "");
        check(zip_with("data.csv"), "ZIP", "application/zip", "");
        check(zip_with("data.csv"), "XLSX", "application/zip", "declared as XLSX, but it looks like application/zip");
        check(b"\0\x01\x02\x03", "", "application/octet-stream", "");
    }

    #[test]
    fn a_page_in_the_place_of_a_file_is_noticed() {
        check(
            "\n<!DOCTYPE html><html><body>Not here, any more</body></html>",
            "CSV",
            "text/html",
            "declared as CSV, but it looks like text/html",
        );
        check("{\"a\": 1}", "CSV", "application/json", "declared as CSV, but it looks like application/json");
        check("a,b\n1,2\n", "XLSX", "text/csv", "declared as XLSX, but it looks like text/csv");
        check("<html></html>", "HTML", "text/html", "");
    }
}
