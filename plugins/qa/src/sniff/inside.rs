//! What a container holds, by the names of the files in it.

use std::collections::BTreeMap;

use super::{Kind, Sniffed};
use crate::format::Scores;

/// The files without which there is no timetable; the calendar may be one of two.
const GTFS: [&str; 5] = ["agency.txt", "stops.txt", "routes.txt", "trips.txt", "stop_times.txt"];
const GTFS_CALENDARS: [&str; 2] = ["calendar.txt", "calendar_dates.txt"];

/// What is in a container.
#[derive(Debug, PartialEq, Eq)]
pub enum Inside {
    /// Files that belong together.
    Set(&'static str),
    /// Files of known formats: the one that counts, and the place of a file of it.
    Files { format: String, example: usize },
    /// No name that says anything; perhaps one file whose content will.
    Unnamed { first: Option<usize> },
}

/// Decides by the names: files that belong together, else the most open format, else the most frequent one of those.
pub fn look(names: &[&str], scores: &Scores) -> Inside {
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    if let Some(set) = set(&lower) {
        return Inside::Set(set);
    }
    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (place, name) in lower.iter().enumerate().filter(|(_, name)| is_content(name)) {
        if let Some(format) = extension(name).and_then(|end| scores.named(end)) {
            found.entry(format).or_insert((0, place)).0 += 1;
        }
    }
    let best = found.into_iter().max_by_key(|(format, (count, _))| (scores.of(format), *count));
    match best {
        Some((format, (_, example))) => Inside::Files { format, example },
        None => Inside::Unnamed { first: lower.iter().position(|name| is_content(name)) },
    }
}

/// The kind of what is in a container, after one file was looked at. Its name decides unless its content speaks against
/// it: what looks like a mere text may be anything that is written as one.
pub fn confirmed(format: &str, seen: Option<Sniffed>) -> Kind {
    match seen {
        // What is packed twice keeps the name of the inner container.
        Some(Sniffed::Kind(kind)) if !kind.is_vague => Kind { container: None, ..kind },
        Some(Sniffed::Kind(kind)) if kind.format == format && format != "TXT" => kind,
        _ => Kind::of(format),
    }
}

fn set(names: &[String]) -> Option<&'static str> {
    let ends = |end: &str| names.iter().any(|name| name.ends_with(end));
    if [".shp", ".dbf", ".shx"].iter().all(|end| ends(end)) {
        return Some("SHP");
    }
    if names.iter().any(|name| name.contains(".gdb/")) && ends(".gdbtable") {
        return Some("FileGDB");
    }
    let has = |wanted: &str| names.iter().any(|name| name.rsplit('/').next() == Some(wanted));
    let is_timetable = GTFS.iter().all(|name| has(name)) && GTFS_CALENDARS.iter().any(|name| has(name));
    is_timetable.then_some("GTFS")
}

/// Whether a name is that of a file with content, and not of a directory or of what a Mac adds.
fn is_content(name: &str) -> bool {
    !name.ends_with('/') && !name.starts_with("__macosx/") && !name.rsplit('/').next().unwrap_or(name).starts_with('.')
}

fn extension(name: &str) -> Option<&str> {
    name.rsplit('/').next()?.rsplit_once('.').map(|(_, end)| end)
}
