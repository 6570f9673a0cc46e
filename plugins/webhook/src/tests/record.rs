//! The record of posts.

use super::*;

fn remembered(rig: &Rig, key: &str) -> Value {
    rig.bench.remembered(key).unwrap_or_else(|| panic!("nothing at {key}: {:?}", rig.bench.keys()))
}

#[test]
fn each_post_has_a_line_with_all_its_fields() {
    let rig = Rig::new(&format!("one {ONE}"));
    rig.bench.web(ONE).status(503);
    assert!(rig.run(published()).is_err());
    rig.bench.web(ONE).status(202);
    assert_eq!(rig.run(published().attempt(2)), done());
    let log = rig.bench.log();
    let lines: Vec<_> = log.iter().map(|line| (line.level, line.message.as_str())).collect();
    assert_eq!(
        lines,
        [
            (Level::Warn, "one: answered 503: org.ckan.package.changed"),
            (Level::Info, "one: delivered org.ckan.package.changed (202)"),
        ]
    );
    let id = headers(&rig.bench.sent()[0])["webhook-id"].clone();
    let expected = [
        ("attempt", "1"),
        ("duration_ms", "0"),
        ("event", id.as_str()),
        ("outcome", "failed"),
        ("reason", "one: answered 503"),
        ("status", "503"),
        ("subject", PACKAGE_ID),
        ("target", "one"),
        ("type", "org.ckan.package.changed"),
    ];
    let fields: Vec<_> = log[0].fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(fields, expected);
    assert_eq!((log[1].fields["attempt"].as_str(), log[1].fields["outcome"].as_str()), ("2", "delivered"));
}

#[test]
fn what_failed_is_remembered_with_the_next_run_that_ends_well() {
    let rig = Rig::new(&format!("one {ONE}\ntwo {TWO}"));
    rig.bench.web(ONE).status(404);
    assert!(rig.run(published()).is_err());
    assert_eq!(rig.bench.keys(), [""; 0]);
    rig.bench.web(ONE).status(200);
    assert_eq!(rig.run(published()), done());
    assert_eq!(rig.bench.keys(), ["log/one/00", "log/one/01", "log/two/00"]);
    let first = remembered(&rig, "log/one/00");
    assert_eq!(first["outcome"], "refused");
    assert_eq!((&first["status"], &first["reason"]), (&json!(404), &json!("one: answered 404")));
    assert_eq!(remembered(&rig, "log/one/01")["outcome"], "delivered");
}

#[test]
fn the_last_hundred_posts_of_a_target_are_remembered_also_over_a_restart() {
    let rig = Rig::new(&format!("one {ONE}"));
    for _ in 0..99 {
        assert_eq!(rig.run(published()), done());
    }
    let after = rig.bench.create::<Webhook>(json!({ "source": "x", "targets": format!("one {ONE}") })).unwrap();
    for _ in 0..3 {
        assert_eq!(rig.bench.consume(&after, published()), done());
    }
    assert_eq!(rig.bench.keys().len(), 100);
    assert_eq!(remembered(&rig, "log/one/01")["number"], 101);
    assert_eq!(remembered(&rig, "log/one/02")["number"], 2);
}

#[test]
fn what_is_remembered_and_cannot_be_read_stops_no_post() {
    let rig = Rig::new(&format!("one {ONE}"));
    rig.bench.remember("log/one/00", json!("not an entry"));
    assert_eq!(rig.run(published()), done());
    let warned = rig.bench.log().into_iter().find(|line| line.level == Level::Warn).unwrap();
    assert!(
        warned.message.starts_with("the last posts cannot be remembered: the value of \"log/one/00\""),
        "{warned:?}"
    );
}
