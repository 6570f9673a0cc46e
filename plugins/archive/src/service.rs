//! Map services: their addresses often answer nothing before they are asked for their capabilities.

use url::Url;

/// Another way to ask a map service.
#[derive(Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What is asked for, as the record calls it.
    pub name: &'static str,
    /// The address.
    pub url: String,
    /// Whether the answer must name capabilities.
    pub is_ogc: bool,
}

/// The ways to ask: the service's word in addresses, its version, and what the record calls it.
const OGC: [(&str, &str, &str); 6] = [
    ("WMS", "1.3.0", "WMS 1.3"),
    ("WMS", "1.1.1", "WMS 1.1.1"),
    ("WFS", "2.0.0", "WFS 2.0"),
    ("WMTS", "1.0.0", "WMTS 1.0"),
    ("WCS", "2.0.1", "WCS 2.0"),
    ("CSW", "2.0.2", "CSW 2.0"),
];

/// The parameters of the services themselves. All others are the vendor's, as `map`, and stay.
const STANDARD: [&str; 22] = [
    "service",
    "request",
    "version",
    "acceptversions",
    "layers",
    "styles",
    "bbox",
    "width",
    "height",
    "crs",
    "srs",
    "format",
    "outputformat",
    "typename",
    "typenames",
    "transparent",
    "count",
    "maxfeatures",
    "coverageid",
    "layer",
    "exceptions",
    "srsname",
];

/// Whether a resource looks like a map service, by its declared format or its address.
pub fn is_likely(declared: &str, url: &str) -> bool {
    kind(declared, url).is_some()
}

/// The ways to ask what looks like a map service, or has answered like one; none for all else.
pub fn attempts(declared: &str, url: &str, answered_like_one: bool) -> Vec<Attempt> {
    let Ok(address) = Url::parse(url) else { return Vec::new() };
    match kind(declared, url) {
        Some("ARCGIS") => vec![Attempt { name: "ArcGIS REST", url: with(&address, &[("f", "json")]), is_ogc: false }],
        Some(kind) => ogc(&address, |service| service == kind),
        None if answered_like_one => ogc(&address, |service| ["WMS", "WFS"].contains(&service)),
        None => Vec::new(),
    }
}

/// Whether a text begins like the capabilities of a service.
pub fn names_capabilities(text: &str) -> bool {
    text.chars().take(2000).collect::<String>().contains("Capabilities")
}

fn ogc(address: &Url, is_asked: impl Fn(&str) -> bool) -> Vec<Attempt> {
    let asked = OGC.iter().filter(|(service, ..)| is_asked(service));
    let attempt = |&(service, version, name): &(&str, &str, &'static str)| {
        let parameters = [("service", service), ("version", version), ("request", "GetCapabilities")];
        Attempt { name, url: with(address, &parameters), is_ogc: true }
    };
    asked.map(attempt).collect()
}

/// Which service it is, if it looks like one.
fn kind(declared: &str, url: &str) -> Option<&'static str> {
    let words = |text: &str| -> Vec<String> {
        text.split(|letter: char| !letter.is_ascii_alphanumeric()).map(str::to_ascii_uppercase).collect()
    };
    let by_word = |words: &[String]| {
        let services = OGC.iter().map(|(service, ..)| *service);
        services.clone().find(|service| words.iter().any(|word| word == service))
    };
    let declared = words(declared);
    if let Some(service) = by_word(&declared) {
        return Some(service);
    }
    let address = Url::parse(url).ok()?;
    let path = address.path().to_ascii_lowercase();
    let is_arcgis = ["/mapserver", "/featureserver", "/imageserver"].iter().any(|end| path.contains(end));
    if is_arcgis && path.contains("/rest/services/") {
        return Some("ARCGIS");
    }
    if declared.iter().any(|word| word == "ARCGIS" || word == "ESRI") && path.contains("/rest/") {
        return Some("ARCGIS");
    }
    let service = address.query_pairs().find(|(name, _)| name.eq_ignore_ascii_case("service"));
    if let Some((_, service)) = service {
        return by_word(&[service.to_ascii_uppercase()]);
    }
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    by_word(&[last.to_ascii_uppercase()])
}

/// An address with these parameters in place of the services' own, and all others as they are.
fn with(address: &Url, parameters: &[(&str, &str)]) -> String {
    let is_replaced = |name: &str| {
        let lower = name.to_ascii_lowercase();
        STANDARD.contains(&lower.as_str()) || parameters.iter().any(|(other, _)| *other == lower)
    };
    let kept: Vec<(String, String)> = address
        .query_pairs()
        .filter(|(name, _)| !is_replaced(name))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let mut address = address.clone();
    address.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(parameters);
    address.set_fragment(None);
    address.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(declared: &str, url: &str) -> Vec<&'static str> {
        attempts(declared, url, false).iter().map(|attempt| attempt.name).collect()
    }

    #[test]
    fn a_service_is_known_by_its_format_or_its_address() {
        let wms = ["WMS 1.3", "WMS 1.1.1"];
        assert_eq!(names("WMS", "http://h/x"), wms);
        assert_eq!(names("OGC:WMS", "http://h/x"), wms);
        assert_eq!(names("", "http://h/geoserver/wms"), wms);
        assert_eq!(names("", "http://h/x?Service=wms&request=GetMap"), wms);
        assert_eq!(names("WFS", "http://h/x"), ["WFS 2.0"]);
        assert_eq!(names("wmts", "http://h/x"), ["WMTS 1.0"]);
        assert_eq!(names("", "http://h/ows?SERVICE=WCS"), ["WCS 2.0"]);
        assert_eq!(names("", "http://h/csw"), ["CSW 2.0"]);
        assert_eq!(names("", "http://h/arcgis/rest/services/Trees/MapServer"), ["ArcGIS REST"]);
        assert_eq!(names("ESRI REST", "http://h/rest/Trees"), ["ArcGIS REST"]);
    }

    #[test]
    fn an_ordinary_file_is_not_asked_again() {
        for (declared, url) in
            [("CSV", "http://h/trees.csv"), ("", "http://h/wms.pdf"), ("ESRI Shapefile", "http://h/a.zip")]
        {
            assert_eq!(names(declared, url), [""; 0], "{declared} {url}");
            assert!(!is_likely(declared, url));
        }
        assert_eq!(attempts("CSV", "no address", true), []);
        let first_answer_was_an_exception = attempts("CSV", "http://h/x", true);
        assert_eq!(
            first_answer_was_an_exception.iter().map(|one| one.name).collect::<Vec<_>>(),
            ["WMS 1.3", "WMS 1.1.1", "WFS 2.0"]
        );
    }

    #[test]
    fn the_vendors_parameters_stay() {
        let url = "http://h/cgi?map=/srv/a.map&SERVICE=WMS&Request=GetMap&LAYERS=a&key=1#x";
        let first = attempts("WMS", url, false).remove(0);
        assert_eq!(
            first.url,
            "http://h/cgi?map=%2Fsrv%2Fa.map&key=1&service=WMS&version=1.3.0&request=GetCapabilities"
        );
        let arcgis = attempts("", "http://h/rest/services/T/FeatureServer/0?f=html&token=1", false).remove(0);
        assert_eq!(arcgis.url, "http://h/rest/services/T/FeatureServer/0?token=1&f=json");
    }

    #[test]
    fn capabilities_are_told_from_other_answers() {
        assert!(names_capabilities("<?xml version=\"1.0\"?><WMS_Capabilities version=\"1.3.0\">"));
        assert!(!names_capabilities("<html><title>Welcome</title>"));
    }
}
