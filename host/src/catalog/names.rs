//! Which file is meant when several provide one name.

use std::collections::BTreeMap;

use super::Rank;
use super::refusal::{Refusal, State};
use super::scan::Entry;

/// Refuses what cannot be meant by its name, and removes what does not count as a file of its own.
///
/// - One file under several names or links counts once, at its first place.
/// - Of several kinds of directory the earlier one wins; what loses in `deps/` is not worth a line.
/// - In `deps/` the newest file wins: cargo leaves stale ones there.
/// - Two files within one kind of directory are an error that names both, for that name only.
///
/// What cannot be used for a reason of its own takes no part: it is no choice, and its reason is worth more.
pub(super) fn settle(entries: &mut Vec<Entry>) {
    let mut seen = Vec::new();
    entries.retain(|entry| {
        let new = entry.identity.is_none_or(|identity| !seen.contains(&identity));
        seen.extend(entry.identity);
        new
    });
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.manifest.is_some() && entry.state() == State::Usable {
            by_name.entry(entry.name.clone()).or_default().push(index);
        }
    }
    let mut dropped = Vec::new();
    for indexes in by_name.values().filter(|indexes| indexes.len() > 1) {
        dropped.extend(settle_one(entries, indexes));
    }
    let mut index = 0;
    entries.retain(|_| {
        index += 1;
        !dropped.contains(&(index - 1))
    });
}

/// Settles one name; answers which entries to drop.
fn settle_one(entries: &mut [Entry], indexes: &[usize]) -> Vec<usize> {
    let best = indexes.iter().map(|&index| entries[index].rank).min().unwrap_or(Rank::Given);
    let (mut front, behind): (Vec<usize>, Vec<usize>) =
        indexes.iter().copied().partition(|&index| entries[index].rank == best);
    let mut dropped = Vec::new();
    if best == Rank::Deps {
        front.sort_by_key(|&index| std::cmp::Reverse(entries[index].changed));
        dropped.extend(front.drain(1..));
    }
    if let [first, second, ..] = front[..] {
        let refusal = duplicate(&entries[first], &entries[second]);
        for &index in &front {
            entries[index].refusal = Some(refusal.clone());
        }
    }
    let winner = entries[front[0]].path.clone();
    for index in behind {
        let entry = &mut entries[index];
        if entry.rank == Rank::Deps {
            dropped.push(index);
        } else {
            let (name, path) = (entry.name.clone(), entry.path.clone());
            entry.refusal = Some(Refusal::Shadowed { name, path, winner: winner.clone() });
        }
    }
    dropped
}

fn duplicate(first: &Entry, second: &Entry) -> Refusal {
    let version = |entry: &Entry| entry.manifest().map_or("", |manifest| &manifest.version).into();
    Refusal::Duplicate {
        name: first.name.clone(),
        first: first.path.clone(),
        first_version: version(first),
        second: second.path.clone(),
        second_version: version(second),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::catalog::{Manifest, Options};

    fn entry(path: &str, rank: Rank, number: u64) -> Entry {
        let mut entry = Entry::look(Path::new("/nonexistent"), rank, Options::default());
        entry.path = path.into();
        entry.name = "geo".to_owned();
        entry.refusal = None;
        entry.manifest = Some(Manifest { name: "geo".to_owned(), version: "1.0".to_owned(), ..Manifest::default() });
        entry.identity = Some((1, number));
        entry.changed = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(number));
        entry
    }

    #[track_caller]
    fn check(found: &[(&str, Rank, u64)], expected: &str) {
        let mut entries = found.iter().map(|&(path, rank, number)| entry(path, rank, number)).collect();
        settle(&mut entries);
        let lines: Vec<String> =
            entries.iter().map(|entry| format!("{} {}", entry.path.display(), entry.state().as_str())).collect();
        assert_eq!(lines.join(", "), expected);
    }

    #[test]
    fn a_file_that_cannot_be_used_keeps_its_own_reason_and_no_other_file_from_being_used() {
        let mut entries = vec![entry("/a/geo.so", Rank::Given, 1), entry("/b/geo.so", Rank::Given, 2)];
        let (theirs, ours) = ("aarch64".to_owned(), "x86_64".to_owned());
        entries[0].refusal = Some(Refusal::OtherTarget { path: entries[0].path.clone(), theirs, ours });
        settle(&mut entries);
        assert_eq!((entries[0].state(), entries[1].state()), (State::Incompatible, State::Usable));
    }

    #[test]
    fn two_files_in_directories_that_the_operator_named_are_both_refused() {
        check(&[("a/g.so", Rank::Given, 1), ("b/g.so", Rank::Given, 2)], "a/g.so duplicate, b/g.so duplicate");
    }

    #[test]
    fn a_file_that_the_operator_named_wins_over_one_beside_the_executable() {
        check(
            &[("a/g.so", Rank::Given, 1), ("exe/g.so", Rank::Executable, 2), ("sys/g.so", Rank::System, 3)],
            "a/g.so usable, exe/g.so duplicate, sys/g.so duplicate",
        );
    }

    #[test]
    fn what_cargo_left_in_deps_is_no_second_file() {
        check(&[("exe/g.so", Rank::Executable, 1), ("deps/g.so", Rank::Deps, 1)], "exe/g.so usable");
        check(&[("exe/g.so", Rank::Executable, 1), ("deps/g-old.so", Rank::Deps, 2)], "exe/g.so usable");
    }

    #[test]
    fn of_several_in_deps_the_newest_is_used() {
        check(&[("deps/g-1.so", Rank::Deps, 5), ("deps/g-2.so", Rank::Deps, 7)], "deps/g-2.so usable");
    }
}
