//! Web pages.

use html5gum::{Token, Tokenizer};

use super::Kind;

/// How many tags are looked at.
const TAGS_MAX: usize = 5000;
/// Pages say what they are near their beginning.
const START_CHARS: usize = 1024;
/// Tags that pieces of pages begin with.
const PIECES: &[&str] =
    &["head", "body", "title", "meta", "script", "style", "div", "span", "p", "h1", "h2", "table", "br"];
/// Properties with these beginnings are for cards in social networks; nearly every page has them.
const CARDS: &[&str] = &["og:", "fb:", "article:", "twitter:", "profile:", "product:"];

/// Whether a text that begins with `<` is a web page, and which kind.
pub fn look(text: &str) -> Option<Kind> {
    let start = text.chars().take(START_CHARS).collect::<String>().to_ascii_lowercase();
    // A stylesheet writes pages and is none; its own tag comes first.
    let is_page = start.contains("<!doctype html") || start.contains("<html") && !start.contains("<xsl:");
    let first = start.trim_start_matches('<').split([' ', '>', '/', '\n', '\r', '\t']).next().unwrap_or_default();
    let is_piece = PIECES.contains(&first) && !start.contains("xmlns");
    (is_page || is_piece).then(|| Kind::of(if has_rdfa(text) { "RDFa" } else { "HTML" }))
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
