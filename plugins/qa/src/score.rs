//! The score of a resource and its reason: five rules in their order, and the licence above them all.

use crate::format::Scores;
use crate::sniff::{Kind, Linked, Sniffed};

/// Formats that are written as texts without a mark, so that their content does not tell them from others.
const UNMARKED_TEXTS: &[&str] =
    &["CSV", "TSV", "PSV", "XYZ", "JS", "Perl", "SPARQL", "N3", "Markdown", "YAML", "SQL", "MrSID", "E00", "TXT"];
/// Formats that are ZIP files inside.
const ZIP_FILES: &[&str] = &[
    "XLSX", "XLSB", "DOCX", "PPTX", "ODS", "ODT", "ODP", "ODG", "ODF", "ODB", "ODC", "KMZ", "SHP", "GTFS", "FileGDB",
    "EPUB", "JAR", "QGIS",
];
/// Ends of file names that say how something is packed.
const PACKINGS: &[(&str, &str)] = &[("zip", "ZIP"), ("gz", "GZ"), ("bz2", "BZ2"), ("xz", "XZ"), ("zst", "ZST")];

/// What was found of a file.
#[derive(Debug)]
pub enum Evidence {
    /// It cannot be obtained, and why.
    Broken(String),
    /// It was looked at.
    Seen(Sniffed),
    /// It was not looked at, and why.
    Unseen(String),
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It cannot be obtained.
    Broken,
    /// Its content.
    Content,
    /// The end of its address.
    Address,
    /// What its publisher says.
    Declared,
    /// Nothing.
    Unknown,
}

impl Rule {
    /// Its name in records and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Content => "content",
            Self::Address => "address",
            Self::Declared => "declared",
            Self::Unknown => "unknown",
        }
    }
}

/// A score and its reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Judgement {
    /// From 0 to 5.
    pub score: u8,
    /// A sentence or two.
    pub reason: String,
    /// The format, if it is known.
    pub format: Option<String>,
    /// What it is packed in.
    pub container: Option<String>,
    /// What decided.
    pub rule: Rule,
}

/// Judges a resource by what was found, its address and its declared format.
pub fn judge(evidence: &Evidence, url: &str, declared: &str, is_open: bool, scores: &Scores) -> Judgement {
    let mut judgement = by_the_rules(evidence, url, declared, scores);
    if !is_open && judgement.rule != Rule::Broken {
        judgement.reason = format!("The licence is not open, so the score is 0. {}", judgement.reason);
        judgement.score = 0;
    }
    judgement.reason = ckan_worker_plugin::one_line(&judgement.reason);
    judgement
}

fn by_the_rules(evidence: &Evidence, url: &str, declared: &str, scores: &Scores) -> Judgement {
    let mut before = match evidence {
        Evidence::Broken(why) => return broken(why),
        Evidence::Seen(Sniffed::Failure(why)) => return broken(why),
        Evidence::Seen(Sniffed::Kind(kind)) if !kind.is_vague => return by_content(kind, scores),
        Evidence::Seen(Sniffed::Kind(kind)) => format!("Its content looks like {}", shown(kind)),
        Evidence::Seen(Sniffed::Unknown) => "Its content was not recognised".to_owned(),
        Evidence::Unseen(why) => format!("Its content was not looked at: {why}"),
    };
    if !before.ends_with('.') {
        before.push('.');
    }
    let fits = |named: &Named| match evidence {
        Evidence::Seen(Sniffed::Kind(kind)) => could_be(kind, named),
        _ => true,
    };
    let named = [
        (Rule::Address, "By the end of its address", by_address(url, scores)),
        (Rule::Declared, "By its declared format", by_declaration(declared, scores)),
    ];
    for (rule, by, named) in named {
        if let Some(named) = named.filter(fits) {
            let score = scores.of(&named.format);
            let reason = format!("{before} {by} it is {}, which scores {score}.", named.shown());
            let (format, container) = (Some(named.format), named.container.map(str::to_owned));
            return Judgement { score, reason, format, container, rule };
        }
    }
    if let Evidence::Seen(Sniffed::Kind(kind)) = evidence {
        return by_content(kind, scores);
    }
    let reason = format!(
        "{before} Neither its address nor its declared format is one that is known; so the score is 1, for it can be \
         obtained."
    );
    Judgement { score: 1, reason, format: None, container: None, rule: Rule::Unknown }
}

fn broken(why: &str) -> Judgement {
    let reason = format!("The file cannot be obtained: {why}");
    Judgement { score: 0, reason, format: None, container: None, rule: Rule::Broken }
}

fn by_content(kind: &Kind, scores: &Scores) -> Judgement {
    let score = score_of(kind, scores);
    let mut reason = format!("By its content it is {}, which scores {score}", shown(kind));
    if let Some(linked) = kind.linked.filter(|_| scores.set_for(&kind.format).is_none()) {
        reason = format!("{reason}: {}", links(linked));
    }
    Judgement {
        score,
        reason: format!("{reason}."),
        format: Some(kind.format.clone()),
        container: kind.container.map(str::to_owned),
        rule: Rule::Content,
    }
}

/// The operator's word counts first; then, of linked data, what is linked; then the table.
fn score_of(kind: &Kind, scores: &Scores) -> u8 {
    match (scores.set_for(&kind.format), kind.linked) {
        (Some(score), _) => score,
        (None, Some(linked)) => match linked {
            Linked { uses_known_vocabulary: false, .. } => 3,
            Linked { links_to_others: false, .. } => 4,
            Linked { .. } => 5,
        },
        (None, None) => scores.of(&kind.format),
    }
}

fn links(linked: Linked) -> &'static str {
    match linked {
        Linked { uses_known_vocabulary: false, .. } => "it uses no vocabulary that others know",
        Linked { links_to_others: false, .. } => "it uses a known vocabulary, and links to nothing elsewhere",
        Linked { .. } => "it uses a known vocabulary and links to things elsewhere",
    }
}

fn shown(kind: &Kind) -> String {
    let mut text = kind.format.clone();
    if let Some(container) = kind.container {
        text = format!("{text} in {container}");
    }
    if kind.remark.is_empty() { text } else { format!("{text} ({})", kind.remark) }
}

/// A format by a name that somebody gave it.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    format: String,
    container: Option<&'static str>,
}

impl Named {
    fn shown(&self) -> String {
        self.container.map_or_else(|| self.format.clone(), |container| format!("{} in {container}", self.format))
    }
}

/// The format at the end of an address: of `trees.csv.zip` it is CSV in ZIP.
fn by_address(url: &str, scores: &Scores) -> Option<Named> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let name = path.rsplit('/').next().unwrap_or_default();
    let (front, end) = name.rsplit_once('.')?;
    named(front, end, scores)
}

/// The format that a publisher says: `CSV`, `.csv`, `text/csv`, `csv.zip`.
fn by_declaration(declared: &str, scores: &Scores) -> Option<Named> {
    let plain = || Some(Named { format: scores.named(declared)?, container: None });
    declared.rsplit_once('.').and_then(|(front, end)| named(front, end, scores)).or_else(plain)
}

fn named(front: &str, end: &str, scores: &Scores) -> Option<Named> {
    let packing =
        PACKINGS.iter().find(|(packing, _)| end.eq_ignore_ascii_case(packing)).map(|(_, container)| *container);
    let inner = front.rsplit('.').next().and_then(|inner| scores.named(inner));
    match (packing, inner) {
        (Some(container), Some(format)) => Some(Named { format, container: Some(container) }),
        _ => Some(Named { format: scores.named(end)?, container: None }),
    }
}

/// Whether something vague may be what it is called: a text may be a table of one column, a ZIP file that was not looked
/// into a spreadsheet.
fn could_be(kind: &Kind, named: &Named) -> bool {
    let format = named.format.as_str();
    match kind.container.unwrap_or(&kind.format) {
        "ZIP" => named.container == Some("ZIP") || ZIP_FILES.contains(&format),
        packing if kind.format != "TXT" => named.container == Some(packing),
        _ => UNMARKED_TEXTS.contains(&format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<(&str, Option<&str>)>) {
        let named = by_address(url, &Scores::default());
        assert_eq!(named.as_ref().map(|named| (named.format.as_str(), named.container)), expected, "{url}");
    }

    #[test]
    fn the_end_of_an_address_names_a_format() {
        check("http://h/a/trees.csv", Some(("CSV", None)));
        check("http://h/trees.CSV?x=1.pdf#y.doc", Some(("CSV", None)));
        check("http://h/trees.2020.csv.zip", Some(("CSV", Some("ZIP"))));
        check("http://h/trees.zip", Some(("ZIP", None)));
        check("http://h/trees.2020.zip", Some(("ZIP", None)));
        for nothing in ["", "http://h", "http://data.zip", "http://h/csv", "http://h/a.b/c", "http://h/v1.2"] {
            check(nothing, None);
        }
    }

    #[test]
    fn a_declared_format_is_known_by_any_of_its_names() {
        let format = |declared: &str| by_declaration(declared, &Scores::default()).map(|named| named.shown());
        assert_eq!(format("Shapefile").as_deref(), Some("SHP"));
        assert_eq!(format(".csv").as_deref(), Some("CSV"));
        assert_eq!(format("csv.zip").as_deref(), Some("CSV in ZIP"));
        assert_eq!(format("text/csv").as_deref(), Some("CSV"));
        assert_eq!(format("something"), None);
    }

    #[test]
    fn what_was_not_looked_at_is_judged_by_its_names_in_their_order() {
        let unseen = Evidence::Unseen("it is too long".to_owned());
        let judged = |url: &str, declared: &str| judge(&unseen, url, declared, true, &Scores::default());
        let both = judged("http://h/a.csv", "PDF");
        assert_eq!((both.score, both.rule), (3, Rule::Address));
        let one = judged("http://h/a", "PDF");
        assert_eq!((one.score, one.rule), (1, Rule::Declared));
        let none = judged("http://h/a", "");
        assert_eq!((none.score, none.rule), (1, Rule::Unknown));
    }

    #[test]
    fn without_an_open_licence_there_is_no_score() {
        let judged = judge(&Evidence::Unseen("x".to_owned()), "http://h/a.csv", "", false, &Scores::default());
        assert_eq!(judged.score, 0);
        assert_eq!(
            judged.reason,
            "The licence is not open, so the score is 0. Its content was not looked at: x. By the end of its address \
             it is CSV, which scores 3."
        );
    }
}
