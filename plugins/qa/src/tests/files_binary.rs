//! Files that are neither texts nor containers, for the oracle.

use super::files::{compound, dbase, padded, sqlite, tiff};
use super::oracle::{Case, case};

const EXCEL: [u8; 16] = [0x20, 0x08, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];
const WORD: [u8; 16] = [0x06, 0x09, 0x02, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];

pub fn cases() -> Vec<Case> {
    let hdf5 = b"\x89HDF\r\n\x1a\n\0".as_slice();
    vec![
        case("Parquet", [b"PAR1\0\0".as_slice(), &[0; 40], b"PAR1"].concat()),
        case("Arrow", padded(b"ARROW1\0\0", 64)),
        case("Avro", padded(b"Obj\x01\x04", 64)),
        case("FlatGeobuf", padded(b"fgb\x03fgb\0", 64)),
        case("PMTiles", padded(b"PMTiles\x03", 127)),
        case("a GeoPackage", sqlite(*b"GPKG")),
        case("MBTiles", sqlite(*b"MPBX")),
        case("an SQLite file", sqlite([0; 4])),
        case("NetCDF", padded(b"CDF\x01", 64)),
        case("NetCDF-4", [hdf5, &[0; 40], b"_NCProperties", &[0; 20]].concat()),
        case("HDF5", padded(hdf5, 200)),
        case("LAS", padded(b"LASF\0\0", 227)),
        case("TIFF", tiff(256, true)),
        case("GeoTIFF", tiff(34735, true)),
        case("GeoTIFF, the other way round", tiff(33550, false)),
        case("a dBase table", dbase()),
        case("a shape without its table", padded(&[0, 0, 0x27, 0x0a], 100)),
        case("an old Excel file", compound(EXCEL, "Workbook")),
        case("an old Excel file that does not say so", compound([0; 16], "Workbook")),
        case("an old Word file", compound(WORD, "WordDocument")),
        case("an old PowerPoint file", compound([0; 16], "PowerPoint Document")),
        case("a map project of ArcGIS", compound([0; 16], "Maps")).at("trees.mxd"),
        case("an Access database", padded(b"\0\x01\0\0Standard Jet DB\0", 128)),
        case("PDF", "%PDF-1.4\nx\n%%EOF\n"),
        case("PNG", padded(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 64)),
        case("JPEG", padded(b"\xff\xd8\xff\xe0\0\x10JFIF\0", 64)),
        case("GIF", padded(b"GIF89a\x01\0\x01\0", 64)),
        case("BMP", padded(b"BM\x40\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\x18\0", 64)),
        case("a program", padded(b"\x7fELF\x02\x01\x01", 64)),
        case("a film", padded(b"\0\0\0\x18ftypmp42\0\0\0\0mp42", 64)),
        case("bytes that nobody knows", [1_u8, 2, 3, 4, 5, 0, 0, 9]),
        case("bytes that nobody knows, with a name", [1_u8, 2, 3, 4, 5, 0, 0, 9]).at("trees.mop"),
        case("bytes that nobody knows, with a word", [1_u8, 2, 3, 4, 5, 0, 0, 9]).declared("Shapefile"),
    ]
}
