//! What is packed by gzip or tar. No more than a head is unpacked to be looked at, and of a packed tar file as much as
//! a few names need.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::inside::{self, Inside};
use super::sample::Sample;
use super::{Kind, Sniffed};
use crate::format::Scores;

/// How many entries of a tar file are looked at.
const ENTRIES_MAX: usize = 1000;
/// How much of a packed tar file is unpacked, to be passed over.
const PACKED_TAR_BYTES_MAX: u64 = 8 << 20;

/// Looks into a file that gzip packed.
pub fn gzip(sample: &Sample, scores: &Scores) -> io::Result<Sniffed> {
    let head_bytes = sample.head().len().clamp(4096, 65_536);
    let Ok(inner) = Sample::unpack(MultiGzDecoder::new(sample.head()), head_bytes) else {
        return Ok(Kind::vague("GZ", "it cannot be unpacked").into());
    };
    if is_tar(inner.head()) {
        let names = match sample.file() {
            Some(file) => names(tar::Archive::new(MultiGzDecoder::new(from_start(file)?).take(PACKED_TAR_BYTES_MAX))),
            None => names(tar::Archive::new(inner.head())),
        };
        return Ok(named(&names, scores).packed_in("TAR.GZ").into());
    }
    // What is packed twice is not unpacked twice.
    if inner.head().starts_with(b"\x1f\x8b") {
        return Ok(Kind::vague("GZ", "packed twice").into());
    }
    Ok(match super::look(&inner, scores)? {
        Sniffed::Kind(kind) => kind.packed_in("GZ").into(),
        Sniffed::Unknown | Sniffed::Failure(_) => Kind::vague("GZ", "with nothing in it that is known").into(),
    })
}

/// Looks into a tar file.
pub fn tar(sample: &Sample, scores: &Scores) -> io::Result<Sniffed> {
    let names = match sample.file() {
        Some(file) => {
            let mut archive = tar::Archive::new(from_start(file)?);
            archive.entries_with_seek().map(collected).unwrap_or_default()
        }
        None => names(tar::Archive::new(sample.head())),
    };
    Ok(named(&names, scores).packed_in("TAR").into())
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

fn from_start(mut file: &std::fs::File) -> io::Result<&std::fs::File> {
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

fn names<R: Read>(mut archive: tar::Archive<R>) -> Vec<String> {
    archive.entries().map(collected).unwrap_or_default()
}

/// The names of the entries, as far as they can be read. Long names are cut: raw entries are never read into memory.
fn collected<R: Read>(entries: tar::Entries<'_, R>) -> Vec<String> {
    let entries = entries.raw(true).take(ENTRIES_MAX).map_while(Result::ok);
    entries.map(|entry| String::from_utf8_lossy(&entry.path_bytes()).into_owned()).collect()
}

fn named(names: &[String], scores: &Scores) -> Kind {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match inside::look(&names, scores) {
        Inside::Set(format) => Kind::of(format),
        Inside::Files { format, .. } => Kind::of(&format),
        Inside::Unnamed { .. } => Kind::vague("TAR", "with nothing in it that is known"),
    }
}
