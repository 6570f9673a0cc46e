//! ZIP files, by the names in their directory. Of one file in it at most a head is unpacked, whatever sizes it declares.

use std::io;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, FileReader, ZipArchive, ZipArchiveEntryWayfinder};

use super::inside::{self, Inside};
use super::sample::Sample;
use super::{Kind, Sniffed};
use crate::format::Scores;

/// How many entries are looked at, and how long a name may be.
const ENTRIES_MAX: usize = 2000;
const NAME_BYTES_MAX: usize = 1000;
/// The longest header of an entry: its name, its extra field and its comment have at most 64 KiB each.
const BUFFER_BYTES: usize = 3 * 65_536 + 64;

struct Entry {
    name: String,
    method: CompressionMethod,
    place: ZipArchiveEntryWayfinder,
}

/// Looks into a ZIP file.
pub fn look(sample: &Sample, scores: &Scores) -> io::Result<Sniffed> {
    let Some(file) = sample.file() else {
        return Ok(Kind::vague("ZIP", "not looked into").into());
    };
    let mut buffer = vec![0; BUFFER_BYTES];
    let Ok(archive) = ZipArchive::from_file(file.try_clone()?, &mut buffer) else {
        return Ok(Kind::vague("ZIP", "its directory cannot be read").into());
    };
    let entries = entries(&archive, &mut buffer);
    let head_bytes = sample.head().len().max(4096);
    let unpack = |entry: &Entry| unpacked(&archive, entry, head_bytes);
    let mimetype = entries.iter().find(|entry| entry.name == "mimetype").and_then(unpack);
    if let Some(format) = mimetype.and_then(|mimetype| office(mimetype.head(), scores)) {
        return Ok(Kind::of(&format).into());
    }
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    if let Some(format) = format_of(&names) {
        return Ok(Kind::of(format).into());
    }
    Ok(match inside::look(&names, scores) {
        Inside::Set(format) => Kind::of(format).packed_in("ZIP").into(),
        Inside::Files { format, example } => {
            // Names may lie: of the kind that counts one is looked at.
            let seen = unpack(&entries[example]).map(|sample| super::look(&sample, scores)).transpose()?;
            inside::confirmed(&format, seen).packed_in("ZIP").into()
        }
        Inside::Unnamed { first } => {
            let seen = first.and_then(|first| unpack(&entries[first]));
            match seen.map(|sample| super::look(&sample, scores)).transpose()? {
                Some(Sniffed::Kind(kind)) if kind.container.is_none() => kind.packed_in("ZIP").into(),
                _ => Kind::vague("ZIP", "with nothing in it that is known").into(),
            }
        }
    })
}

fn entries(archive: &ZipArchive<FileReader>, buffer: &mut [u8]) -> Vec<Entry> {
    let mut found = archive.entries(buffer);
    let mut entries = Vec::new();
    // Where the directory makes no sense any more it ends.
    while let Ok(Some(entry)) = found.next_entry() {
        if entries.len() == ENTRIES_MAX {
            break;
        }
        let name = entry.file_path();
        let name = name.as_ref();
        entries.push(Entry {
            name: String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]).replace('\\', "/"),
            method: entry.compression_method(),
            place: entry.wayfinder(),
        });
    }
    entries
}

/// The head of one file in it; `None` if it cannot be unpacked.
fn unpacked(archive: &ZipArchive<FileReader>, entry: &Entry, head_bytes: usize) -> Option<Sample> {
    let reader = archive.get_entry(entry.place).ok()?.reader();
    match entry.method {
        CompressionMethod::STORE => Sample::unpack(reader, head_bytes).ok(),
        CompressionMethod::DEFLATE => Sample::unpack(DeflateDecoder::new(reader), head_bytes).ok(),
        _ => None,
    }
}

/// What the entry `mimetype` of an OpenDocument file says.
fn office(mimetype: &[u8], scores: &Scores) -> Option<String> {
    let text = std::str::from_utf8(mimetype).ok()?.trim();
    // Templates are as open as what is made of them.
    let format = scores.named(text.trim_end_matches("-template").trim_end_matches("-master"))?;
    (text.starts_with("application/vnd.oasis.opendocument") || text == "application/epub+zip").then_some(format)
}

/// The formats that are ZIP files and tell it by the names of their parts.
fn format_of(names: &[&str]) -> Option<&'static str> {
    let has = |name: &str| names.contains(&name);
    let begins = |start: &str| names.iter().any(|name| name.starts_with(start));
    let ends = |end: &str| names.iter().any(|name| name.to_ascii_lowercase().ends_with(end));
    if has("[Content_Types].xml") {
        return Some(match () {
            () if has("xl/workbook.bin") => "XLSB",
            () if begins("xl/") => "XLSX",
            () if begins("word/") => "DOCX",
            () if begins("ppt/") => "PPTX",
            () if begins("visio/") => "VSDX",
            () => return None,
        });
    }
    if has("META-INF/MANIFEST.MF") {
        return Some("JAR");
    }
    // A map in a KMZ file is its first one, whatever it is called, beside pictures; one in a ZIP file of many other
    // things is one of them.
    if has("doc.kml") || names.first().is_some_and(|name| name.to_ascii_lowercase().ends_with(".kml")) {
        return Some("KMZ");
    }
    ends(".qgs").then_some("QGIS")
}
