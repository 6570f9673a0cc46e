//! What the settings leave out.

use super::*;

#[test]
fn what_is_left_out_is_not_fetched_and_has_no_record() {
    for settings in [
        json!({ "organizations": "city" }),
        json!({ "exclude_organizations": "forest, park" }),
        json!({ "groups": "water" }),
        json!({ "tags": "elm" }),
        json!({ "formats": "json, xml" }),
        json!({ "exclude_formats": "CSV" }),
        json!({ "hosts": "other.example" }),
        json!({ "exclude_hosts": "data.example" }),
    ] {
        let rig = Rig::set(settings.clone(), json!([resource(URL)]));
        rig.edit(|dataset| dataset["organization"] = json!({ "name": "forest" }));
        rig.edit(|dataset| dataset["tags"] = json!([{ "name": "oak" }]));
        let outcome = rig.run().unwrap();
        let Outcome::Skipped(reason) = outcome else { panic!("{settings}: {outcome:?}") };
        assert!(reason.starts_with("chose not to download: left out by the settings: "), "{settings}: {reason}");
        assert!(rig.bench.fetched().is_empty() && rig.bench.keys().is_empty() && rig.bench.rechecks().is_empty());
    }
}

#[test]
fn what_is_asked_for_is_fetched_and_its_sibling_is_not() {
    let mut rig = Rig::two();
    rig.reset(json!({ "formats": "csv" }));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [URL]);
    assert_eq!(rig.bench.keys(), [key(RESOURCE_ID)]);
}

#[test]
fn a_record_says_that_its_resource_is_left_out_now_and_the_copy_stays() {
    let mut rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig.reset(json!({ "exclude_hosts": "data.example" }));
    assert_eq!(rig.run(), done());
    let reason = "left out by the settings: host data.example";
    rig.check_record(json!({
        "status_id": 21, "status": "Chose not to download", "is_broken": null, "reason": reason, "failure_count": 0,
        "hash": CSV_SHA256, "next_check_at": null,
    }));
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
    let again = Ok(Outcome::skipped(format!("chose not to download: {reason}")));
    assert_eq!(rig.run(), again, "it is said once");

    rig.reset(json!({}));
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 1, "is_broken": false }));
}

#[test]
fn what_was_uploaded_to_ckan_may_be_kept_looked_at_or_skipped() {
    let uploaded = |settings: Value| {
        let rig = Rig::set(settings, json!([resource(URL)]));
        rig.set_resource("url_type", json!("upload"));
        rig.bench.web(URL).body(CSV);
        let outcome = rig.run();
        (rig, outcome)
    };
    for settings in [json!({}), json!({ "uploads": "archive" }), json!({ "ckanext-archiver.archive_cloud": "true" })] {
        let (rig, outcome) = uploaded(settings);
        assert_eq!((outcome, rig.files().len()), (done(), 2));
    }
    for settings in [json!({ "uploads": "check" }), json!({ "ckanext-archiver.archive_cloud": "false" })] {
        let (rig, outcome) = uploaded(settings);
        assert_eq!((outcome, rig.files().len()), (done(), 0));
        rig.check_record(json!({ "is_broken": false, "hash": null, "request_type": "CHECK" }));
        assert_eq!(rig.run(), nothing_changed());
    }
    let (rig, outcome) = uploaded(json!({ "uploads": "skip" }));
    let reason = "chose not to download: left out by the settings: it was uploaded to CKAN";
    assert_eq!(outcome, Ok(Outcome::skipped(reason)));
    assert!(rig.bench.fetched().is_empty());
}
