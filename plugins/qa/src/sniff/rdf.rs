//! Linked data in texts: N-Triples, Turtle and their kin, and questions to it.

use oxttl::{N3Parser, NQuadsParser, NTriplesParser, TriGParser, TurtleParser};

use super::Kind;
use super::graph::{BASE, Graph, STATEMENTS_MAX};

/// So many statements are no accident, even if a mistake follows.
const ENOUGH: usize = 5;

/// Takes the statements of a text down, and says whether there was a mistake in it.
type Parser = fn(&str) -> (Graph, bool);

/// Which kind of linked data a text is; `None` if it is none.
pub fn look(text: &str, is_whole: bool) -> Option<Kind> {
    let declares = text.lines().take(1000).any(is_declaration);
    if !declares && !begins_with_a_node(text) {
        return None;
    }
    if declares && is_query(text) {
        return Some(Kind::of("SPARQL"));
    }
    let counts =
        |graph: &Graph, failed: bool| graph.statements >= ENOUGH || graph.statements > 0 && (!failed || !is_whole);
    let parsers =
        [("N-Triples", n_triples as Parser), ("N-Quads", n_quads), ("TTL", turtle), ("TriG", trig), ("N3", n3)];
    for (format, parser) in parsers {
        let (graph, failed) = parser(text);
        if counts(&graph, failed) {
            return Some(Kind::linked(format, graph.linked()));
        }
    }
    // A mistake in the first statements; but nothing else begins so.
    let is_turtle = text.lines().take(1000).any(|line| line.starts_with("@prefix ") || line.starts_with("@base "));
    is_turtle.then(|| Kind::linked("TTL", Graph::default().linked()))
}

fn is_declaration(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_lowercase();
    let says = ["@prefix", "@base", "prefix", "base"].contains(&first.as_str());
    says && words.any(|word| word.starts_with('<') && word.contains('>'))
}

/// Whether a text begins with an address in angle brackets or with an unnamed node, and not with a tag.
fn begins_with_a_node(text: &str) -> bool {
    let text = text.trim_start_matches(|letter: char| letter.is_whitespace());
    // Comments may come first.
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = line else { return false };
    let address = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(address, _)| address);
    let is_address = address.is_some_and(|address| {
        !address.starts_with(['?', '!'])
            && !address.contains(char::is_whitespace)
            && address.contains([':', '#'])
            && (address.contains("://") || address.starts_with('#') || address.starts_with("urn:"))
    });
    is_address || line.starts_with("_:")
}

fn is_query(text: &str) -> bool {
    let verbs = ["select", "construct", "ask", "describe"];
    text.lines().any(|line| {
        let first = line.split([' ', '\t', '{', '(']).find(|word| !word.is_empty()).unwrap_or_default();
        verbs.contains(&first.to_ascii_lowercase().as_str())
    }) && text.contains('{')
}

fn n_triples(text: &str) -> (Graph, bool) {
    let mut graph = Graph::default();
    for triple in NTriplesParser::new().for_slice(text).take(STATEMENTS_MAX) {
        let Ok(triple) = triple else { return (graph, true) };
        graph.statement(triple.subject.as_ref(), triple.predicate.as_str(), triple.object.as_ref());
    }
    (graph, false)
}

fn n_quads(text: &str) -> (Graph, bool) {
    let mut graph = Graph::default();
    for quad in NQuadsParser::new().for_slice(text).take(STATEMENTS_MAX) {
        let Ok(quad) = quad else { return (graph, true) };
        graph.statement(quad.subject.as_ref(), quad.predicate.as_str(), quad.object.as_ref());
    }
    (graph, false)
}

fn turtle(text: &str) -> (Graph, bool) {
    let mut graph = Graph::default();
    let Ok(parser) = TurtleParser::new().with_base_iri(BASE) else { return (graph, true) };
    for triple in parser.for_slice(text).take(STATEMENTS_MAX) {
        let Ok(triple) = triple else { return (graph, true) };
        graph.statement(triple.subject.as_ref(), triple.predicate.as_str(), triple.object.as_ref());
    }
    (graph, false)
}

fn trig(text: &str) -> (Graph, bool) {
    let mut graph = Graph::default();
    let Ok(parser) = TriGParser::new().with_base_iri(BASE) else { return (graph, true) };
    for quad in parser.for_slice(text).take(STATEMENTS_MAX) {
        let Ok(quad) = quad else { return (graph, true) };
        graph.statement(quad.subject.as_ref(), quad.predicate.as_str(), quad.object.as_ref());
    }
    (graph, false)
}

/// N3 says more than statements; those between named things count.
fn n3(text: &str) -> (Graph, bool) {
    use oxttl::n3::N3Term;
    let mut graph = Graph::default();
    let Ok(parser) = N3Parser::new().with_base_iri(BASE) else { return (graph, true) };
    for quad in parser.for_slice(text).take(STATEMENTS_MAX) {
        let Ok(quad) = quad else { return (graph, true) };
        graph.statements += 1;
        if let N3Term::NamedNode(subject) = &quad.subject {
            graph.subject(subject.as_str());
        }
        if let N3Term::NamedNode(predicate) = &quad.predicate {
            graph.term(predicate.as_str());
        }
        if let N3Term::NamedNode(object) = &quad.object {
            graph.object(object.as_str());
        }
    }
    (graph, false)
}
