//! What a file is, by its content: a server's `Content-Type` and a publisher's format are often wrong.
//!
//! Everything here looks at the head of a file, 64 KiB unless said. Only what has its directory elsewhere (ZIP files,
//! the old office formats, TIFF) is looked at in other places, and of what is packed in something no more is unpacked
//! than one such head.

mod binary;
mod graph;
mod html;
mod inside;
mod json;
mod packed;
mod rdf;
mod sample;
mod table;
mod text;
mod xml;
mod zip;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ckan_worker_plugin::Result;

use crate::format::Scores;

pub use graph::Linked;
pub use sample::Sample;

/// What a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// It is of this kind.
    Kind(Kind),
    /// There is an error message in its place, or nothing at all.
    Failure(&'static str),
    /// Nobody knows.
    Unknown,
}

/// What kind of file it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The format; of something packed, that of what is in it.
    pub format: String,
    /// What it is packed in, as in `ZIP`.
    pub container: Option<&'static str>,
    /// What was seen of links, if it is linked data.
    pub linked: Option<Linked>,
    /// Whether another format is possible that cannot be told by its content: a text may be many things.
    pub is_vague: bool,
    /// What is odd about it; mostly nothing.
    pub remark: &'static str,
}

impl Kind {
    /// A file of this format.
    fn of(format: &str) -> Self {
        Self { format: format.to_owned(), container: None, linked: None, is_vague: false, remark: "" }
    }

    /// A file of this format, which may be another by its name or by what its publisher says.
    fn vague(format: &str, remark: &'static str) -> Self {
        Self { is_vague: true, remark, ..Self::of(format) }
    }

    /// Linked data.
    fn linked(format: &str, linked: Linked) -> Self {
        Self { linked: Some(linked), ..Self::of(format) }
    }

    /// The same, packed. A container that nothing is known of is no more than that.
    fn packed_in(self, container: &'static str) -> Self {
        let container = Some(container).filter(|container| *container != self.format);
        Self { container, ..self }
    }
}

impl From<Kind> for Sniffed {
    fn from(kind: Kind) -> Self {
        Self::Kind(kind)
    }
}

/// Looks at a file. The scores decide what of a container's content counts.
///
/// # Errors
/// It cannot be read.
pub fn sniff(sample: &Sample, scores: &Scores) -> Result<Sniffed> {
    // The libraries below are given strangers' files. One that panics on a file has not recognised it.
    let look = catch_unwind(AssertUnwindSafe(|| look(sample, scores)));
    Ok(look.unwrap_or(Ok(Sniffed::Unknown))?)
}

/// The look itself, and a panic of a library with it.
pub fn look(sample: &Sample, scores: &Scores) -> std::io::Result<Sniffed> {
    if sample.head().is_empty() {
        return Ok(Sniffed::Failure("the file is empty"));
    }
    match text::decoded(sample) {
        Some(text) => Ok(text::look(&text, sample)),
        None => binary::look(sample, scores),
    }
}
