//! What the sample portal offers: twelve datasets to see, two that are not, and what becomes of each resource.

use std::time::Duration;

use axum::body::Bytes;

use super::dataset::{Dataset, Datasets};
use super::digest::sha256;
use super::expected::Expected;
use super::web::Behaviour;

/// The token that may write to the sample portal.
pub const TOKEN: &str = "demo-token-of-the-sample-portal";
/// Whose token it is.
pub const USER: &str = "archiver";
/// How long the demo waits for an answer: `slow.csv` never comes.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// How large a file the demo keeps: `satellite.tif` and `sensor.csv` are larger.
pub const BYTES_MAX: u64 = 1_000_000;

/// What `satellite.tif` says it is long.
const SATELLITE_BYTES: u64 = 2_100_000_000;

/// Takes files into the program under their names.
macro_rules! assets {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../assets/demo/", $name)))),*]
    };
}

const ASSETS: &[(&str, &[u8])] = assets!(
    "elements.csv" "elements.tsv" "elements.json" "elements.zip" "planets.csv" "planets.json" "planets.xlsx" "planets.png"
    "iso-countries.csv" "iso-countries.json" "leap-seconds.csv" "leap-seconds.json" "leap-seconds.txt" "si-units.csv"
    "si-units.xml" "si-prefixes.csv" "si-prefixes.json" "capitals.csv" "capitals.geojson" "capitals.kml"
    "greek-alphabet.csv" "greek-alphabet.html" "report.html"
);

const CSV: &[&str] = &["text/csv"];
const JSON: &[&str] = &["application/json"];
const XML: &[&str] = &["application/xml", "text/xml"];
const HTML: &[&str] = &["text/html"];

/// One resource: its file name, the declared format, and what its address does.
struct Entry(&'static str, &'static str, Does);

/// What a resource's address does.
enum Does {
    /// Serves the file of that name, which is of one of these types.
    Keep(&'static [&'static str]),
    /// Redirects to where the file of that name is.
    Move(u16, &'static [&'static str]),
    /// Serves this other file in its place, of one of these types.
    Swap(&'static str, &'static [&'static str]),
    /// Answers with a status; the reason names it.
    Fail(u16),
    /// Redirects to itself.
    Loop,
    /// Serves nothing at all, successfully.
    Empty,
    /// Never answers.
    Hang,
    /// Says that it is too large.
    Huge,
    /// Never ends.
    Endless,
}

use Does::{Empty, Endless, Fail, Hang, Huge, Keep, Loop, Move, Swap};

const XLSX: &[&str] = &["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"];

/// The datasets that everyone sees: name, title, resources.
const CATALOG: &[(&str, &str, &[Entry])] = &[
    (
        "chemical-elements",
        "Chemical elements",
        &[
            Entry("elements.csv", "CSV", Keep(CSV)),
            Entry("elements.tsv", "TSV", Keep(&["text/tab-separated-values"])),
            Entry("elements.json", "JSON", Keep(JSON)),
            Entry("elements.zip", "ZIP", Keep(&["application/zip"])),
        ],
    ),
    (
        "planets",
        "Planets",
        &[
            Entry("planets.xlsx", "XLSX", Keep(XLSX)),
            Entry("planets.csv", "CSV", Keep(CSV)),
            Entry("planets.json", "JSON", Keep(JSON)),
            Entry("planets.png", "PNG", Keep(&["image/png"])),
        ],
    ),
    (
        "iso-countries",
        "ISO country codes",
        &[Entry("iso-countries.json", "JSON", Move(301, JSON)), Entry("iso-countries.csv", "CSV", Keep(CSV))],
    ),
    (
        "leap-seconds",
        "Leap seconds",
        &[
            Entry("leap-seconds.csv", "CSV", Keep(CSV)),
            Entry("leap-seconds.json", "JSON", Keep(JSON)),
            Entry("leap-seconds.txt", "TXT", Move(302, &["text/plain"])),
        ],
    ),
    ("si-units", "SI units", &[Entry("si-units.xml", "XML", Keep(XML)), Entry("si-units.csv", "CSV", Keep(CSV))]),
    (
        "si-prefixes",
        "SI prefixes",
        &[Entry("si-prefixes.csv", "CSV", Keep(CSV)), Entry("si-prefixes.json", "JSON", Keep(JSON))],
    ),
    (
        "capitals",
        "Capitals",
        &[
            Entry("capitals.geojson", "GeoJSON", Keep(&["application/geo+json"])),
            Entry("capitals.kml", "KML", Keep(&["application/vnd.google-earth.kml+xml", "application/xml"])),
            Entry("capitals.csv", "CSV", Keep(CSV)),
        ],
    ),
    (
        "greek-alphabet",
        "Greek alphabet",
        &[Entry("greek-alphabet.csv", "CSV", Keep(CSV)), Entry("greek-alphabet.html", "HTML", Keep(HTML))],
    ),
    (
        "retired-files",
        "Retired files",
        &[
            Entry("old-budget.csv", "CSV", Fail(404)),
            Entry("withdrawn.csv", "CSV", Fail(410)),
            Entry("roundabout.csv", "CSV", Loop),
        ],
    ),
    ("reports", "Reports", &[Entry("report.csv", "CSV", Swap("report.html", HTML)), Entry("empty.csv", "CSV", Empty)]),
    ("large-files", "Large files", &[Entry("satellite.tif", "TIFF", Huge), Entry("sensor.csv", "CSV", Endless)]),
    ("unsteady-servers", "Unsteady servers", &[Entry("slow.csv", "CSV", Hang), Entry("failing.csv", "CSV", Fail(500))]),
];

/// The names of the datasets that are on the portal but not for everyone: nothing of them is archived.
pub const HIDDEN: [&str; 2] = ["internal-draft", "deleted-dataset"];

/// The sample portal's datasets, with resources on the web server at this address.
pub fn sample(web_base_url: &str) -> Datasets {
    let url = |file: &str| format!("{web_base_url}/{file}");
    let mut datasets = Datasets::default().with_user(USER, TOKEN);
    for (name, title, entries) in CATALOG {
        let mut dataset = Dataset::new(name).titled(title).tag("sample").extra("publisher", "the worker's demo");
        for Entry(file, format, _) in *entries {
            dataset = dataset.resource(file, &url(file), format);
        }
        datasets = datasets.with(dataset);
    }
    let [draft, deleted] = HIDDEN.map(|name| Dataset::new(name).titled(name));
    datasets.with(draft.private().resource("draft.csv", &url("draft.csv"), "CSV")).with(deleted.deleted().resource(
        "deleted.csv",
        &url("deleted.csv"),
        "CSV",
    ))
}

/// What the sample portal's web server serves, path by path.
pub fn files() -> Vec<(String, Behaviour)> {
    let mut files = Vec::new();
    for Entry(name, _, does) in entries() {
        let path = format!("/{name}");
        let behaviour = match does {
            Keep(_) => file(name),
            Swap(other, _) => file(other),
            Move(status, _) => {
                let to = format!("/moved/{name}");
                files.push((to.clone(), file(name)));
                Behaviour::Moved { status: *status, to }
            }
            Fail(status) => Behaviour::Failing { status: *status },
            Loop => Behaviour::Moved { status: 302, to: path.clone() },
            Empty => Behaviour::File { mimetype: "text/csv".into(), body: Bytes::new() },
            Hang => Behaviour::Silent,
            Huge => Behaviour::Huge { mimetype: "image/tiff".into(), bytes: SATELLITE_BYTES },
            Endless => Behaviour::Endless { mimetype: "text/csv".into() },
        };
        files.push((path, behaviour));
    }
    let hidden = ["/draft.csv", "/deleted.csv"].map(|path| (path.to_owned(), file("elements.csv")));
    files.extend(hidden);
    files
}

/// What archiving the sample portal must come to, one entry for each resource that everyone sees.
pub fn expected() -> Vec<Expected> {
    entries().map(|Entry(name, _, does)| expectation(name, does)).collect()
}

/// How many datasets and resources everyone sees.
pub fn count() -> (usize, usize) {
    (CATALOG.len(), entries().count())
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    CATALOG.iter().flat_map(|(_, _, entries)| *entries)
}

fn expectation(name: &'static str, does: &Does) -> Expected {
    let kept = |file: &str, mimetypes, redirected| {
        let bytes = asset(file);
        Expected { kept: Some((bytes.len() as u64, sha256(bytes))), mimetypes, redirected, ..Expected::new(name, 0) }
    };
    match does {
        Keep(mimetypes) => kept(name, mimetypes, false),
        Swap(other, mimetypes) => kept(other, mimetypes, false),
        Move(_, mimetypes) => kept(name, mimetypes, true),
        Fail(404) => Expected { reason: "404", ..Expected::new(name, 12) },
        Fail(410) => Expected { reason: "410", ..Expected::new(name, 12) },
        Fail(_) => Expected { reason: "500", ..Expected::new(name, 12) },
        Loop => Expected { reason: "redirect", ..Expected::new(name, 12) },
        Hang => Expected { reason: "timed out", ..Expected::new(name, 12) },
        Empty => Expected::new(name, 12),
        Huge | Endless => Expected::new(name, 21),
    }
}

fn asset(name: &str) -> &'static [u8] {
    let found = ASSETS.iter().find(|(asset, _)| *asset == name);
    found.expect("every file that is served is listed in ASSETS").1
}

fn file(name: &str) -> Behaviour {
    Behaviour::File { mimetype: mimetype(name).to_owned(), body: Bytes::from_static(asset(name)) }
}

fn mimetype(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "csv" => "text/csv",
        "tsv" => "text/tab-separated-values",
        "json" => "application/json",
        "geojson" => "application/geo+json",
        "kml" => "application/vnd.google-earth.kml+xml",
        "xml" => "application/xml",
        "html" => "text/html; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "zip" => "application/zip",
        "png" => "image/png",
        "xlsx" => XLSX[0],
        _ => "application/octet-stream",
    }
}
