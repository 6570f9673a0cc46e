//! XML, by its outermost tag and its namespaces. Entities are never expanded, and nothing is fetched.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

use super::graph::{Graph, STATEMENTS_MAX};
use super::{Kind, Sniffed};

/// How many things before the outermost tag are passed over.
const BEFORE_MAX: usize = 200;
/// How many of its attributes are kept.
const ATTRIBUTES_MAX: usize = 100;

const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";

/// The outermost tag.
struct Root {
    name: String,
    namespace: String,
    /// All namespaces that it declares, and the values of its attributes.
    attributes: Vec<(String, String)>,
}

/// What kind of XML a text is; `None` if it is none.
pub fn look(text: &str) -> Option<Sniffed> {
    let mut reader = NsReader::from_str(text);
    reader.config_mut().check_end_names = false;
    let root = root(&mut reader)?;
    if ["ServiceExceptionReport", "ExceptionReport"].contains(&root.name.as_str()) {
        return Some(Sniffed::Failure("the server answered with an error message"));
    }
    if root.name == "RDF" && root.namespace == RDF {
        if root.declares("http://purl.org/rss/1.0/") {
            return Some(Kind::of("RSS").into());
        }
        return Some(Kind::linked("RDF", links(&mut reader).linked()).into());
    }
    Some(Kind::of(root.format()).into())
}

fn root(reader: &mut NsReader<&[u8]>) -> Option<Root> {
    for _ in 0..BEFORE_MAX {
        match reader.read_resolved_event() {
            Ok((namespace, Event::Start(tag) | Event::Empty(tag))) => return Root::of(&namespace, &tag),
            Ok((_, Event::Eof)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    None
}

impl Root {
    fn of(namespace: &ResolveResult<'_>, tag: &BytesStart<'_>) -> Option<Self> {
        let name = tag.local_name().as_ref().to_owned();
        if !name.starts_with(|letter: char| letter.is_alphabetic() || letter == '_') {
            return None;
        }
        let mut found = tag.attributes();
        let found = found.with_checks(false).flatten().take(ATTRIBUTES_MAX);
        let attributes = found.map(|one| (one.key.as_ref().to_owned(), one.value.into_owned())).collect();
        Some(Self { name, namespace: bound(namespace), attributes })
    }

    fn declares(&self, namespace: &str) -> bool {
        self.attributes.iter().any(|(name, value)| name.starts_with("xmlns") && value == namespace)
    }

    fn value(&self, attribute: &str) -> &str {
        self.attributes.iter().find(|(name, _)| name == attribute).map_or("", |(_, value)| value)
    }

    /// The format; of a kind that nobody has named, just XML.
    fn format(&self) -> &'static str {
        let is_of = |start: &str| self.namespace.starts_with(start);
        match self.name.as_str() {
            "feed" if is_of("http://www.w3.org/2005/Atom") || self.namespace.is_empty() => "Atom Feed",
            "rss" => "RSS",
            "kml" => "KML",
            "gpx" => "GPX",
            "svg" => "SVG",
            "qgis" => "QGIS",
            "html" => "HTML",
            "iati-activities" | "iati-organisations" => "IATI",
            "WMS_Capabilities" | "WMT_MS_Capabilities" => "WMS",
            "WFS_Capabilities" => "WFS",
            "WCS_Capabilities" => "WCS",
            "CoverageDescriptions" if is_of("http://www.opengis.net/wcs") => "WCS",
            "Capabilities" => self.service(),
            "Ontology" if is_of("http://www.w3.org/2002/07/owl#") => "OWL",
            "sparql" if is_of("http://www.w3.org/2005/sparql-results#") => "SPARQL",
            "stylesheet" | "transform" if is_of("http://www.w3.org/1999/XSL/Transform") => "XSLT",
            "Workbook" if is_of("urn:schemas-microsoft-com:office:spreadsheet") => "XLS",
            "document" if is_of("urn:oasis:names:tc:opendocument") => self.office(),
            _ if is_of("http://www.opengis.net/gml") || self.is_collection_of_features() => "GML",
            _ if is_of("http://www.sdmx.org/") || is_of("http://www.SDMX.org/") => "SDMX",
            _ => "XML",
        }
    }

    fn is_collection_of_features(&self) -> bool {
        let is_gml = || self.attributes.iter().any(|(_, value)| value.contains("opengis.net/gml"));
        self.name == "FeatureCollection" && (self.namespace.contains("opengis.net/wfs") || is_gml())
    }

    /// The newer services of the OGC call their answers alike.
    fn service(&self) -> &'static str {
        let services = [("/wmts", "WMTS"), ("/wcs", "WCS"), ("/wfs", "WFS"), ("/wms", "WMS"), ("/cat/csw", "CSW")];
        let named = services.iter().find(|(part, _)| self.namespace.contains(part));
        named.map_or("XML", |(_, service)| *service)
    }

    /// An office document in one XML file.
    fn office(&self) -> &'static str {
        match self.value("office:mimetype").rsplit('.').next() {
            Some("spreadsheet") => "ODS",
            Some("text") => "ODT",
            Some("presentation") => "ODP",
            Some("graphics") => "ODG",
            _ => "XML",
        }
    }
}

/// What RDF/XML links: its tags are classes and properties, and its attributes say of what and to what.
fn links(reader: &mut NsReader<&[u8]>) -> Graph {
    let mut graph = Graph::default();
    for _ in 0..STATEMENTS_MAX {
        let (namespace, tag) = match reader.read_resolved_event() {
            Ok((namespace, Event::Start(tag) | Event::Empty(tag))) => (bound(&namespace), tag),
            // Where the head is cut, the statements end.
            Ok((_, Event::Eof)) | Err(_) => break,
            Ok(_) => continue,
        };
        graph.statements += 1;
        graph.term(&namespace);
        for attribute in tag.attributes().with_checks(false).flatten() {
            let value = attribute.value;
            match attribute.key.local_name().as_ref() {
                "about" => graph.subject(&value),
                "resource" if namespace == RDF => graph.term(&value),
                "resource" => graph.object(&value),
                _ => {}
            }
        }
    }
    graph
}

fn bound(namespace: &ResolveResult<'_>) -> String {
    match namespace {
        ResolveResult::Bound(Namespace(name)) => (*name).to_owned(),
        _ => String::new(),
    }
}
