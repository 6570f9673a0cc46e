//! Files that are no texts, by the marks in them.

use std::io::{self, BufReader, Cursor, Seek as _};

use file_format::FileFormat as Found;

use super::sample::Sample;
use super::{Kind, Sniffed, packed, zip};
use crate::format::Scores;

/// Marks that the library file-format does not know: where, what, and of which format.
const MARKS: &[(usize, &[u8], &str)] = &[
    (0, b"PMTiles", "PMTiles"),
    (0, b"fgb\x03fgb", "FlatGeobuf"),
    (0, b"CDF\x01", "NetCDF"),
    (0, b"CDF\x02", "NetCDF"),
    (0, b"CDF\x05", "NetCDF"),
    (0, b"LASF", "LAS"),
    (0, b"GRIB", "GRIB"),
    (0, b"msid", "MrSID"),
    (0, b"XFIR", "DCR"),
    (0, b"RIFX", "DCR"),
    (0, b"MM\0\x2b", "TIFF"),
    (0, b"II\x2b\0", "TIFF"),
];

const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
/// What every NetCDF-4 file has near its beginning; apart from that it is an HDF5 file.
const NETCDF_4: &[u8] = b"_NCProperties";
const SQLITE: &[u8] = b"SQLite format 3\0";
/// Tags of TIFF that tell where on Earth a picture is.
const GEO_TAGS: &[u16] = &[33550, 33922, 34264, 34735];

/// Looks at a file that is no text.
pub fn look(sample: &Sample, scores: &Scores) -> io::Result<Sniffed> {
    let head = sample.head();
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return zip::look(sample, scores);
    }
    if head.starts_with(b"\x1f\x8b") {
        return packed::gzip(sample, scores);
    }
    let mark = MARKS.iter().find(|(place, mark, _)| head.get(*place..).is_some_and(|rest| rest.starts_with(mark)));
    if let Some((_, _, format)) = mark {
        return Ok(Kind::of(format).into());
    }
    if head.starts_with(HDF5) {
        let is_netcdf = head.windows(NETCDF_4.len()).any(|window| window == NETCDF_4);
        return Ok(Kind::of(if is_netcdf { "NetCDF" } else { "HDF5" }).into());
    }
    if head.starts_with(SQLITE) {
        return Ok(Kind::of(database(head)).into());
    }
    let found = found(sample)?;
    Ok(match found {
        Found::TapeArchive => packed::tar(sample, scores)?,
        Found::TagImageFileFormat => Kind::of(if is_geographic(sample)? { "GeoTIFF" } else { "TIFF" }).into(),
        // Other things are kept in such files, too: project files of maps, for one.
        Found::CompoundFileBinary => office(sample)?.map_or(Sniffed::Unknown, |format| Kind::of(format).into()),
        Found::ArbitraryBinaryData | Found::Empty | Found::PlainText => {
            if is_dbase(head) {
                Kind::of("dBase").into()
            } else {
                Sniffed::Unknown
            }
        }
        other => named(other).into(),
    })
}

/// A text with a mark at its beginning: a calendar, a card, a script, …
pub fn marked_text(sample: &Sample) -> Option<Kind> {
    let head = sample.head();
    if head.starts_with(b"EXP  0") || head.starts_with(b"EXP  1") {
        return Some(Kind::of("E00"));
    }
    match found(sample).ok()? {
        Found::PlainText | Found::ArbitraryBinaryData | Found::Empty => None,
        // Their marks are so short that a text may begin so.
        found if matches!(found.kind(), file_format::Kind::Image | file_format::Kind::Audio) => None,
        Found::ExtensibleMarkupLanguage | Found::HypertextMarkupLanguage => None,
        found => Some(named(found)),
    }
}

fn found(sample: &Sample) -> io::Result<Found> {
    match sample.file() {
        Some(mut file) => {
            file.rewind()?;
            Found::from_reader(BufReader::new(file))
        }
        None => Found::from_reader(Cursor::new(sample.head())),
    }
}

/// The name that a format has here; of one that the table does not have, its own.
fn named(found: Found) -> Kind {
    let closed = |format| Kind::vague(format, "not looked into");
    Kind::of(match found {
        Found::ApacheArrowColumnar => "Arrow",
        Found::ApacheAvro => "Avro",
        Found::ApacheParquet => "Parquet",
        Found::Bzip2 => return closed("BZ2"),
        Found::DynamicLinkLibrary
        | Found::ExecutableAndLinkableFormat
        | Found::MicrosoftSoftwareInstaller
        | Found::MsDosExecutable
        | Found::NewExecutable
        | Found::PortableExecutable => "EXE",
        Found::DrawingExchangeFormatAscii | Found::DrawingExchangeFormatBinary => "DXF",
        Found::GraphicsInterchangeFormat => "GIF",
        Found::Icalendar => "ICS",
        Found::JointPhotographicExpertsGroup => "JPEG",
        Found::MicrosoftAccessDatabase | Found::MicrosoftAccess2007Database => "MDB",
        Found::MicrosoftExcelSpreadsheet => "XLS",
        Found::MicrosoftPowerpointPresentation => "PPT",
        Found::MicrosoftWordDocument => "DOC",
        Found::PerlScript => "Perl",
        Found::PortableDocumentFormat => "PDF",
        Found::PortableNetworkGraphics | Found::AnimatedPortableNetworkGraphics => "PNG",
        Found::RichTextFormat => "RTF",
        Found::RoshalArchive => return closed("RAR"),
        Found::SevenZip => return closed("7Z"),
        Found::Shapefile => "SHP",
        Found::WindowsBitmap => "BMP",
        Found::Xz => return closed("XZ"),
        Found::Zstandard => return closed("ZST"),
        _ => return Kind::of(found.short_name().unwrap_or(found.name())),
    })
}

/// Which kind of database an SQLite file is; it says so in its application id.
fn database(head: &[u8]) -> &'static str {
    match head.get(68..72) {
        Some(b"GPKG" | b"GP10" | b"GP11") => "GPKG",
        Some(b"MPBX") => "MBTiles",
        _ => "SQLite",
    }
}

/// Which kind of old office document a file is that does not say so itself: by the names in its directory, of which the
/// first sector will do.
fn office(sample: &Sample) -> io::Result<Option<&'static str>> {
    let head = sample.head();
    let (Some(shift), Some(first)) = (head.get(30), head.get(48..52).and_then(|bytes| bytes.first_chunk::<4>())) else {
        return Ok(None);
    };
    let place = (1 + u64::from(u32::from_le_bytes(*first))) << (*shift).min(12);
    let directory = sample.bytes_at(place, 4096)?;
    let name = |entry: &[u8]| -> String {
        let units = entry[..64].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        char::decode_utf16(units.take_while(|unit| *unit != 0)).map_while(Result::ok).collect()
    };
    let known = |name: String| match name.as_str() {
        "Workbook" | "Book" => Some("XLS"),
        "WordDocument" => Some("DOC"),
        "PowerPoint Document" => Some("PPT"),
        _ => None,
    };
    Ok(directory.chunks_exact(128).find_map(|entry| known(name(entry))))
}

/// A dBase table has no mark; its header has to make sense.
fn is_dbase(head: &[u8]) -> bool {
    let kinds = [0x03, 0x04, 0x05, 0x30, 0x31, 0x43, 0x83, 0x8b, 0xcb, 0xf5];
    let Some(header) = head.get(..32) else { return false };
    let (month, day) = (header[2], header[3]);
    let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
    let record = u16::from_le_bytes([header[10], header[11]]);
    let fields = head.get(32..).unwrap_or_default().chunks(32).take_while(|field| field[0] != 0x0d).count();
    kinds.contains(&header[0])
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && record > 1
        && (1..=255).contains(&fields)
        && length > 32 * fields
        && length <= 32 * (fields + 1) + 264
}

/// Whether a TIFF file says where on Earth its picture is. Its directory may stand anywhere.
fn is_geographic(sample: &Sample) -> io::Result<bool> {
    let head = sample.head();
    let is_little = head.starts_with(b"II");
    let two = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1]];
        if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    };
    let Some(place) = head.get(4..8).and_then(|bytes| bytes.first_chunk::<4>()) else { return Ok(false) };
    let place = u64::from(if is_little { u32::from_le_bytes(*place) } else { u32::from_be_bytes(*place) });
    let count = sample.bytes_at(place, 2)?;
    if count.len() < 2 {
        return Ok(false);
    }
    let entries = sample.bytes_at(place + 2, usize::from(two(&count)) * 12)?;
    Ok(entries.chunks_exact(12).any(|entry| GEO_TAGS.contains(&two(entry))))
}
