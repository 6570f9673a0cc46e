//! How the files of the oracle are made.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use rawzip::{CompressionMethod, ZipArchiveWriter};

/// A ZIP file with these files in it.
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    for (name, content) in files {
        let (mut entry, config) =
            archive.new_file(name).compression_method(CompressionMethod::DEFLATE).start().unwrap();
        let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::fast()));
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

/// A ZIP file with these empty files in it.
pub fn zip_of(names: &[&str]) -> Vec<u8> {
    zip(&names.iter().map(|name| (*name, b"".as_slice())).collect::<Vec<_>>())
}

/// What gzip makes of it.
pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A tar file with these files in it.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A file that begins so and goes on with zeros.
pub fn padded(start: &[u8], bytes: usize) -> Vec<u8> {
    let mut file = start.to_vec();
    file.resize(bytes.max(start.len()), 0);
    file
}

/// A text in UTF-16, with a mark.
pub fn utf_16(text: &str, is_little: bool) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(|unit| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

/// An old office file with this CLSID and this stream.
pub fn compound(clsid: [u8; 16], stream: &str) -> Vec<u8> {
    let mut file = padded(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 512 * 4);
    file[26..28].copy_from_slice(&3_u16.to_le_bytes());
    file[30..32].copy_from_slice(&9_u16.to_le_bytes());
    // The directory is the second sector after the header.
    file[48..52].copy_from_slice(&1_u32.to_le_bytes());
    let directory = 1024;
    for (place, name) in [(directory, "Root Entry"), (directory + 128, stream)] {
        for (index, unit) in name.encode_utf16().enumerate() {
            file[place + index * 2..][..2].copy_from_slice(&unit.to_le_bytes());
        }
    }
    file[directory + 80..][..16].copy_from_slice(&clsid);
    file
}

/// A TIFF file with one tag.
pub fn tiff(tag: u16, is_little: bool) -> Vec<u8> {
    let two = |number: u16| if is_little { number.to_le_bytes() } else { number.to_be_bytes() };
    let four = |number: u32| if is_little { number.to_le_bytes() } else { number.to_be_bytes() };
    let mut file = if is_little { b"II".to_vec() } else { b"MM".to_vec() };
    file.extend(two(42));
    file.extend(four(8));
    file.extend(two(1));
    file.extend(two(tag));
    file.extend(two(3));
    file.extend(four(1));
    file.extend(four(0));
    file.extend(four(0));
    file
}

/// An SQLite file with this application id.
pub fn sqlite(application: [u8; 4]) -> Vec<u8> {
    let mut file = padded(b"SQLite format 3\0", 4096);
    file[68..72].copy_from_slice(&application);
    file
}

/// A dBase table with one field and no rows.
pub fn dbase() -> Vec<u8> {
    let mut file = padded(&[0x03, 120, 6, 1, 0, 0, 0, 0, 65, 0, 11, 0], 32);
    file.extend(padded(b"NAME\0\0\0\0\0\0\0C", 32));
    file.extend([0x0d, 0x1a]);
    file
}
