//! JSON, and what is written in it.

use std::fmt;

use ckan_worker_plugin::serde_json::{self, Deserializer};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::{Kind, Sniffed, graph};

/// How many names of an object are kept.
const NAMES_MAX: usize = 64;

/// What kind of JSON a text is; `None` if it is none.
pub fn look(text: &str, is_whole: bool) -> Option<Sniffed> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let mut shape = Shape::default();
    let mut reader = Deserializer::from_str(text);
    let read = Top(&mut shape).deserialize(&mut reader);
    match read {
        Ok(()) if reader.end().is_ok() => {}
        Ok(()) if has_more_values(text, is_whole) => return Some(Kind::of("JSON Lines").into()),
        Err(error) if error.is_eof() && !is_whole => {}
        _ => return None,
    }
    if shape.is_error() {
        return Some(Sniffed::Failure("the server answered with an error message"));
    }
    if shape.has(&["@context", "@graph"]) || shape.inner_names.iter().any(|name| name == "@id" || name == "@type") {
        return Some(Kind::linked("JSON-LD", graph::of_json_ld(text)).into());
    }
    Some(Kind::of(shape.format()).into())
}

/// Whether a second value follows the first, as in JSON Lines.
fn has_more_values(text: &str, is_whole: bool) -> bool {
    let mut values = Deserializer::from_str(text).into_iter::<IgnoredAny>().skip(1);
    match values.next() {
        Some(Ok(_)) => text.contains('\n'),
        Some(Err(error)) => error.is_eof() && !is_whole && text.contains('\n'),
        None => false,
    }
}

/// What was seen of a JSON text: the names of its outermost object, and of the first one in a list of it.
#[derive(Debug, Default)]
struct Shape {
    names: Vec<String>,
    kind: String,
    geometry: String,
    inner_names: Vec<String>,
    inner_kind: String,
}

impl Shape {
    fn has(&self, names: &[&str]) -> bool {
        self.names.iter().any(|name| names.contains(&name.as_str()))
    }

    fn has_all(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.has(&[name]))
    }

    /// What services answer, with status 200, when something is wrong.
    fn is_error(&self) -> bool {
        self.names.len() == 1 && self.has(&["error"])
    }

    fn format(&self) -> &'static str {
        let geometries =
            ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"];
        match self.kind.as_str() {
            "FeatureCollection" | "Feature" => "GeoJSON",
            "Topology" if self.has(&["arcs", "objects"]) => "TopoJSON",
            kind if geometries.contains(&kind) && self.has(&["coordinates", "geometries"]) => "GeoJSON",
            _ if self.has(&["features"]) && self.inner_kind == "Feature" => "GeoJSON",
            _ if self.is_esri() => "Esri REST",
            _ => "JSON",
        }
    }

    fn is_esri(&self) -> bool {
        self.geometry.starts_with("esriGeometry")
            || self.has(&["currentVersion"])
                && self.has(&["services", "layers", "folders", "capabilities", "serviceDescription", "mapName"])
            || self.has_all(&["features", "spatialReference", "fields"])
    }
}

/// The outermost value.
struct Top<'a>(&'a mut Shape);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "type" => self.0.kind = map.next_value::<Word>()?.0,
                "geometryType" => self.0.geometry = map.next_value::<Word>()?.0,
                "features" => map.next_value_seed(First { shape: self.0, is_list: true })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if self.0.names.len() < NAMES_MAX {
                self.0.names.push(name);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        First { shape: self.0, is_list: true }.visit_seq(list)
    }
}

/// A list of which the first thing is looked at, and then that thing.
struct First<'a> {
    shape: &'a mut Shape,
    is_list: bool,
}

impl<'de> DeserializeSeed<'de> for First<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for First<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.is_list && list.next_element_seed(First { shape: self.shape, is_list: false })?.is_none() {
            return Ok(());
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == "type" {
                self.shape.inner_kind = map.next_value::<Word>()?.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if self.shape.inner_names.len() < NAMES_MAX {
                self.shape.inner_names.push(name);
            }
        }
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A text; anything else counts as an empty one.
#[derive(Default)]
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&serde_json::value::RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(raw.get()).unwrap_or_default()))
    }
}
