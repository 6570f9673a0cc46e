//! Compares what became of everything with what should have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Dead, Ledger};
use crate::witness::Seen;

/// How many things that went wrong are told one by one.
const TOLD_MAX: usize = 12;

/// What came of a case. A plain value: whether it is good is for the test to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many of each.
    pub counts: Counts,
    /// What went wrong, one by one, the first few.
    pub told: Vec<String>,
    /// What was expected beside the ledger and did not come, as in "back after 2 s".
    pub failures: Vec<String>,
    /// What was measured, for people.
    pub detail: Vec<String>,
}

/// How many of each, as in Jepsen's `total-queue`. What is published is counted by messages, the rest by message and
/// worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were published or tried to be.
    pub attempted: usize,
    /// Messages that were confirmed.
    pub acknowledged: usize,
    /// Confirmed, and ended as they should have.
    pub ok: usize,
    /// Confirmed, and ended in no way.
    pub lost: usize,
    /// What should not be there.
    pub unexpected: usize,
    /// Successes and dead letters beyond the first.
    pub duplicated: usize,
    /// Not confirmed, and ended nevertheless.
    pub recovered: usize,
    /// Failed attempts that were made again under the same number.
    pub repeated: usize,
}

impl Verdict {
    /// Adds something that was expected and did not come.
    pub fn fail(&mut self, what: impl Into<String>) {
        self.failures.push(what.into());
    }

    /// Adds something that was measured.
    pub fn note(&mut self, what: impl Into<String>) {
        self.detail.push(what.into());
    }

    /// Expects something beside the ledger.
    pub fn expect(&mut self, is_so: bool, what: impl Into<String>) {
        if !is_so {
            self.fail(what);
        }
    }

    /// Whether nothing is lost, nothing is there that should not be, and all else came as expected.
    pub fn is_good(&self) -> bool {
        self.counts.lost == 0 && self.counts.unexpected == 0 && self.failures.is_empty()
    }

    /// The verdict on several rounds together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let (mine, its) = (&mut self.counts, other.counts);
        mine.attempted += its.attempted;
        mine.acknowledged += its.acknowledged;
        mine.ok += its.ok;
        mine.lost += its.lost;
        mine.unexpected += its.unexpected;
        mine.duplicated += its.duplicated;
        mine.recovered += its.recovered;
        mine.repeated += its.repeated;
        self.told.extend(other.told);
        self.failures.extend(other.failures);
        self.detail.extend(other.detail);
        self
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:?}", self.counts)?;
        for line in self.failures.iter().chain(&self.told).chain(&self.detail) {
            writeln!(formatter, "  {line}")?;
        }
        Ok(())
    }
}

/// What became of one notification for one worker.
#[derive(Default)]
struct Fate<'a> {
    successes: usize,
    /// Attempts that failed, by their number.
    failed: BTreeMap<u32, usize>,
    reasons: Vec<&'a str>,
}

pub fn judge(ledger: &Ledger, seen: &[Seen], dead: &[Dead]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut told = Vec::new();
    let mut fates: BTreeMap<(&str, &str), Fate<'_>> = BTreeMap::new();
    for seen in seen {
        let fate = fates.entry((&seen.id, &seen.worker)).or_default();
        if seen.is_success() {
            fate.successes += 1;
        } else {
            *fate.failed.entry(seen.attempt).or_default() += 1;
        }
    }
    for letter in dead {
        match ledger.id_of(&letter.body) {
            Some(id) => fates.entry((id, &letter.worker)).or_default().reasons.push(&letter.reason),
            None => {
                verdict.counts.unexpected += 1;
                told.push(format!("a dead letter that nobody has published so: {letter:?}"));
            }
        }
    }
    let counts = &mut verdict.counts;
    (counts.attempted, counts.acknowledged) = (ledger.bodies.len(), ledger.acknowledged.len());
    let mut recovered = BTreeSet::new();
    for ((id, worker), fate) in &fates {
        let confirmed = ledger.acknowledged.contains(*id);
        if !confirmed && ledger.bodies.contains_key(*id) {
            recovered.insert(*id);
        }
        let Some(end) = ledger.end(id, worker).filter(|_| ledger.bodies.contains_key(*id)) else {
            counts.unexpected += 1;
            told.push(format!("{worker} had {id}, which nobody has published for it"));
            continue;
        };
        let good_reasons = fate.reasons.iter().filter(|reason| end.allows(reason)).count();
        let good_successes = if end.allows_done() { fate.successes } else { 0 };
        let bad = fate.reasons.len() - good_reasons + fate.successes - good_successes;
        counts.unexpected += bad;
        if bad > 0 {
            let (reasons, successes) = (&fate.reasons, fate.successes);
            told.push(format!("{id} for {worker}: expected {end:?}, found {successes} successes and {reasons:?}"));
        }
        let ends = good_reasons + good_successes;
        counts.duplicated += ends.saturating_sub(1);
        if ends > 1 {
            told.push(format!("{id} for {worker}: {good_successes} successes, dead {:?}", fate.reasons));
        }
        counts.repeated += fate.failed.values().map(|times| times.saturating_sub(1)).sum::<usize>();
        counts.ok += usize::from(confirmed && ends > 0);
    }
    counts.recovered = recovered.len();
    for id in &ledger.acknowledged {
        for worker in ledger.ends.keys() {
            let fate = fates.get(&(id.as_str(), worker.as_str()));
            if fate.is_none_or(|fate| fate.successes == 0 && fate.reasons.is_empty()) {
                counts.lost += 1;
                told.push(format!("{id} for {worker} is lost; failed attempts: {:?}", fate.map(|fate| &fate.failed)));
            }
        }
    }
    told.truncate(TOLD_MAX);
    verdict.told = told;
    verdict
}
