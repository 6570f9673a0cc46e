//! Texts: how they are encoded, and which kind they are.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::sample::Sample;
use super::{Kind, Sniffed, binary, html, json, rdf, table, xml};

/// How many bytes tell whether a text without a mark is UTF-16.
const PROBE_BYTES: usize = 512;

/// The head as a text; `None` if it holds what no text holds.
pub fn decoded(sample: &Sample) -> Option<String> {
    let head = sample.head();
    // These begin like a text, and some go on like one.
    if head.starts_with(b"%PDF") {
        return None;
    }
    let (encoding, mark) =
        Encoding::for_bom(head).or_else(|| utf_16(head).map(|encoding| (encoding, 0))).unwrap_or((UTF_8, 0));
    let rest = &head[mark..];
    let text = if encoding == UTF_8 { eight_bits(rest, sample.is_whole())? } else { wide(encoding, rest) };
    text.chars().all(is_text).then_some(text)
}

fn is_text(letter: char) -> bool {
    !letter.is_control() || "\t\n\r\u{c}\u{1a}".contains(letter) || ('\u{80}'..'\u{a0}').contains(&letter)
}

/// UTF-16 without a mark: every second byte of a Western text is zero.
fn utf_16(head: &[u8]) -> Option<&'static Encoding> {
    let probe = &head[..head.len().min(PROBE_BYTES) & !1];
    let zeros = |odd: usize| probe.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, half) = (zeros(0), zeros(1), probe.len() / 2);
    match half {
        0..4 => None,
        _ if even == 0 && odd * 10 >= half * 9 => Some(UTF_16LE),
        _ if odd == 0 && even * 10 >= half * 9 => Some(UTF_16BE),
        _ => None,
    }
}

fn wide(encoding: &'static Encoding, bytes: &[u8]) -> String {
    // A head may end in the middle of a letter.
    encoding.decode_without_bom_handling(&bytes[..bytes.len() & !1]).0.into_owned()
}

/// A text in UTF-8, or in whichever of the older encodings it looks like.
fn eight_bits(bytes: &[u8], is_whole: bool) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => return Some(text.to_owned()),
        // Cut in the middle of a letter.
        Err(error) if error.error_len().is_none() && !is_whole => {
            return Some(String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned());
        }
        Err(_) => {}
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, is_whole);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    let (text, _, _): (Cow<'_, str>, _, _) = encoding.decode(bytes);
    // The encodings of East Asia and the 8-bit ones leave nearly nothing unexplained, and real binaries hold control
    // characters, which the caller looks for.
    Some(text.into_owned())
}

/// What kind of text it is.
pub fn look(text: &str, sample: &Sample) -> Sniffed {
    let is_whole = sample.is_whole();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if let Some(kind) = rdf::look(text, is_whole) {
        return kind.into();
    }
    if text.starts_with('<') {
        let known = html::look(text).map(Sniffed::from).or_else(|| xml::look(text));
        if let Some(known) = known {
            return known;
        }
    }
    if let Some(known) = json::look(text, is_whole) {
        return known;
    }
    if let Some(known) = binary::marked_text(sample) {
        return known.into();
    }
    match table::look(text, is_whole) {
        Some(format) => Kind::of(format).into(),
        None => Kind::vague("TXT", "").into(),
    }
}
