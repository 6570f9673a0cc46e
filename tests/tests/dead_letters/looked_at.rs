//! What is looked at stays as it is.

use std::collections::BTreeSet;
use std::fs;

use ckan_worker::delivery::{DeadReason, Fate, Letter};
use ckan_worker::source;
use serde_json::{Value, json};

use crate::bench::{Bench, Grave, package, runtime};

/// Three of each kind.
fn some(bench: &Bench) {
    let mut malformed = Grave::of("m-3", "", DeadReason::Malformed);
    malformed.worker = None;
    malformed.body = b"\xff\0 no notification".to_vec();
    let mut late = Grave::of("m-10", "qa", DeadReason::TimedOut);
    "spät:\n\x1b[2J 504".clone_into(&mut late.error);
    bench.bury_as(&[
        Grave::of("m-1", "archive", DeadReason::Permanent),
        Grave::of("x-2", "archive", DeadReason::AttemptsExhausted),
        malformed,
        late,
    ]);
}

pub fn dead_letters_are_listed_with_what_is_known_of_them(bench: Bench) {
    some(&bench);
    for _ in 0..2 {
        let (table, stderr) = bench.expect(0, &["dead", "list"]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["ID", "WORKER", "REASON", "ATTEMPTS", "DIED", "ABOUT", "ERROR"]);
        assert_eq!(lines.len(), 5, "{table}{stderr}");
        let line = |id: &str| lines.iter().find(|line| line[0] == id).unwrap_or_else(|| panic!("no {id}\n{table}"));
        assert_eq!(line("m-1")[..4], ["m-1", "archive", "permanent", "3"]);
        assert_eq!(line("m-1")[5..], ["Package", "changed", "m-1", "error", "of", "m-1"]);
        assert_eq!(line("m-3")[..4], ["m-3", "-", "malformed", "3"]);
        assert!(!table.contains('\x1b'), "what a stranger wrote does nothing to the terminal");
    }
    let document = bench.json(&["dead", "list"]);
    assert_eq!(document["queue"], bench.settings.name.as_str());
    let letters = document["letters"].as_array().unwrap();
    let letter = |id: &str| letters.iter().find(|letter| letter["id"] == id).unwrap();
    let first = letter("m-1");
    let mut known = first.clone();
    for time in ["died", "first_seen"] {
        let written = known.as_object_mut().unwrap().remove(time).unwrap();
        assert!(written.as_str().unwrap().ends_with('Z'), "{first}");
    }
    assert!(first["died"].as_str() > first["first_seen"].as_str(), "{first}");
    let expected = json!({
        "id": "m-1", "worker": "archive", "reason": "permanent", "error": "error of m-1", "attempts": 3, "hops": 4,
        "replayed": 0, "routing_key": "Package", "operation": "changed", "entity_id": "m-1",
        "body_bytes": package("m-1").len(),
    });
    assert_eq!(known, expected);
    assert_eq!(letter("m-10")["error"], "spät:\n\x1b[2J 504");
}

pub fn the_list_can_be_narrowed_down(bench: Bench) {
    some(&bench);
    // What a broker has just been given back may come behind the rest.
    let listed = |flags: &[&str]| BTreeSet::from_iter(bench.listed(flags));
    let check = |flags: &[&str], expected: &[&str]| {
        assert_eq!(listed(flags), expected.iter().map(|letter| (*letter).to_owned()).collect(), "{flags:?}");
    };
    let all = ["m-1 archive", "x-2 archive", "m-3 -", "m-10 qa"];
    check(&[], &all);
    check(&["--worker", "archive"], &all[..2]);
    check(&["--worker", "archive", "--reason", "permanent"], &all[..1]);
    check(&["--reason", "malformed"], &all[2..3]);
    check(&["--text", "SPÄT"], &all[3..]);
    check(&["--text", "\"id\":\"x-2\""], &all[1..2]);
    check(&["--since", "1h"], &all);
    check(&["--since", "2001-01-01"], &all);
    check(&["--since", "2999-01-01T00:00Z"], &[]);
    assert_eq!((listed(&["--limit", "2"]).len(), listed(&["--worker", "archive", "--limit", "1"]).len()), (2, 1));
    let (table, _) = bench.expect(0, &["dead", "list", "--worker", "nobody"]);
    assert_eq!(table, "No dead letters.\n");
    bench.expect(2, &["dead", "list", "--since", "yesterday"]);
}

pub fn one_is_shown_by_the_beginning_of_its_id(bench: Bench) {
    some(&bench);
    bench.bury([("x-2", "qa", DeadReason::Permanent)]);
    let (page, _) = bench.expect(0, &["dead", "show", "m-10"]);
    for line in ["id          m-10", "worker      qa", "reason      timed_out", "about       Package changed m-10"] {
        assert!(page.contains(line), "{line:?} is missing\n{page}");
    }
    assert!(page.ends_with(&format!("\n\n{}\n", package("m-10"))), "{page}");
    // It is the whole of one id, though others begin so.
    let (page, _) = bench.expect(0, &["dead", "show", "m-1"]);
    assert!(page.contains("reason      permanent") && !page.contains("m-10"), "{page}");
    let both = bench.json(&["dead", "show", "x"]);
    let workers: Vec<&Value> = both["letters"].as_array().unwrap().iter().map(|letter| &letter["worker"]).collect();
    assert_eq!(workers, ["archive", "qa"], "all letters of one delivery are shown");
    assert_eq!(both["letters"][0]["body"], package("x-2"));
    let (_, said) = bench.expect(2, &["dead", "show", "m"]);
    assert!(said.contains("several ids begin with \"m\"") && said.contains("m-1, m-10, m-3"), "{said}");
    let (_, said) = bench.expect(1, &["dead", "show", "z"]);
    assert!(said.contains("no dead letter has an id that begins with \"z\""), "{said}");
    let odd = bench.json(&["dead", "show", "m-3"]);
    assert_eq!(
        (&odd["letters"][0]["body"], &odd["letters"][0]["body_base64"]),
        (&Value::Null, &json!("/wAgbm8gbm90aWZpY2F0aW9u"))
    );
}

pub fn what_is_exported_is_complete_and_stays(bench: Bench) {
    some(&bench);
    let lines = |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let (stdout, said) = bench.expect(0, &["dead", "export", "-"]);
    assert!(said.contains("exported 4 dead letters"), "{said}");
    let mut exported = lines(&stdout);
    exported.sort_by_key(|letter| letter["id"].to_string());
    assert_eq!((exported.len(), &exported[0]["body"]), (4, &json!(package("m-1"))));
    assert_eq!(
        (&exported[2]["body_base64"], &exported[2]["worker"]),
        (&json!("/wAgbm8gbm90aWZpY2F0aW9u"), &Value::Null)
    );
    let file = bench.worker.path("letters.jsonl");
    fs::write(&file, "an earlier export").unwrap();
    let path = file.to_str().unwrap();
    let (stdout, _) = bench.expect(0, &["dead", "export", path, "--worker", "archive"]);
    assert_eq!(stdout, "");
    let mut of_archive = lines(&fs::read_to_string(&file).unwrap());
    of_archive.sort_by_key(|letter| letter["id"].to_string());
    assert_eq!(of_archive, [exported[0].clone(), exported[3].clone()]);
    let (_, said) = bench.expect(69, &["dead", "export", "/no/such/folder/letters"]);
    assert!(said.contains("/no/such/folder/letters: cannot be written"), "{said}");
    assert_eq!(bench.listed(&[]).len(), 4);
}

pub fn without_a_queue_there_is_nothing_to_see(bench: Bench) {
    assert_eq!(bench.expect(0, &["dead", "list"]).0, "No dead letters.\n");
    bench.expect(1, &["dead", "show", "m"]);
    bench.expect(0, &["dead", "retry", "--yes"]);
    bench.expect(0, &["dead", "drop"]);
    assert_eq!(bench.expect(0, &["dead", "export", "-"]).0, "");
    let (status, _) = bench.expect(0, &["queue", "status"]);
    assert!(status.contains("the queue is not there yet"), "{status}");
    assert_eq!(bench.json(&["queue", "status"])["ready"], Value::Null);
    if let ckan_worker::source::Address::Sqlite(path) = &bench.settings.address {
        assert!(!path.exists(), "who only looks makes nothing");
    }
}

pub fn the_status_counts_what_is_ready_waits_and_is_dead(bench: Bench) {
    bench.bury([("m-1", "actor", DeadReason::Permanent), ("m-2", "actor", DeadReason::Permanent)]);
    // On a broker the ladder has queues of its own, which are made when something is sent there.
    let climbs = bench.vhost.is_none();
    runtime().block_on(async {
        let publisher = source::open_publisher(&bench.settings).unwrap();
        for body in ["1", "2", "3"] {
            let message =
                source::Message { routing_key: "Package".to_owned(), body: body.into(), id: None, only: None };
            publisher.publish(message).await.unwrap();
        }
        publisher.close().await;
        let mut source = source::open(&bench.settings, 1).unwrap();
        let taken = source.next(1).await.unwrap();
        let letter = Letter {
            delivery: taken[0].id.clone(),
            worker: Some("actor".into()),
            fate: Fate::Retry(std::time::Duration::from_secs(7200)),
            error: String::new(),
            attempts: 1,
            hops: 1,
            first_seen: std::time::SystemTime::now(),
            held_since: None,
            body: taken[0].body.clone(),
            origin: taken[0].origin.clone(),
        };
        if climbs {
            source.letters().keep(&letter).await.unwrap();
        }
        if let Some(in_hand) = bench.json(&["queue", "status"])["in_hand"].as_u64() {
            assert_eq!(in_hand, 1);
        }
        source.settle(taken.into_iter().map(|delivery| delivery.receipt).collect());
        source.close().await;
    });
    let status = bench.json(&["queue", "status"]);
    assert_eq!((&status["ready"], &status["dead"]), (&json!(2), &json!(2)));
    assert_eq!((&status["rungs"][0]["delay"], &status["rungs"][1]["delay"]), (&json!("1h"), &json!("2h")));
    assert_eq!(status["waiting"], json!(u32::from(climbs)));
    let (text, _) = bench.expect(0, &["queue", "status"]);
    let line = |key: &str| text.lines().find(|line| line.trim_start().starts_with(key)).unwrap_or("").to_owned();
    assert_eq!((line("ready"), line("dead")), ("ready      2".to_owned(), "dead       2".to_owned()), "{text}");
    if climbs {
        assert_eq!((status["rungs"][1]["waiting"].as_u64(), line("2h").trim()), (Some(1), "2h       1"), "{text}");
    }
    assert!(line("queue").ends_with(&bench.settings.name) && line("address").len() > 20, "{text}");
}
