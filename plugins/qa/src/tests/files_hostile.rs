//! Files that are made to do harm, for the oracle: each must come out, quickly and in little memory.

use std::fmt::Write as _;

use super::files::{gzip, padded, tar, zip};
use super::oracle::{Case, case};

const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";

pub fn cases() -> Vec<Case> {
    let csv = b"a,b\n1,2\n3,4\n".as_slice();
    let million = vec![b'a'; 1 << 20];
    vec![
        case("nothing", ""),
        case("one letter", "a"),
        case("ZIP with two entries over one file", overlapping(&zip(&[("a.csv", csv)]))),
        case("ZIP that declares 4 GB", declaring(zip(&[("a.csv", csv)]), u32::MAX - 1)),
        case("ZIP with 16 MB of zeros", zip(&[("a.csv", &vec![0; 16 << 20])])),
        case("ZIP in ZIP in ZIP", zip(&[("a.zip", &zip(&[("b.zip", &zip(&[("c.csv", csv)]))]))])),
        case("ZIP with 3,000 entries", many(3000)),
        case("16 MB of zeros packed by gzip", gzip(&vec![0; 16 << 20])),
        case("gzip in gzip", gzip(&gzip(&gzip(csv)))),
        case("gzip that breaks off", gzip(&million)[..20].to_vec()),
        case("tar that declares 8 GB", long_tar()),
        case("50 MB in one line", vec![b'a'; 50_000_000]),
        case("a table with a row of 1 MB", [csv, &million, b",2\n"].concat()),
        case("half a letter at the end", [b"a,b\n1,2\n3,\xe2\x82".as_slice()].concat()),
        case("a TIFF file that points out of itself", padded(b"II*\0\xff\xff\xff\x7f", 64)),
        case(
            "an office file that points out of itself",
            padded(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 512)
                .into_iter()
                .map(|byte| if byte == 0 { 0xff } else { byte })
                .collect::<Vec<_>>(),
        ),
        case("noise", noise(100_000)),
    ]
}

/// Texts that are nested so deeply, or say so much in few words, that reading them naively is the end.
pub fn deep() -> Vec<Case> {
    vec![
        case("JSON 10,000 deep", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
        case("JSON objects 10,000 deep", format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000))),
        case(
            "JSON-LD 10,000 deep",
            format!("{{\"@context\": {{}}, \"@graph\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000)),
        ),
        case("JSON with a long name", format!("{{\"{}\": 1}}", "a".repeat(1 << 20))),
        case("XML 10,000 deep", format!("<?xml version=\"1.0\"?>{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000))),
        case("XML whose entities grow", laughing("lolz", "&lol9;")),
        case("RDF whose entities grow", laughing("rdf:RDF", "<rdf:Description rdf:about=\"&lol9;\"/>")),
        case("XML that asks for a file", "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>"),
        case(
            "Turtle 10,000 deep",
            format!("@prefix a: <http://a.example/> .\na:b a:c {}{} .\n", "[ a:d ".repeat(10_000), "]".repeat(10_000)),
        ),
        case(
            "Turtle lists 10,000 deep",
            format!("@prefix a: <http://a.example/> .\na:b a:c {}{} .\n", "(".repeat(10_000), ")".repeat(10_000)),
        ),
        case("JSON as deep as the head is long", "[".repeat(1 << 16)),
        case(
            "JSON-LD as deep as the head is long",
            format!("{{\"@context\": {{}}, \"@graph\": {}", "[".repeat(1 << 16)),
        ),
        case(
            "Turtle as deep as the head is long",
            format!("@prefix a: <http://a.example/> .\na:b a:c {}", "[a:d".repeat(1 << 14)),
        ),
        case(
            "Turtle lists as deep as the head is long",
            format!("@prefix a: <http://a.example/> .\na:b a:c {}", "(".repeat(1 << 16)),
        ),
        case(
            "N3 formulas as deep as the head is long",
            format!("@prefix a: <http://a.example/> .\na:b a:c {}", "{".repeat(1 << 16)),
        ),
        case("a page 10,000 deep", format!("<html>{}", "<div>".repeat(10_000))),
    ]
}

/// The directory names the same file twice.
fn overlapping(zip: &[u8]) -> Vec<u8> {
    let (central, end) = (find(zip, CENTRAL), find(zip, END));
    let mut bytes = zip[..end].to_vec();
    bytes.extend(&zip[central..end]);
    let mut tail = zip[end..].to_vec();
    let size = u32::try_from(2 * (end - central)).unwrap();
    tail[8..10].copy_from_slice(&2_u16.to_le_bytes());
    tail[10..12].copy_from_slice(&2_u16.to_le_bytes());
    tail[12..16].copy_from_slice(&size.to_le_bytes());
    bytes.extend(tail);
    bytes
}

/// The directory says that the file is so long.
fn declaring(mut zip: Vec<u8>, bytes: u32) -> Vec<u8> {
    let central = find(&zip, CENTRAL);
    zip[central + 24..central + 28].copy_from_slice(&bytes.to_le_bytes());
    zip
}

fn many(count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|number| format!("{number}.csv")).collect();
    zip(&names.iter().map(|name| (name.as_str(), b"".as_slice())).collect::<Vec<_>>())
}

/// A tar file whose first entry is a name of 8 GB.
fn long_tar() -> Vec<u8> {
    let mut file = tar(&[("a.csv", b"a,b\n1,2\n")]);
    let mut header = tar::Header::new_gnu();
    header.set_path("././@LongLink").unwrap();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(8 << 30);
    header.set_cksum();
    file.splice(..0, header.as_bytes().iter().copied());
    file
}

/// Nine entities of which each is ten of the one before.
fn laughing(root: &str, content: &str) -> String {
    let mut text = String::from("<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY lol0 \"lollollol\">");
    for level in 1..10 {
        let inside = format!("&lol{};", level - 1).repeat(10);
        write!(text, "<!ENTITY lol{level} \"{inside}\">").unwrap();
    }
    format!("{text}]><{root} xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">{content}</{root}>")
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(4).position(|window| window == wanted).unwrap()
}

fn noise(count: usize) -> Vec<u8> {
    numbers().map(|number| number.to_le_bytes()[0]).take(count).collect()
}

/// The same numbers each time, without an order.
pub fn numbers() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(0x1234_5678_u32), |state| {
        let state = state ^ state << 13;
        let state = state ^ state >> 17;
        Some(state ^ state << 5)
    })
}
