//! Compares what became of everything with what should have.

use std::collections::BTreeMap;
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
    /// Successes beyond the first, as the witness has seen them.
    pub duplicated: usize,
    /// Dead letters beyond the first, or beside a success: sent once more because nobody had confirmed them.
    pub letters_twice: usize,
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
        mine.letters_twice += its.letters_twice;
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

impl Fate<'_> {
    fn ends(&self) -> usize {
        self.successes + self.reasons.len()
    }
}

type Fates<'a> = BTreeMap<(&'a str, &'a str), Fate<'a>>;

pub fn judge(ledger: &Ledger, seen: &[Seen], dead: &[Dead]) -> Verdict {
    let mut verdict = Verdict::default();
    let (fates, malformed) = gather(ledger, seen, dead, &mut verdict);
    weigh_malformed(ledger, &malformed, &mut verdict);
    verdict.counts.attempted += ledger.bodies.len();
    verdict.counts.acknowledged += ledger.acknowledged.len();
    for ((id, worker), fate) in &fates {
        weigh(ledger, id, worker, fate, &mut verdict);
    }
    let has_ended = |id: &str| fates.iter().any(|((of, _), fate)| *of == id && fate.ends() > 0);
    let unconfirmed = ledger.bodies.keys().filter(|id| !ledger.acknowledged.contains(*id));
    verdict.counts.recovered = unconfirmed.filter(|id| has_ended(id)).count();
    for id in &ledger.acknowledged {
        for worker in ledger.ends.keys() {
            let fate = fates.get(&(id.as_str(), worker.as_str()));
            if fate.is_none_or(|fate| fate.ends() == 0) {
                verdict.counts.lost += 1;
                let failed = fate.map(|fate| &fate.failed);
                verdict.told.push(format!("{id} for {worker} is lost; failed attempts: {failed:?}"));
            }
        }
    }
    verdict.told.truncate(TOLD_MAX);
    verdict
}

/// How often each body lies dead that is no notification.
type Malformed<'a> = BTreeMap<&'a [u8], usize>;

/// What became of each notification for each worker, and what was no notification.
fn gather<'a>(
    ledger: &'a Ledger,
    seen: &'a [Seen],
    dead: &'a [Dead],
    verdict: &mut Verdict,
) -> (Fates<'a>, Malformed<'a>) {
    let (mut fates, mut malformed) = (Fates::new(), Malformed::new());
    for seen in seen {
        let fate = fates.entry((&seen.id, &seen.worker)).or_default();
        if seen.is_success() {
            fate.successes += 1;
        } else {
            *fate.failed.entry(seen.attempt).or_default() += 1;
        }
    }
    for letter in dead {
        if let Some(id) = ledger.id_of(&letter.body) {
            fates.entry((id, &letter.worker)).or_default().reasons.push(&letter.reason);
        } else if letter.reason == "malformed" && ledger.malformed.contains_key(&letter.body) {
            *malformed.entry(&letter.body).or_default() += 1;
        } else {
            let body = String::from_utf8_lossy(&letter.body[..letter.body.len().min(200)]).into_owned();
            verdict.counts.unexpected += 1;
            verdict.told.push(format!("a letter that nobody has published so, dead {:?}: {body}", letter.reason));
        }
    }
    (fates, malformed)
}

fn weigh_malformed(ledger: &Ledger, found: &Malformed<'_>, verdict: &mut Verdict) {
    for (body, expected) in &ledger.malformed {
        let found = found.get(body.as_slice()).copied().unwrap_or_default();
        let counts = &mut verdict.counts;
        counts.attempted += expected;
        counts.acknowledged += expected;
        counts.ok += found.min(*expected);
        counts.lost += expected.saturating_sub(found);
        counts.letters_twice += found.saturating_sub(*expected);
        if found != *expected {
            let body = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
            verdict.told.push(format!("{found} dead letters, {expected} expected, of {body}"));
        }
    }
}

/// Counts what became of one notification for one worker.
fn weigh(ledger: &Ledger, id: &str, worker: &str, fate: &Fate<'_>, verdict: &mut Verdict) {
    let Some(end) = ledger.end(id, worker).filter(|_| ledger.bodies.contains_key(id)) else {
        verdict.counts.unexpected += 1;
        verdict.told.push(format!("{worker} had {id}, which nobody has published for it"));
        return;
    };
    let counts = &mut verdict.counts;
    let good_reasons = fate.reasons.iter().filter(|reason| end.allows(reason)).count();
    let good_successes = if end.allows_done() { fate.successes } else { 0 };
    let good = good_reasons + good_successes;
    let bad = fate.ends() - good;
    counts.unexpected += bad;
    let twice = good_successes.saturating_sub(1);
    counts.duplicated += twice;
    counts.letters_twice += good.saturating_sub(1) - twice;
    counts.repeated += fate.failed.values().map(|times| times.saturating_sub(1)).sum::<usize>();
    counts.ok += usize::from(ledger.acknowledged.contains(id) && good > 0);
    if bad > 0 || good > 1 {
        let (successes, reasons) = (fate.successes, &fate.reasons);
        verdict
            .told
            .push(format!("{id} for {worker}: {end:?} expected, {successes} successes found, dead: {reasons:?}"));
    }
}
