//! Texts for the oracle.

use super::files::utf_16;
use super::oracle::{Case, case};

pub fn cases() -> Vec<Case> {
    let tables = [
        case("a table with commas", "name,height\noak,20\nash,18\n"),
        case("a table with semicolons, in Latin-1", &b"Stra\xdfe;H\xf6he\nM\xfchlweg;20\nAm Tor;18\n"[..]),
        case("a table with tabs", "a\tb\tc\n1\t2\t3\n4\t5\t6"),
        case("a table with bars", "a|b|c\n1|2|3\n4|5|6\n"),
        case("a table in UTF-16 with a mark", utf_16("a,b\n1,2\n3,4\n", true)),
        case("a table in UTF-16, the other way round", utf_16("a,b\n1,2\n3,4\n", false)),
        case("a table in UTF-16 without a mark", utf_16("a,b\n1,2\n3,4\n", true)[2..].to_vec()),
        case("a table under two lines of remarks", format!("Trees\nAs of 2020\n{}", "oak,20,x\n".repeat(20))),
        case("a table with line breaks in its cells", "a,b\n\"one\ntwo\",2\n\"three\nfour\",4\n5,6\n"),
        case("one column", "height\n20\n18\n"),
        case("one column that is called a table", "height\n20\n18\n").at("heights.csv"),
        case("points", "1.0 2.0 3.5\n4 5 6e3\n-7 8 9\n"),
    ];
    let notations = [
        case("JSON", r#"{"a": [1, 2, {"b": null}]}"#),
        case("a list of JSON", "[1, 2, 3]"),
        case("JSON in UTF-16", utf_16(r#"{"a": 1}"#, true)),
        case("GeoJSON", r#"{"type": "FeatureCollection", "features": []}"#),
        case(
            "GeoJSON with its type at the end",
            r#"{"features": [{"type": "Feature", "a": 1}], "type": "FeatureCollection"}"#,
        ),
        case("a geometry", r#"{"type": "Point", "coordinates": [1, 2]}"#),
        case("TopoJSON", r#"{"type": "Topology", "arcs": [], "objects": {}}"#),
        case("JSON Lines", "{\"a\": 1}\n{\"a\": 2}\n"),
        case("the description of an Esri service", r#"{"currentVersion": 10.5, "layers": [], "mapName": "x"}"#),
        case("features of an Esri service", r#"{"geometryType": "esriGeometryPoint", "features": []}"#),
        case("an error in JSON", r#"{"error": {"code": 499, "message": "Token Required"}}"#),
        case("JSON that breaks off", r#"{"a": [1, 2"#),
        case("a calendar", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"),
        case("an E00 export", "EXP  0 /TREES.E00\nARC  2\n"),
        case("prose", "It was a dark night, and the worker ran.\nNothing, or nearly nothing, was heard of it.\n"),
        case("prose that is called JavaScript", "var a = 1;\n").at("x.js"),
        case("RTF", "{\\rtf1\\ansi Hello}"),
    ];
    tables.into_iter().chain(notations).chain(markup()).collect()
}

fn markup() -> Vec<Case> {
    vec![
        case("XML", "<?xml version=\"1.0\"?><trees><tree/></trees>"),
        case("XML without a declaration", "<trees><tree/></trees>"),
        case("KML", "<?xml version=\"1.0\"?><kml xmlns=\"http://www.opengis.net/kml/2.2\"></kml>"),
        case("GML", "<g:Point xmlns:g=\"http://www.opengis.net/gml/3.2\"/>"),
        case("GPX", "<gpx version=\"1.1\" xmlns=\"http://www.topografix.com/GPX/1/1\"/>"),
        case("SVG", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
        case("RSS", "<?xml version=\"1.0\"?><rss version=\"2.0\"><channel/></rss>"),
        case("Atom", "<feed xmlns=\"http://www.w3.org/2005/Atom\"/>"),
        case("IATI", "<iati-activities version=\"2.03\"/>"),
        case("a QGIS project", "<!DOCTYPE qgis PUBLIC 'x' 'y'>\n<qgis version=\"3\"/>"),
        case("the capabilities of a WMS", "<WMS_Capabilities version=\"1.3.0\" xmlns=\"http://www.opengis.net/wms\"/>"),
        case(
            "the capabilities of an old WMS",
            "<?xml version='1.0'?><!DOCTYPE WMT_MS_Capabilities SYSTEM 'x'><WMT_MS_Capabilities/>",
        ),
        case("the capabilities of a WFS", "<wfs:WFS_Capabilities xmlns:wfs=\"http://www.opengis.net/wfs/2.0\"/>"),
        case("the capabilities of a WMTS", "<Capabilities xmlns=\"http://www.opengis.net/wmts/1.0\"/>"),
        case("the capabilities of a WCS", "<Capabilities xmlns=\"http://www.opengis.net/wcs/2.0\"/>"),
        case("features of a WFS", "<wfs:FeatureCollection xmlns:wfs=\"http://www.opengis.net/wfs/2.0\"/>"),
        case("an error of a map server", "<ServiceExceptionReport><ServiceException/></ServiceExceptionReport>"),
        case("a feed that quotes a page", "<rss><item><![CDATA[<!DOCTYPE html><html>]]></item></rss>"),
        case("XML with the names of HTML", "<table><row a=\"1\"/></table>"),
        case(
            "a web page as XML",
            "<?xml version=\"1.0\"?>\n<!-- x -->\n<html xmlns=\"http://www.w3.org/1999/xhtml\"/>",
        ),
        case(
            "a stylesheet",
            "<xsl:stylesheet xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\"><xsl:template match='/'><html/></xsl:template></xsl:stylesheet>",
        ),
        case("an ontology", "<Ontology xmlns=\"http://www.w3.org/2002/07/owl#\"/>"),
        case("an Excel file as XML", "<Workbook xmlns=\"urn:schemas-microsoft-com:office:spreadsheet\"/>"),
        case("a web page", "<!DOCTYPE html><html><head><meta property=\"og:title\" content=\"x\"></head></html>"),
        case("a web page in the place of a table", "<html><body>Not here any more</body></html>").at("trees.csv"),
        case("a piece of a web page", "<div class=\"x\">Hello"),
        case("a web page with RDFa", "<html><body vocab=\"http://schema.org/\"><p typeof=\"Tree\">x</p></body></html>"),
    ]
}

const FOAF: &str = "@prefix foaf: <http://xmlns.com/foaf/0.1/> .\n";

pub fn linked() -> Vec<Case> {
    let triple = "<http://a.example/x> <http://a.example/p> \"y\" .\n";
    let rdf = |inside: &str| {
        format!(
            "<?xml version=\"1.0\"?><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\" \
             xmlns:foaf=\"http://xmlns.com/foaf/0.1/\" xmlns:own=\"http://a.example/terms#\">\
             <rdf:Description rdf:about=\"http://a.example/x\">{inside}</rdf:Description></rdf:RDF>"
        )
    };
    vec![
        case("Turtle with words of its own", format!("@prefix a: <http://a.example/> .\n{triple}")),
        case("Turtle with a known vocabulary", format!("{FOAF}<http://a.example/x> foaf:name \"X\" .\n")),
        case("Turtle that links", format!("{FOAF}<http://a.example/x> foaf:knows <http://b.example/y> .\n")),
        case("Turtle that says only what kind things are", format!("{FOAF}<http://a.example/x> a foaf:Person .\n")),
        case("Turtle with a mistake", "@prefix a: <http://a.example/> .\na:b c d e f\n"),
        case("N-Triples", triple.repeat(3)),
        case("N-Triples that link", "<http://a.example/x> <http://xmlns.com/foaf/0.1/knows> <http://b.example/y> .\n"),
        case("N-Quads", "<http://a.example/x> <http://a.example/p> \"y\" <http://a.example/g> .\n"),
        case("TriG", format!("{FOAF}<http://a.example/g> {{ <http://a.example/x> foaf:name \"X\" . }}\n")),
        case("N3", format!("{FOAF}{{ ?x foaf:knows ?y }} => {{ ?y foaf:knows ?x }} .\n")),
        case("a SPARQL query", "PREFIX foaf: <http://xmlns.com/foaf/0.1/>\nSELECT ?x WHERE { ?x foaf:name ?y }\n"),
        case("an answer to a SPARQL query", "<sparql xmlns=\"http://www.w3.org/2005/sparql-results#\"/>"),
        case("RDF with words of its own", rdf("<own:name>X</own:name>")),
        case("RDF with a known vocabulary", rdf("<foaf:name>X</foaf:name>")),
        case("RDF that links", rdf("<foaf:knows rdf:resource=\"http://b.example/y\"/>")),
        case(
            "JSON-LD with words of its own",
            r#"{"@context": {"a": "http://a.example/a"}, "@id": "http://a.example/x", "a": 1}"#,
        ),
        case(
            "JSON-LD with a known vocabulary",
            r#"{"@context": "https://schema.org/", "@id": "http://a.example/x", "name": "X"}"#,
        ),
        case(
            "JSON-LD that links",
            r#"{"@context": "https://schema.org", "@id": "http://a.example/x", "sameAs": {"@id": "http://b.example/y"}}"#,
        ),
    ]
}
