//! Web pages.

use html5gum::{Token, Tokenizer};

use super::Kind;

/// How many tags are looked at.
const TAGS_MAX: usize = 5000;
/// Tags that pieces of pages begin with, and that nobody else uses for the outermost one.
const PIECES: &[&str] = &["body", "br", "div", "h1", "h2", "head", "meta", "p", "script", "span"];
/// Properties with these beginnings are for cards in social networks; nearly every page has them.
const CARDS: &[&str] = &["og:", "fb:", "article:", "twitter:", "profile:", "product:"];

/// Whether a text that begins with `<` is a web page, and which kind.
pub fn look(text: &str) -> Option<Kind> {
    is_page(text).then(|| Kind::of(if has_rdfa(text) { "RDFa" } else { "HTML" }))
}

/// A page begins as one: what stands further on may be quoted.
fn is_page(text: &str) -> bool {
    let is_xml = text.starts_with("<?xml");
    for token in Tokenizer::new(text).take(TAGS_MAX).flatten() {
        match token {
            Token::Doctype(doctype) if doctype.name.eq_ignore_ascii_case(b"html") => return true,
            Token::StartTag(tag) => {
                let is_piece = PIECES.iter().any(|piece| tag.name.as_slice() == piece.as_bytes());
                let is_foreign = tag.attributes.keys().any(|name| name.as_slice() == b"xmlns");
                return tag.name.as_slice() == b"html" || is_piece && !is_xml && !is_foreign;
            }
            _ => {}
        }
    }
    false
}

/// Whether the page says things in RDFa.
fn has_rdfa(text: &str) -> bool {
    let mut tags = Tokenizer::new(text).filter_map(|token| match token {
        Ok(Token::StartTag(tag)) => Some(tag),
        _ => None,
    });
    tags.by_ref().take(TAGS_MAX).any(|tag| {
        let says = |name: &str| tag.attributes.keys().any(|key| key.as_slice() == name.as_bytes());
        let property = tag.attributes.iter().find(|(key, _)| key.as_slice() == b"property").map(|(_, value)| value);
        let is_card = |value: &[u8]| CARDS.iter().any(|start| value.starts_with(start.as_bytes()));
        says("typeof") || says("vocab") || property.is_some_and(|value| !is_card(value.as_slice()))
    })
}
