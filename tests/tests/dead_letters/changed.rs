//! What changes something.

use std::collections::BTreeSet;
use std::time::Instant;

use ckan_worker::delivery::DeadReason;
use serde_json::json;
use worker_tests::eventually;

use crate::bench::{Bench, Grave, SOON};

pub fn what_is_put_back_runs_again_for_its_worker_alone(mut bench: Bench) {
    bench.bury([("p1", "actor", DeadReason::AttemptsExhausted), ("p2", "actor2", DeadReason::Permanent)]);
    let result = bench.json(&["dead", "retry", "--yes"]);
    assert_eq!(result["replayed"], 2);
    assert_eq!((bench.listed(&[]).len(), bench.ready()), (0, 2));
    let taken = bench.take(2);
    for delivery in &taken {
        let past = delivery.past.as_ref().unwrap();
        assert_eq!((past.attempts, past.held_since), (0, None), "it is a fresh start");
    }
    assert_eq!(taken.iter().map(|delivery| delivery.id.to_string()).collect::<BTreeSet<_>>().len(), 2);
    bench.worker.start(["actor", "actor2", "--until-empty"]);
    assert!(bench.worker.wait(SOON).success(), "{}", bench.worker.report());
    let mut runs: Vec<_> = bench.runs().into_iter().map(|run| (run.id.unwrap(), run.worker)).collect();
    runs.sort();
    assert_eq!(runs, [("p1".to_owned(), "actor".to_owned()), ("p2".to_owned(), "actor2".to_owned())]);
}

pub fn only_what_is_meant_is_put_back(bench: Bench) {
    let mut malformed = Grave::of("m-3", "", DeadReason::Malformed);
    malformed.worker = None;
    malformed.body = b"\xff\0 no notification".to_vec();
    bench.bury_as(&[
        Grave::of("m-1", "archive", DeadReason::Permanent),
        Grave::of("m-10", "archive", DeadReason::TimedOut),
        Grave::of("x-2", "archive", DeadReason::TimedOut),
        malformed,
        Grave::of("x-4", "qa", DeadReason::TimedOut),
    ]);
    let (table, said) = bench.expect(0, &["dead", "retry", "--dry-run", "--worker", "archive"]);
    assert!(said.contains("would have put 3 dead letters back") && table.contains("x-2"), "{table}{said}");
    assert_eq!((bench.listed(&[]).len(), bench.ready()), (5, 0));
    let (_, said) = bench.expect(0, &["dead", "retry", "--yes", "m-1"]);
    assert!(said.contains("put 1 dead letter back on queue"), "{said}");
    let mut left = bench.listed(&[]);
    // What a broker has just been given back may come behind the rest.
    left.sort();
    assert_eq!(left, ["m-10 archive", "m-3 -", "x-2 archive", "x-4 qa"]);
    let (_, said) = bench.expect(2, &["dead", "retry", "--yes", "x"]);
    assert!(said.contains("several ids begin"), "{said}");
    bench.expect(1, &["dead", "retry", "--yes", "x-4", "z"]);
    let (_, said) = bench.expect(1, &["dead", "drop", "--yes", "--worker", "qa", "x-2"]);
    assert!(said.contains("nothing was done about x-2"), "{said}");
    assert_eq!(bench.listed(&[]).len(), 4, "nothing is done when something is not clear");
    bench.expect(0, &["dead", "retry", "--yes", "--reason", "timed_out", "--limit", "2"]);
    let left = bench.listed(&[]);
    assert!(left.len() == 2 && left.iter().any(|letter| letter == "m-3 -"), "{left:?}");
    let ids: Vec<&str> = left.iter().filter_map(|letter| letter.split(' ').next()).collect();
    bench.expect(0, &[&["dead", "retry", "--yes"], &ids[..]].concat());
    let taken = bench.take(5);
    let body = &b"\xff\0 no notification"[..];
    assert!(taken.iter().any(|delivery| delivery.body == body), "byte for byte");
    for delivery in taken {
        let (id, is_for_all) = (delivery.id.to_string(), delivery.past.is_none());
        // Under its old name what is for all workers would be taken for what was dealt with when it died.
        assert_eq!((is_for_all, id.starts_with("m-3~")), (delivery.body == body, delivery.body == body), "{id}");
    }
}

pub fn what_is_dropped_is_gone_and_the_rest_stays(bench: Bench) {
    bench.bury([
        ("m-1", "archive", DeadReason::Permanent),
        ("m-2", "qa", DeadReason::Permanent),
        ("m-3", "archive", DeadReason::Permanent),
        ("m-4", "archive", DeadReason::Permanent),
    ]);
    let (_, said) = bench.expect(0, &["dead", "drop", "--dry-run", "--worker", "archive"]);
    assert!(said.contains("would have deleted 3 dead letters"), "{said}");
    assert_eq!(bench.listed(&[]).len(), 4);
    let result = bench.json(&["dead", "drop", "--yes", "--worker", "archive", "--limit", "2"]);
    assert_eq!(result["dropped"], 2);
    let left = bench.listed(&[]);
    assert!(left.len() == 2 && left.iter().any(|letter| letter == "m-2 qa"), "{left:?}");
    bench.expect(0, &["dead", "drop", "--yes"]);
    assert_eq!((bench.listed(&[]).len(), bench.ready()), (0, 0));
}

pub fn many_are_dropped_from_among_others(bench: Bench) {
    let mut graves = many(200);
    for grave in graves.iter_mut().skip(1).step_by(2) {
        grave.worker = Some("actor2".to_owned());
    }
    bench.bury_as(&graves);
    let result = bench.json(&["dead", "drop", "--yes", "--worker", "actor"]);
    assert_eq!(result["dropped"], 100);
    let left = bench.listed(&[]);
    assert!(left.len() == 100 && left.iter().all(|letter| letter.ends_with(" actor2")), "{} left", left.len());
}

pub fn nothing_is_done_without_a_yes(bench: Bench) {
    bench.bury([("m-1", "archive", DeadReason::Permanent), ("m-2", "qa", DeadReason::Permanent)]);
    for act in ["retry", "drop"] {
        let (stdout, said) = bench.expect(2, &["dead", act]);
        assert!(stdout.is_empty() && said.contains("nothing was changed") && said.contains("--yes"), "{said}");
    }
    assert_eq!((bench.listed(&[]).len(), bench.ready()), (2, 0));
}

/// So many letters for one worker.
fn many(count: usize) -> Vec<Grave> {
    (0..count).map(|number| Grave::of(&format!("m-{number:03}"), "actor", DeadReason::Permanent)).collect()
}

pub fn a_replay_that_is_killed_half_way_loses_nothing(mut bench: Bench) {
    const COUNT: usize = 200;
    bench.bury_as(&many(COUNT));
    let all: BTreeSet<String> = (0..COUNT).map(|number| format!("m-{number:03}")).collect();
    for round in 0..4 {
        let before = bench.ready();
        bench.worker.start(["dead", "retry", "--yes", "--rate", "200/s"]);
        assert!(eventually(SOON, || bench.ready() > before + 10), "round {round}\n{}", bench.worker.report());
        bench.worker.kill();
        assert!(!bench.worker.wait(SOON).success());
    }
    let (dead, ready) = (bench.listed(&[]).len(), bench.ready());
    assert!(dead > 0 && ready > 40, "{ready} ready, {dead} dead");
    if let Some(vhost) = &bench.vhost {
        // What was not acknowledged is given back when the broker sees that we are gone.
        assert!(eventually(SOON, || vhost.close_all_connections("a test says so") == 0));
    }
    // The rest goes through when nobody interrupts it.
    assert!(eventually(SOON, || {
        bench.expect(0, &["dead", "retry", "--yes"]);
        bench.listed(&[]).is_empty()
    }));
    let ready = usize::try_from(bench.ready()).unwrap();
    let found: BTreeSet<String> = bench.take(ready).iter().map(|delivery| delivery.id.to_string()).collect();
    assert_eq!(found, all, "none is lost");
    // A broker cannot do both at once; what it had confirmed and not yet taken back was in both places.
    let twice = ready - COUNT;
    assert!(twice <= if bench.vhost.is_some() { 4 * 20 } else { 0 }, "{twice} were in both places");
}

pub fn a_replay_takes_its_time_if_it_is_told_to(bench: Bench) {
    bench.bury_as(&many(11));
    let began = Instant::now();
    let result = bench.json(&["dead", "retry", "--yes", "--rate", "10/s"]);
    assert!(began.elapsed().as_millis() >= 1000, "{:?}", began.elapsed());
    assert_eq!(result["replayed"], json!(11));
    bench.expect(2, &["dead", "retry", "--yes", "--rate", "0/s"]);
}
