//! The formats, their names and their scores.

use std::collections::BTreeMap;

use ckan_worker_plugin::{Error, Result};

/// What a format that is known and stands in no table scores.
const OTHERWISE: u8 = 1;

/// A format: its name, its score, and what else it is called: ends of file names, media types, words of publishers.
type Row = (&'static str, u8, &'static [&'static str]);

/// The formats that ckanext-qa knows, with its scores, and those that it misses.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    // Linked data. What is looked into is scored by what stands in it, from 3 to 5.
    ("JSON-LD", 4, &["jsonld", "application/ld+json"]),
    ("N-Quads", 5, &["nq", "nquads", "application/n-quads"]),
    ("N-Triples", 5, &["nt", "ntriples", "application/n-triples"]),
    ("N3", 5, &["text/n3"]),
    ("RDF", 5, &["rdf/xml", "rdf+xml", "application/rdf+xml", "owl/rdf"]),
    ("SPARQL", 5, &["rq", "sparql query", "application/sparql-query", "api/sparql", "srx"]),
    ("TriG", 5, &["application/trig"]),
    ("TTL", 5, &["turtle", "text/turtle", "rdf/turtle"]),
    // Open and standardised.
    ("Arrow", 3, &["feather", "arrow ipc"]),
    ("Atom Feed", 3, &["atom", "application/atom+xml"]),
    ("Avro", 3, &[]),
    ("CSV", 3, &["text/csv", "comma separated values", "csv file"]),
    ("CSW", 3, &["ogc:csw"]),
    ("FlatGeobuf", 3, &["fgb"]),
    ("GeoJSON", 3, &["application/geo+json", "geojsonl", "application/vnd.geo+json"]),
    ("GeoTIFF", 3, &["geotif", "cog", "image/tiff; application=geotiff"]),
    ("GML", 3, &["application/gml+xml"]),
    ("GPKG", 3, &["geopackage", "application/geopackage+sqlite3"]),
    ("GPX", 3, &["application/gpx+xml"]),
    ("GTFS", 3, &[]),
    ("HDF5", 3, &["h5", "hdf", "he5"]),
    ("IATI", 3, &["iati-xml", "iati xml"]),
    ("ICS", 3, &["ical", "icalendar", "text/calendar"]),
    ("JPEG", 3, &["jpg", "image/jpeg"]),
    ("JSON", 3, &["application/json"]),
    ("JSON Lines", 3, &["jsonl", "ndjson", "application/x-ndjson"]),
    ("KML", 3, &["application/vnd.google-earth.kml+xml"]),
    ("KMZ", 3, &["application/vnd.google-earth.kmz"]),
    ("LAS", 3, &["laz", "lidar"]),
    ("MBTiles", 3, &[]),
    ("NetCDF", 3, &["nc", "nc4", "application/netcdf", "application/x-netcdf"]),
    ("ODB", 3, &["application/vnd.oasis.opendocument.database"]),
    ("ODF", 3, &["application/vnd.oasis.opendocument.formula"]),
    ("ODG", 3, &["application/vnd.oasis.opendocument.graphics"]),
    ("ODS", 3, &["fods", "application/vnd.oasis.opendocument.spreadsheet"]),
    ("Parquet", 3, &["geoparquet", "application/vnd.apache.parquet"]),
    ("PMTiles", 3, &["application/vnd.pmtiles"]),
    ("PNG", 3, &["image/png"]),
    ("PSV", 3, &["pipe separated values"]),
    ("QGIS", 3, &["qgs", "qgz"]),
    ("RSS", 3, &["application/rss+xml"]),
    ("SDMX", 3, &[]),
    ("SQLite", 3, &["sqlite3", "application/vnd.sqlite3"]),
    ("SVG", 3, &["svgz", "image/svg+xml"]),
    ("TopoJSON", 3, &[]),
    ("TSV", 3, &["tab", "text/tab-separated-values"]),
    ("WCS", 3, &["ogc:wcs"]),
    ("WFS", 3, &["ogc:wfs"]),
    ("WMS", 3, &["ogc:wms"]),
    ("WMTS", 3, &["ogc:wmts"]),
    ("XML", 3, &["application/xml", "text/xml"]),
    ("XYZ", 3, &[]),
    ("YAML", 3, &["yml", "application/yaml"]),
    // Readable by machines.
    ("ArcGIS Map Service", 2, &["arcgis mapservice", "arcgis service"]),
    ("ArcGIS Map Preview", 2, &[]),
    ("BMP", 2, &["image/bmp"]),
    ("dBase", 2, &["dbf", "application/dbase"]),
    ("DXF", 2, &["image/vnd.dxf"]),
    ("E00", 2, &[]),
    ("Esri REST", 2, &["arcgis geoservices rest api", "arcgis rest", "esri rest api"]),
    ("FileGDB", 2, &["gdb", "esri file geodatabase", "file geodatabase"]),
    ("GIF", 2, &["image/gif"]),
    ("GRIB", 2, &["grb", "grib2"]),
    ("MDB", 2, &["accdb", "ms access", "application/msaccess"]),
    ("MOP", 2, &[]),
    ("MrSID", 2, &["sid"]),
    ("SHP", 2, &["shapefile", "esri shapefile", "shape"]),
    ("TIFF", 2, &["tif", "image/tiff"]),
    ("XLS", 2, &["xlt", "excel", "application/vnd.ms-excel"]),
    ("XLSB", 2, &["application/vnd.ms-excel.sheet.binary.macroenabled.12"]),
    ("XLSX", 2, &["xlsm", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"]),
    // Obtainable.
    ("7Z", 1, &["application/x-7z-compressed"]),
    ("ArcGIS Online Map", 1, &[]),
    ("BIN", 1, &["application/octet-stream", "dat"]),
    ("BZ2", 1, &["bzip2", "application/x-bzip2"]),
    ("DCR", 1, &[]),
    ("DOC", 1, &["word", "application/msword"]),
    ("DOCX", 1, &["docm", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"]),
    ("EPUB", 1, &["application/epub+zip"]),
    ("GZ", 1, &["gzip", "application/gzip", "application/x-gzip"]),
    ("JAR", 1, &[]),
    ("Markdown", 1, &["md", "text/markdown"]),
    ("MXD", 1, &[]),
    ("ODC", 1, &["application/vnd.oasis.opendocument.chart"]),
    ("ODP", 1, &["fodp", "application/vnd.oasis.opendocument.presentation"]),
    ("ODT", 1, &["fodt", "application/vnd.oasis.opendocument.text"]),
    ("PDF", 1, &["application/pdf"]),
    ("PPT", 1, &["pps", "powerpoint", "application/vnd.ms-powerpoint"]),
    ("PPTX", 1, &["ppsx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"]),
    ("RAR", 1, &["application/vnd.rar", "application/x-rar-compressed"]),
    ("RTF", 1, &["application/rtf", "text/rtf"]),
    ("SQL", 1, &["application/sql"]),
    ("TAR", 1, &["application/x-tar"]),
    ("TXT", 1, &["text", "text/plain", "asc"]),
    ("XZ", 1, &["application/x-xz"]),
    ("ZIP", 1, &["application/zip", "application/x-zip-compressed"]),
    ("ZST", 1, &["zstd", "application/zstd"]),
    // No data.
    ("EXE", 0, &["dll", "msi"]),
    ("HTML", 0, &["htm", "xhtml", "text/html", "web page", "website"]),
    ("JS", 0, &["javascript", "application/javascript", "text/javascript"]),
    ("OWL", 0, &["owl/xml"]),
    ("Perl", 0, &["pl"]),
    ("RDFa", 0, &["html+rdfa"]),
    ("XSLT", 0, &["xsl", "application/xslt+xml"]),
];

/// How formats score: the table, and what the operator changed of it.
#[derive(Debug, Default)]
pub struct Scores {
    /// By the name in small letters: the name, and the score.
    own: BTreeMap<String, (String, u8)>,
}

impl Scores {
    /// Reads the setting `scores`: items like `Parquet=3`. A name that the table does not have is a new format.
    ///
    /// # Errors
    /// The first item that is not like that.
    pub fn read(items: &[String]) -> Result<Self> {
        let mut own = BTreeMap::new();
        for item in items {
            let pair = item.split_once('=').map(|(name, score)| (name.trim(), score.trim().parse::<u8>()));
            let Some((name, Ok(score @ 0..=5))) = pair.filter(|(name, _)| !name.is_empty()) else {
                return Err(Error::permanent(format!(
                    "scores: expected a format and its score from 0 to 5, as in `Parquet=3`, got {item:?}"
                )));
            };
            let name = row(name).map_or(name, |row| row.0);
            own.insert(name.to_lowercase(), (name.to_owned(), score));
        }
        Ok(Self { own })
    }

    /// What a format scores.
    pub fn of(&self, format: &str) -> u8 {
        self.set_for(format).or_else(|| row(format).map(|row| row.1)).unwrap_or(OTHERWISE)
    }

    /// What the operator said that a format scores.
    pub fn set_for(&self, format: &str) -> Option<u8> {
        self.own.get(&format.to_lowercase()).map(|(_, score)| *score)
    }

    /// The format that somebody calls so.
    pub fn named(&self, word: &str) -> Option<String> {
        let word = word.trim().trim_start_matches('.').to_lowercase();
        match self.own.get(&word) {
            Some((name, _)) => Some(name.clone()),
            None => row(&word).map(|row| row.0.to_owned()),
        }
    }

    /// All that the operator changed, in order, as one text, to compare.
    pub fn told(&self) -> String {
        format!("{:?}", self.own)
    }
}

fn row(word: &str) -> Option<&'static Row> {
    let word = word.to_lowercase();
    TABLE.iter().find(|(name, _, others)| name.to_lowercase() == word || others.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_two_formats() {
        let mut seen = BTreeMap::new();
        for (name, _, others) in TABLE {
            for word in others.iter().copied().chain([name.to_lowercase().as_str()]) {
                assert_eq!(word, word.to_lowercase(), "names are looked up in small letters");
                assert_eq!(seen.insert(word.to_owned(), *name), None, "{word}");
            }
        }
    }

    #[test]
    fn a_format_is_found_by_any_of_its_names() {
        let scores = Scores::default();
        for (word, name) in [("csv", "CSV"), (" .Csv ", "CSV"), ("text/csv", "CSV"), ("shapefile", "SHP")] {
            assert_eq!(scores.named(word).as_deref(), Some(name), "{word}");
        }
        assert_eq!(scores.named("what"), None);
        assert_eq!((scores.of("CSV"), scores.of("nobody knows it")), (3, 1));
    }

    #[test]
    fn an_operator_changes_scores_and_adds_formats() {
        let scores = Scores::read(&["parquet = 2".to_owned(), "Dwg=1".to_owned()]).unwrap();
        assert_eq!((scores.of("Parquet"), scores.of("DWG"), scores.of("CSV")), (2, 1, 3));
        assert_eq!(scores.named("dwg").as_deref(), Some("Dwg"));
        for wrong in ["CSV", "CSV=6", "=3", "CSV=three"] {
            let error = Scores::read(&[wrong.to_owned()]).unwrap_err();
            let expected = "scores: expected a format and its score from 0 to 5, as in `Parquet=3`";
            assert!(error.message().starts_with(expected), "{error}");
        }
    }
}
