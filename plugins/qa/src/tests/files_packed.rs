//! Containers for the oracle.

use super::files::{gzip, padded, tar, zip, zip_of};
use super::oracle::{Case, case};

const CSV: &[u8] = b"a,b\n1,2\n3,4\n";

pub fn cases() -> Vec<Case> {
    let office = |end: &str| {
        zip(&[("mimetype", format!("application/vnd.oasis.opendocument.{end}").as_bytes()), ("content.xml", b"<a/>")])
    };
    let timetable = zip_of(&["agency.txt", "stops.txt", "routes.txt", "trips.txt", "stop_times.txt", "calendar.txt"]);
    vec![
        case("XLSX", zip_of(&["[Content_Types].xml", "xl/workbook.xml"])),
        case("XLSB", zip_of(&["[Content_Types].xml", "xl/workbook.bin"])),
        case("DOCX", zip_of(&["[Content_Types].xml", "word/document.xml"])),
        case("PPTX", zip_of(&["[Content_Types].xml", "ppt/presentation.xml"])),
        case("ODS", office("spreadsheet")),
        case("ODT", office("text")),
        case("a template for ODT", office("text-template")),
        case("ODP", office("presentation")),
        case("ODG", office("graphics")),
        case("ODF", office("formula")),
        case("ODB", office("database")),
        case("an electronic book", zip(&[("mimetype", b"application/epub+zip")])),
        case("KMZ", zip(&[("doc.kml", b"<kml/>"), ("tree.png", b"x")])),
        case("a QGIS project, packed", zip_of(&["trees.qgs", "trees.qgd"])),
        case("a shape", zip_of(&["trees/a.shp", "trees/a.shx", "trees/a.dbf", "trees/a.prj"])),
        case("a geodatabase", zip_of(&["trees.gdb/", "trees.gdb/a0001.gdbtable"])),
        case("a timetable", timetable),
        case("a timetable without its stops", zip_of(&["agency.txt", "routes.txt", "calendar.txt"])),
        case("a table in ZIP", zip(&[("trees.csv", CSV)])),
        case("a table without a name in ZIP", zip(&[("trees", CSV)])),
        case("a page that is called a table, in ZIP", zip(&[("trees.csv", b"<html></html>")])),
        case("tables and papers in ZIP", zip(&[("a.pdf", b"%PDF-1"), ("b.pdf", b"%PDF-1"), ("c.csv", CSV)])),
        case("papers in ZIP", zip(&[("a.pdf", b"%PDF-1"), ("__MACOSX/a.csv", CSV)])),
        case("ZIP with nothing that is known", zip(&[("a.xyzzy", b"\x01\x02\0")])),
        case("an empty ZIP", zip_of(&[])),
        case("ZIP without its end", zip(&[("trees.csv", CSV)])[..30].to_vec()),
        case("ZIP without its end, that is called XLSX", zip(&[("x", CSV)])[..30].to_vec()).at("a.xlsx"),
        case("a table packed by gzip", gzip(CSV)),
        case("JSON packed by gzip", gzip(b"{\"a\": 1}")),
        case("one column packed by gzip, with a name", gzip(b"a\n1\n2\n")).at("a.csv.gz"),
        case("a tar file with a table", tar(&[("trees/a.csv", CSV), ("b.pdf", b"%PDF")])),
        case("the same packed by gzip", gzip(&tar(&[("trees/a.csv", CSV)]))),
        case("a tar file with nothing that is known", tar(&[("a.xyzzy", b"x")])),
        case("a table packed by bzip2, with a name", padded(b"BZh91AY&SY", 64)).at("a.csv.bz2"),
        case("something packed by bzip2", padded(b"BZh91AY&SY", 64)),
        case("7Z", padded(b"7z\xbc\xaf\x27\x1c\0\x04", 64)),
        case("RAR", padded(b"Rar!\x1a\x07\x01\0", 64)),
    ]
}
