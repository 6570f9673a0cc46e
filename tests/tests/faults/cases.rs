//! The cases there are, how long they take, and where their verdicts go.

use std::time::Duration;

use worker_tests::Verdict;

use crate::table;

/// One case of the suite.
pub struct Case {
    /// Its number; F as in the plan of the suite, S for the queue in a file.
    pub id: &'static str,
    /// What breaks.
    pub fault: &'static str,
}

const fn case(id: &'static str, fault: &'static str) -> Case {
    Case { id, fault }
}

/// All cases, in the order of the table.
pub const CASES: &[Case] = &[
    case("F1", "the connections to the broker are cut again and again"),
    case("F2", "the network to the broker is a black hole"),
    case("F3", "the network passes one direction only"),
    case("F4", "frames are cut in the middle, and garbage comes between them"),
    case("F5", "an operator closes all connections again and again"),
    case("F6", "the broker is stopped and started"),
    case("F7", "the broker is killed while messages are published and consumed"),
    case("F8", "the host is killed at random"),
    case("F9", "the host dies between confirming, journalling and acknowledging"),
    case("F10", "a plugin takes the process with it"),
    case("F11", "a plugin hangs"),
    case("F12", "a plugin panics"),
    case("F13", "the host is asked to stop while jobs run"),
    case("F14", "the host is restarted 25 times with a full prefetch"),
    case("F15", "the broker is short of memory"),
    case("F16", "the broker is short of disk"),
    case("F17", "a job outlasts the time that the broker gives for an acknowledgement"),
    case("F18", "the queue is deleted under its consumer"),
    case("F19", "the queue is made anew, with another type, during an outage"),
    case("F20", "the queue of dead letters and a rung are deleted"),
    case("F21", "permissions are taken away"),
    case("F22", "an old queue, filled by an old publisher"),
    case("F23", "bodies that are no notifications"),
    case("F24", "an error text of 300 kB"),
    case("F25a", "the journal's disk is full"),
    case("F25b", "the journal's disk is read-only"),
    case("F25c", "the journal is corrupt"),
    case("F26", "the clock jumps by an hour, forwards and back"),
    case("F27a", "CKAN is down"),
    case("F27b", "CKAN says that it has too much to do"),
    case("F27c", "CKAN does not accept the token"),
    case("F28", "one of two hosts is killed again and again"),
    case("F29", "a replay of dead letters is killed half-way"),
    case("F30", "the consumer is gone and nobody says so"),
    case("S8", "queue in a file: the host is killed at random"),
    case("S9", "queue in a file: the host dies between keeping, journalling and settling"),
    case("S13", "queue in a file: the host is asked to stop while jobs run"),
    case("S25", "queue in a file: the disk is full"),
    case("S28", "queue in a file: one of two hosts is killed again and again"),
];

/// How much of everything a case has.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The word for it.
    pub name: &'static str,
    /// How many messages.
    pub messages: usize,
    /// For how long faults go on.
    pub faults: Duration,
    /// How often something is killed or closed.
    pub times: usize,
    /// How long everything may take to end once the faults are over.
    pub within: Duration,
}

/// The form that was asked for.
pub fn form() -> Form {
    let is_long = std::env::var("CKAN_WORKER_TEST_LONG").is_ok_and(|value| value == "1");
    let (short, long) = (Duration::from_secs(5), Duration::from_secs(60));
    if is_long {
        Form { name: "long", messages: 10_000, faults: long, times: 100, within: Duration::from_secs(900) }
    } else {
        Form { name: "short", messages: 300, faults: short, times: 10, within: Duration::from_secs(90) }
    }
}

/// Writes the verdict on a case into the table, and fails the test if it is not good: something is lost, something is
/// there that should not be, more than `duplicates_max` were done twice, or what else was expected did not come.
#[track_caller]
pub fn conclude(id: &str, verdict: &Verdict, duplicates_max: usize) {
    let case = CASES.iter().find(|case| case.id == id).expect("the case is in the list");
    table::add(case, verdict);
    assert!(verdict.is_good(), "{id}: {} went badly: {verdict}", case.fault);
    assert!(
        verdict.counts.duplicated <= duplicates_max,
        "{id}: {}: more than {duplicates_max} were done twice: {verdict}",
        case.fault
    );
}
