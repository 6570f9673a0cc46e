//! The part of the search's language that the host speaks, for the stand-in portal.

use std::collections::BTreeMap;

/// The ids that a filter asks for by name; `None` if it asks for something else.
pub fn ids(text: &str) -> Option<impl Iterator<Item = &str>> {
    let list = text.strip_prefix("id:(")?.strip_suffix(')')?;
    Some(list.split(" OR ").map(|word| word.trim_matches('"')))
}

/// A filter as it was sent, half read.
pub struct Filter<'a> {
    rest: &'a str,
    now: &'a str,
}

impl<'a> Filter<'a> {
    /// Whether a document with these fields passes a filter; `now` is the search's clock.
    pub fn passes(text: &'a str, now: &'a str, fields: &BTreeMap<&str, &str>) -> bool {
        if text.is_empty() {
            return true;
        }
        let mut filter = Filter { rest: text, now };
        let passes = filter.any(fields);
        assert!(filter.rest.is_empty(), "not understood: {}", filter.rest);
        passes
    }

    fn any(&mut self, fields: &BTreeMap<&str, &str>) -> bool {
        let mut passes = self.one(fields);
        loop {
            if self.take(" OR ") {
                passes |= self.one(fields);
            } else if self.take(" AND ") {
                passes &= self.one(fields);
            } else {
                return passes;
            }
        }
    }

    fn one(&mut self, fields: &BTreeMap<&str, &str>) -> bool {
        if self.take("(") {
            let passes = self.any(fields);
            assert!(self.take(")"), "not closed: {}", self.rest);
            return passes;
        }
        let (field, rest) = self.rest.split_once(':').expect("a field");
        let value = fields[field];
        self.rest = rest;
        let behind = self.take("{");
        assert!(behind || self.take("["), "a range: {}", self.rest);
        let (range, rest) = self.rest.split_once(']').expect("a range that ends");
        self.rest = rest;
        let (from, to) = range.split_once(" TO ").expect("two ends");
        let (from, to) = (self.end(from), self.end(to));
        let is_from = from.is_none_or(|from| if behind { value > &*from } else { value >= &*from });
        is_from && to.is_none_or(|to| value <= &*to)
    }

    /// One end of a range; `None` for an open one.
    fn end(&self, text: &str) -> Option<String> {
        match text.strip_prefix("NOW") {
            Some("") => Some(self.now.to_owned()),
            Some(later) => {
                let seconds = later.strip_prefix('+').and_then(|later| later.strip_suffix("SECONDS")).expect("seconds");
                let now: jiff::Timestamp = self.now.parse().unwrap();
                let end = now + jiff::SignedDuration::from_secs(seconds.parse().unwrap());
                Some(ckan_worker::services::ckan::to_millisecond(&end.to_string()))
            }
            None => (text != "*").then(|| text.trim_matches('"').to_owned()),
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}
