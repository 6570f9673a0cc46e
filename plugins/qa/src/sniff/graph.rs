//! Linked data: which vocabularies it uses, and whether it links to others.

use std::collections::BTreeSet;

use oxjsonld::{JsonLdParser, JsonLdRemoteDocument};
use oxrdf::{NamedOrBlankNodeRef, TermRef};

/// How many statements are looked at, and how many hosts are kept.
pub const STATEMENTS_MAX: usize = 5000;
const HOSTS_MAX: usize = 256;

/// What relative addresses are relative to.
pub const BASE: &str = "http://file.invalid/";

const TYPE: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type";

/// The language itself: what it says links nothing.
const LANGUAGE: &[&str] = &[
    "www.w3.org/1999/02/22-rdf-syntax-ns#",
    "www.w3.org/2000/01/rdf-schema#",
    "www.w3.org/2001/XMLSchema#",
    "www.w3.org/2002/07/owl#",
];

/// Vocabularies that many use.
const VOCABULARIES: &[&str] = &[
    "creativecommons.org/ns#",
    "data.europa.eu/",
    "dbpedia.org/ontology/",
    "purl.org/dc/",
    "purl.org/goodrelations/",
    "purl.org/linked-data/",
    "purl.org/ontology/",
    "purl.org/vocab/",
    "purl.org/voc/",
    "rdfs.org/",
    "schema.org/",
    "spdx.org/rdf/terms#",
    "usefulinc.com/ns/doap#",
    "vocab.getty.edu/ontology#",
    "vocab.gtfs.org/",
    "vocab.org/",
    "w3id.org/",
    "www.georss.org/georss/",
    "www.opengis.net/ont/",
    "www.w3.org/2003/01/geo/",
    "www.w3.org/2004/02/skos/core#",
    "www.w3.org/2006/time#",
    "www.w3.org/2006/vcard/ns#",
    "www.w3.org/2008/05/skos-xl#",
    "www.w3.org/ns/",
    "www.wikidata.org/",
    "xmlns.com/foaf/0.1/",
];

/// What was seen of links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Linked {
    /// Whether it uses a vocabulary that many use.
    pub uses_known_vocabulary: bool,
    /// Whether it links to things on other hosts than its own things are on.
    pub links_to_others: bool,
}

/// Takes statements down.
#[derive(Default)]
pub struct Graph {
    subjects: BTreeSet<String>,
    objects: BTreeSet<String>,
    uses_known_vocabulary: bool,
    /// How many statements there were.
    pub statements: usize,
}

impl Graph {
    /// Takes down a statement.
    pub fn statement(&mut self, subject: NamedOrBlankNodeRef<'_>, predicate: &str, object: TermRef<'_>) {
        self.statements += 1;
        if let NamedOrBlankNodeRef::NamedNode(subject) = subject {
            self.subject(subject.as_str());
        }
        self.term(predicate);
        if let TermRef::NamedNode(object) = object {
            if predicate == TYPE { self.term(object.as_str()) } else { self.object(object.as_str()) }
        }
    }

    /// Takes down what something is said of.
    pub fn subject(&mut self, iri: &str) {
        keep(&mut self.subjects, iri);
    }

    /// Takes down a property or a class.
    pub fn term(&mut self, iri: &str) {
        self.uses_known_vocabulary |= begins_with(iri, VOCABULARIES);
    }

    /// Takes down what something is linked to.
    pub fn object(&mut self, iri: &str) {
        // To say that something is of a certain kind, in a certain vocabulary, is no link to a thing.
        if !begins_with(iri, LANGUAGE) && !begins_with(iri, VOCABULARIES) {
            keep(&mut self.objects, iri);
        }
    }

    /// What all statements come to.
    pub fn linked(&self) -> Linked {
        Linked {
            uses_known_vocabulary: self.uses_known_vocabulary,
            links_to_others: self.objects.iter().any(|host| !self.subjects.contains(host)),
        }
    }
}

/// Whether an address begins so; with `http` and with `https` it is the same vocabulary.
fn begins_with(iri: &str, starts: &[&str]) -> bool {
    let rest = iri.strip_prefix("http").map(|rest| rest.strip_prefix('s').unwrap_or(rest));
    let rest = rest.and_then(|rest| rest.strip_prefix("://"));
    rest.is_some_and(|rest| starts.iter().any(|start| rest.starts_with(start)))
}

fn keep(hosts: &mut BTreeSet<String>, iri: &str) {
    let host = iri.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    if let Some(host) = host.filter(|host| !host.is_empty() && hosts.len() < HOSTS_MAX) {
        hosts.insert(host.to_ascii_lowercase());
    }
}

/// What a JSON-LD text links. A context that stands elsewhere is not fetched: its address stands for its vocabulary.
pub fn of_json_ld(text: &str) -> Linked {
    let mut graph = Graph::default();
    let Ok(parser) = JsonLdParser::new().lenient().with_base_iri(BASE) else { return graph.linked() };
    let quads = parser.for_slice(text).with_load_document_callback(|url, _| {
        let vocabulary = if url.ends_with(['/', '#']) { url.to_owned() } else { format!("{url}/") };
        let vocabulary = ckan_worker_plugin::json!({ "@context": { "@vocab": vocabulary } });
        Ok(JsonLdRemoteDocument { document: vocabulary.to_string().into_bytes(), document_url: url.to_owned() })
    });
    // Where the head is cut, or somebody made a mistake, the statements end.
    for quad in quads.map_while(Result::ok).take(STATEMENTS_MAX) {
        graph.statement(quad.subject.as_ref(), quad.predicate.as_str(), quad.object.as_ref());
    }
    graph.linked()
}
