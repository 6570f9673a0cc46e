//! What is left for later: busy servers, and runs that come to the end of their time.

use std::time::Duration;

use super::*;

fn wait(rig: &Rig) -> u64 {
    rig.bench.rechecks()[PACKAGE_ID].as_secs()
}

#[test]
fn a_busy_server_is_not_broken_and_the_others_are_finished() {
    let rig = Rig::two();
    let elsewhere = "http://other.example/second.json";
    rig.edit(|dataset| dataset["resources"][1]["url"] = json!(elsewhere));
    rig.bench.web(elsewhere).body("{\"a\": 1}");
    rig.bench.web(URL).status(503).retry_after(Duration::from_secs(90));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.record(), Value::Null, "nothing is known of it");
    assert_eq!((rig.bench.writes().len(), wait(&rig)), (1, 90));
    let summary = "dataset trees: 1 archived, 0 broken, 0 not kept, 1 postponed, 1 written back";
    assert_eq!(rig.bench.logged().last().unwrap(), summary);
    assert_eq!(rig.bench.log()[0].fields["status"], "Postponed");

    rig.bench.web(URL).status(200);
    assert_eq!(rig.recheck(), done());
    assert_eq!(rig.bench.fetched(), [URL, elsewhere, URL]);
    rig.check_record(json!({ "status_id": 0 }));
    assert!(wait(&rig) > 3600);
}

#[test]
fn a_busy_server_is_not_asked_for_the_rest_either() {
    let rig = Rig::two();
    rig.bench.web(URL).fails(Error::retryable("left alone").with_code("fetch.host-busy"));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [URL]);
    let summary = "dataset trees: 0 archived, 0 broken, 0 not kept, 2 postponed, 0 written back";
    assert_eq!(rig.bench.logged().last().unwrap(), summary);
}

#[test]
fn where_something_else_was_done_the_wait_does_not_grow() {
    let rig = Rig::new(json!([second(), resource(URL)]));
    rig.bench.web(SECOND_URL).body("{\"a\": 1}");
    rig.bench.web(URL).fails(Error::retryable("left alone").with_code("fetch.host-busy"));
    for _ in 0..3 {
        assert_eq!(rig.run(), done());
        assert_eq!(wait(&rig), 30);
        rig.edit(|dataset| {
            let changed = dataset["resources"][0]["last_modified"].as_str().unwrap_or_default().to_owned();
            dataset["resources"][0]["last_modified"] = json!(changed + "x");
        });
    }
}

#[test]
fn a_host_that_has_no_room_for_a_server_is_no_broken_link() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).fails(Error::retryable("too many wait for it").with_code("fetch.host-busy"));
    assert_eq!(rig.run(), done());
    assert_eq!((rig.record(), wait(&rig)), (Value::Null, 30));
}

#[test]
fn what_was_known_of_a_resource_stays_while_its_server_is_busy() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig.come_due();
    let before = rig.record();
    rig.bench.web(URL).status(429).retry_after(Duration::from_secs(1));
    assert_eq!(rig.recheck(), done());
    assert_eq!(rig.record(), before);
}

#[test]
fn a_server_that_stays_busy_is_asked_less_and_less_often() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).status(503).retry_after(Duration::from_secs(1));
    for seconds in [30, 120, 480, 1920, 3600, 3600] {
        assert_eq!(rig.recheck(), done());
        assert_eq!(wait(&rig), seconds);
    }
}

#[test]
fn the_patience_with_a_server_begins_anew_when_it_has_answered() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).fails(Error::retryable("busy").with_code("fetch.host-busy"));
    assert_eq!(rig.recheck(), done());
    rig.bench.web(URL).fails(Error::retryable("refused").with_code("fetch.connect"));
    assert_eq!(rig.recheck(), done());
    assert_eq!(rig.bench.keys(), [key(RESOURCE_ID)]);
}

#[test]
fn a_run_that_is_short_of_time_keeps_what_it_has_and_goes_on_later() {
    let rig = Rig::two();
    rig.bench.deadline(Duration::from_secs(100));
    rig.bench.web(URL).takes(Duration::from_secs(81));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [URL]);
    rig.check_record(json!({ "status_id": 0 }));
    assert_eq!(rig.dataset()["resources"][0]["hash"], CSV_SHA256, "it is written back all the same");
    assert_eq!(wait(&rig), 30);
    let summary = "dataset trees: 1 archived, 0 broken, 0 not kept, 1 postponed, 1 written back";
    assert_eq!(rig.bench.logged().last().unwrap(), summary);

    assert_eq!(rig.recheck(), done());
    assert_eq!(rig.bench.fetched(), [URL, SECOND_URL]);
    assert!(wait(&rig) > 3600);
}

#[test]
fn a_request_that_was_given_less_time_than_others_says_nothing_about_the_link() {
    let rig = Rig::two();
    rig.bench.deadline(Duration::from_secs(100));
    rig.bench.web(URL).takes(Duration::from_secs(60));
    rig.bench.web(SECOND_URL).takes(Duration::from_secs(50));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [URL, SECOND_URL]);
    assert_eq!(rig.bench.keys(), [key(RESOURCE_ID)], "of the second nothing is known");
    assert_eq!(wait(&rig), 30);

    assert_eq!(rig.recheck(), done());
    assert_eq!(rig.bench.keys().len(), 2);
}
