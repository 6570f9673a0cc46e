//! Who published what, what became of it for each worker, and whether that is what should have: nothing is lost as long
//! as everything that was confirmed has ended in exactly one way.

mod publisher;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

pub use publisher::{Named, publish};
pub use verdict::{Counts, Verdict};

use crate::witness::Seen;

/// How a worker's work on a notification is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Done, which the witness has seen.
    Done,
    /// A dead letter, for this reason.
    Dead(&'static str),
    /// Done, or a dead letter with this reason where the host was killed too often while it ran.
    DoneOr(&'static str),
    /// A dead letter, for one of two reasons.
    DeadOr(&'static str, &'static str),
}

impl End {
    fn allows_done(self) -> bool {
        matches!(self, Self::Done | Self::DoneOr(_))
    }

    fn allows(self, reason: &str) -> bool {
        match self {
            Self::Done => false,
            Self::Dead(expected) | Self::DoneOr(expected) => expected == reason,
            Self::DeadOr(one, other) => one == reason || other == reason,
        }
    }
}

/// A dead letter, wherever it lay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The worker that it is for; empty if it is for none.
    pub worker: String,
    /// Why.
    pub reason: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// What was published: each try and each confirmation is written to a file, and is on the disk, before anything follows
/// from it.
pub struct Ledger {
    file: File,
    bodies: BTreeMap<String, Vec<u8>>,
    acknowledged: BTreeSet<String>,
    ends: BTreeMap<String, End>,
    special: BTreeMap<(String, String), End>,
    /// Bodies that are no notifications, and how often each was confirmed.
    malformed: BTreeMap<Vec<u8>, usize>,
}

impl Ledger {
    /// A ledger for notifications whose work is to end so, for each worker.
    ///
    /// # Panics
    /// The file cannot be made.
    pub fn new(file: &Path, ends: &[(&str, End)]) -> Self {
        let file = File::options().create(true).append(true).open(file);
        let ends = ends.iter().map(|(worker, end)| ((*worker).to_owned(), *end)).collect();
        let (bodies, acknowledged, special, malformed) = Default::default();
        Self { file: file.expect("the directory is ours"), bodies, acknowledged, ends, special, malformed }
    }

    /// Expects something else of one notification and one worker.
    pub fn expect(&mut self, id: &str, worker: &str, end: End) {
        self.special.insert((id.to_owned(), worker.to_owned()), end);
    }

    /// Expects a body that is no notification, and that was confirmed, as a dead letter for no worker.
    pub fn expect_malformed(&mut self, body: &[u8]) {
        *self.malformed.entry(body.to_vec()).or_default() += 1;
    }

    /// In how many ways it all is to end: each message for each worker, and what is no notification once.
    pub fn ends_expected(&self) -> usize {
        self.acknowledged.len() * self.ends.len() + self.malformed.values().sum::<usize>()
    }

    /// Writes down that these are going to be published.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn attempt<'a>(&mut self, messages: impl IntoIterator<Item = &'a (String, Vec<u8>)>) {
        let mut lines = String::new();
        for (id, body) in messages {
            lines.extend(["attempt ", id, "\n"]);
            self.bodies.insert(id.clone(), body.clone());
        }
        self.write(&lines);
    }

    /// Writes down that these were confirmed.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn acknowledged(&mut self, ids: impl IntoIterator<Item = String>) {
        let mut lines = String::new();
        for id in ids {
            lines.extend(["acknowledged ", &id, "\n"]);
            self.acknowledged.insert(id);
        }
        self.write(&lines);
    }

    fn write(&mut self, lines: &str) {
        self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data()).expect("the ledger can be written");
    }

    /// How many were confirmed.
    pub fn confirmed(&self) -> usize {
        self.acknowledged.len()
    }

    /// The id of a body that was published here.
    pub fn id_of(&self, body: &[u8]) -> Option<&str> {
        let json: serde_json::Value = serde_json::from_slice(body).ok()?;
        let (id, published) = self.bodies.get_key_value(json["payload"]["id"].as_str()?)?;
        (published == body).then_some(id)
    }

    /// How it is to end.
    fn end(&self, id: &str, worker: &str) -> Option<End> {
        let special = self.special.get(&(id.to_owned(), worker.to_owned()));
        special.or_else(|| self.ends.get(worker)).copied()
    }

    /// What came of it all.
    pub fn judge(&self, seen: &[Seen], dead: &[Dead]) -> Verdict {
        verdict::judge(self, seen, dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(id: &str) -> Vec<u8> {
        format!(r#"{{"payload":{{"id":"{id}"}}}}"#).into_bytes()
    }

    fn seen(id: &str, worker: &str, ending: &str) -> Seen {
        let (worker, ending) = (worker.to_owned(), ending.to_owned());
        Seen { id: id.to_owned(), worker, attempt: 1, ending, t_ms: 0, was_well: true }
    }

    fn dead(id: &str, worker: &str, reason: &str) -> Dead {
        Dead { worker: worker.to_owned(), reason: reason.to_owned(), body: body(id) }
    }

    /// Two confirmed and one unconfirmed notification, for a worker that works and one that does not.
    #[track_caller]
    fn check(seen: &[Seen], dead: &[Dead], expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::new(&dir.path().join("l"), &[("ok", End::Done), ("bad", End::Dead("permanent"))]);
        ledger.attempt(&["a", "b", "c"].map(|id| (id.to_owned(), body(id))));
        ledger.acknowledged(["a", "b"].map(str::to_owned));
        let counts = ledger.judge(seen, dead).counts;
        let Counts { ok, lost, unexpected, duplicated, letters_twice, recovered, .. } = counts;
        let found = format!(
            "{ok} ok, {lost} lost, {unexpected} unexpected, {duplicated}+{letters_twice} duplicated, {recovered} recovered"
        );
        assert_eq!(found, expected);
        let text = std::fs::read_to_string(dir.path().join("l")).unwrap();
        assert_eq!(text, "attempt a\nattempt b\nattempt c\nacknowledged a\nacknowledged b\n");
    }

    #[test]
    fn every_way_to_go_wrong_is_counted() {
        let good_seen = || vec![seen("a", "ok", "done"), seen("b", "ok", "failed"), seen("b", "ok", "done")];
        let good_dead = || vec![dead("a", "bad", "permanent"), dead("b", "bad", "permanent")];
        let with = |more: Seen| [good_seen(), vec![more]].concat();
        let and = |more: Dead| [good_dead(), vec![more]].concat();
        let as_it_should = "4 ok, 0 lost, 0 unexpected, 0+0 duplicated, 0 recovered";
        check(&good_seen(), &good_dead(), as_it_should);
        check(&[], &[], "0 ok, 4 lost, 0 unexpected, 0+0 duplicated, 0 recovered");
        check(&good_seen()[..1], &good_dead()[1..], "2 ok, 2 lost, 0 unexpected, 0+0 duplicated, 0 recovered");
        check(&good_seen()[..2], &good_dead(), "3 ok, 1 lost, 0 unexpected, 0+0 duplicated, 0 recovered");
        check(&with(seen("a", "bad", "failed")), &good_dead(), as_it_should);

        let unexpected = "4 ok, 0 lost, 1 unexpected, 0+0 duplicated, 0 recovered";
        check(&with(seen("nobody", "ok", "done")), &good_dead(), unexpected);
        check(&with(seen("a", "stranger", "done")), &good_dead(), unexpected);
        check(&good_seen(), &and(dead("nobody", "bad", "permanent")), unexpected);
        check(&good_seen(), &and(dead("a", "bad", "timed_out")), unexpected);
        check(&good_seen(), &and(dead("a", "ok", "permanent")), unexpected);
        check(&with(seen("a", "bad", "done")), &good_dead(), unexpected);
        let altered = Dead { body: b"{\"payload\": {\"id\": \"a\"}}".to_vec(), ..dead("a", "bad", "permanent") };
        check(&good_seen(), &and(altered), unexpected);

        check(&good_seen(), &and(Dead { body: b"[]".to_vec(), ..dead("a", "", "malformed") }), unexpected);

        let duplicated = |what: &str| format!("4 ok, 0 lost, 0 unexpected, {what} duplicated, 0 recovered");
        check(&with(seen("a", "ok", "done")), &good_dead(), &duplicated("1+0"));
        check(&good_seen(), &and(dead("a", "bad", "permanent")), &duplicated("0+1"));
        check(&with(seen("c", "ok", "done")), &good_dead(), "4 ok, 0 lost, 0 unexpected, 0+0 duplicated, 1 recovered");
    }

    #[test]
    fn what_is_no_notification_is_looked_for_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::new(&dir.path().join("l"), &[("ok", End::Done)]);
        for body in [&b"[]"[..], b"[]", b"null"] {
            ledger.expect_malformed(body);
        }
        assert_eq!(ledger.ends_expected(), 3);
        let letter = |body: &[u8]| Dead { body: body.to_vec(), ..dead("", "", "malformed") };
        let counts = ledger.judge(&[], &[letter(b"[]"), letter(b"[]"), letter(b"null")]).counts;
        assert_eq!(
            (counts.acknowledged, counts.ok, counts.lost, counts.unexpected, counts.duplicated),
            (3, 3, 0, 0, 0)
        );
        let counts = ledger.judge(&[], &[letter(b"[]"), letter(b"null"), letter(b"null"), letter(b"nul")]).counts;
        assert_eq!((counts.ok, counts.lost, counts.unexpected, counts.letters_twice), (2, 1, 1, 1));
    }
}
