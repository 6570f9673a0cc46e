//! What comes due by itself.

use std::time::Duration;

use super::*;

const HOUR: u64 = 3600;

/// How long until the worker is called again.
fn wait(rig: &Rig) -> Duration {
    rig.bench.rechecks()[PACKAGE_ID]
}

/// Whether that is at least so long, and at most a fifth longer.
fn is_about(wait: Duration, hours: u64) -> bool {
    // The clock goes on while the worker works.
    let least = Duration::from_secs(hours * HOUR - 60);
    (least..=Duration::from_secs(hours * HOUR * 6 / 5)).contains(&wait)
}

#[test]
fn a_new_copy_is_looked_at_after_half_a_day_and_one_that_does_not_change_later_and_later() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV).etag("\"e\"");
    assert_eq!(rig.run(), done());
    assert!(is_about(wait(&rig), 12), "{:?}", wait(&rig));
    for (changed, hours) in [("2000-01-01T00:00:00Z", 30 * 24), ("9999-01-01T00:00:00Z", 12)] {
        rig.edit_record(|record| record["content_changed_at"] = json!(changed));
        rig.come_due();
        assert_eq!(rig.recheck(), done());
        assert!(is_about(wait(&rig), hours), "{changed}: {:?}", wait(&rig));
    }
}

#[test]
fn a_broken_link_is_looked_at_after_an_hour_and_then_less_often() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).status(500);
    for hours in [1, 4, 24] {
        assert_eq!(rig.recheck(), done());
        assert!(is_about(wait(&rig), hours), "{hours}: {:?}", wait(&rig));
        rig.come_due();
    }
    rig.check_record(json!({ "failure_count": 3 }));
}

#[test]
fn the_earliest_of_several_counts_and_only_what_is_due_is_looked_at() {
    let rig = Rig::two();
    rig.bench.web(SECOND_URL).status(404);
    assert_eq!(rig.run(), done());
    assert!(is_about(wait(&rig), 1));
    rig.bench.forget();
    assert_eq!(rig.recheck(), nothing_changed());
    assert!(rig.bench.fetched().is_empty());
    assert!(is_about(wait(&rig), 1), "the wish is renewed");

    rig.come_due();
    assert_eq!(rig.recheck(), done());
    assert_eq!(rig.bench.fetched(), [URL]);
}

#[test]
fn a_dataset_without_resources_is_not_asked_for_again() {
    let rig = Rig::new(json!([]));
    assert_eq!(rig.run(), nothing_changed());
    assert!(rig.bench.rechecks().is_empty());
    assert!(rig.bench.keys().is_empty());
}

#[test]
fn resources_of_one_dataset_come_due_together() {
    let rig = Rig::two();
    assert_eq!(rig.run(), done());
    let second = rig.bench.remembered(&key(SECOND_ID)).unwrap();
    assert_eq!(rig.record()["next_check_at"], second["next_check_at"]);
}
