//! Who gets what.

use std::time::Duration;

use ckan_worker_plugin::Class;

use super::*;

const CATALOGUE: &str = "one http://one.example/in";

/// Puts the dataset into the portal.
fn shown(rig: &Rig, fields: Value) {
    let mut dataset = json!({ "id": PACKAGE_ID });
    dataset.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    rig.bench.ckan().dataset(dataset);
}

#[test]
fn the_payload_of_a_dataset_says_whether_everybody_may_see_it() {
    for (fields, is_sent) in [
        (json!({ "private": false, "state": "active" }), true),
        (json!({ "private": false, "state": "deleted" }), true),
        (json!({ "private": true, "state": "active" }), false),
        (json!({ "private": false, "state": "draft" }), false),
        (json!({ "private": false, "state": "draft-complete" }), false),
        // These do not say, and CKAN does not know the dataset.
        (json!({}), false),
        (json!({ "private": false }), false),
        (json!({ "state": "active" }), false),
        (json!({ "private": "no", "state": "active" }), false),
        (json!({ "private": null, "state": "active" }), false),
    ] {
        let rig = Rig::new(CATALOGUE);
        let expected = if is_sent { done() } else { for_nobody() };
        assert_eq!(rig.run(changed(fields.clone())), expected, "{fields}");
        assert_eq!(rig.asked().len(), usize::from(is_sent), "{fields}");
    }
}

#[test]
fn a_payload_that_says_it_twice_is_taken_at_the_stricter_word() {
    let rig = Rig::new(CATALOGUE);
    let payload = r#"{"id":"p1","private":true,"state":"active","private":false}"#;
    assert_eq!(rig.run(Event::new("Package", "changed", payload)), for_nobody());
    assert_eq!(rig.bench.calls(), []);
}

#[test]
fn ckan_is_asked_about_the_dataset_of_a_resource_whatever_the_resource_says() {
    for (dataset, is_sent) in [
        (json!({ "private": false, "state": "active" }), true),
        (json!({ "private": true, "state": "active" }), false),
        (json!({ "private": false, "state": "draft" }), false),
        (json!({ "state": "active" }), false),
    ] {
        let rig = Rig::new(CATALOGUE);
        shown(&rig, dataset.clone());
        let payload = json!({ "id": RESOURCE_ID, "package_id": PACKAGE_ID, "private": false, "state": "active" });
        let outcome = rig.run(resource_changed().payload(payload.to_string()));
        assert_eq!(outcome, if is_sent { done() } else { for_nobody() }, "{dataset}");
        assert_eq!(rig.asked().len(), usize::from(is_sent), "{dataset}");
    }
}

#[test]
fn what_ckan_does_not_know_or_does_not_let_us_see_is_not_public() {
    let rig = Rig::new(CATALOGUE);
    assert_eq!(rig.run(resource_changed()), for_nobody());
    rig.bench.ckan().fail("package_show", Error::permanent("no").with_code("ckan.not-authorized"));
    assert_eq!(rig.run(resource_changed()), for_nobody());
    assert_eq!(rig.run(Event::new("User", "new", r#"{"id": "u1", "email": "a@b"}"#)), for_nobody());
    assert_eq!(rig.asked(), [""; 0]);
}

#[test]
fn who_asks_for_private_datasets_gets_them_and_ckan_is_not_asked() {
    let rig = Rig::new(&format!("{CATALOGUE} private=yes"));
    assert_eq!(rig.run(changed(json!({ "private": true, "state": "draft" }))), done());
    assert_eq!(rig.run(resource_changed()), done());
    assert_eq!((rig.asked().len(), rig.bench.calls().len()), (2, 0));
}

#[test]
fn while_ckan_does_not_answer_only_those_who_ask_for_everything_are_told() {
    let rig = Rig::new(&format!("{CATALOGUE}\ntwo {TWO} private=yes\nthree {ONE}"));
    let away = Error::retryable("CKAN is away").with_code("ckan.unavailable").retry_after(Duration::from_secs(9));
    rig.bench.ckan().fail("package_show", away);
    let error = rig.run(resource_changed()).unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Retryable, "ckan.unavailable"));
    assert_eq!(error.delay(), Some(Duration::from_secs(9)));
    assert_eq!(error.message(), "asking CKAN about the dataset: CKAN is away");
    assert_eq!(rig.asked(), [TWO]);
    assert_eq!(rig.bench.calls().len(), 1, "it is asked once for all targets");

    shown(&rig, json!({ "private": false, "state": "active" }));
    assert_eq!(rig.run(resource_changed()), done());
    assert_eq!(rig.asked(), [TWO, ONE, ONE]);
}

#[test]
fn without_a_portal_what_it_would_be_asked_about_is_kept_and_not_posted() {
    let rig = Rig::new(CATALOGUE);
    let none = Error::permanent("no portal is set; write its address to `ckan.site_url`").with_code("ckan.config");
    rig.bench.ckan().fail("package_show", none);
    let error = rig.run(resource_changed()).unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Permanent, "ckan.config"));
    assert_eq!(rig.asked(), [""; 0]);
}

#[test]
fn a_target_gets_the_classes_and_operations_it_asks_for() {
    let rig =
        Rig::new(&format!("one {ONE} routing_keys=Package,Group private=yes\ntwo {TWO} operations=new private=yes"));
    let payload = r#"{"id": "p1"}"#;
    for (routing_key, operation, expected) in [
        ("Package", "changed", vec![ONE]),
        ("Package", "new", vec![ONE, TWO]),
        ("Resource", "new", vec![TWO]),
        ("package", "changed", vec![]),
    ] {
        rig.bench.forget();
        let outcome = rig.run(Event::new(routing_key, operation, payload));
        let nobody = Ok(Outcome::skipped("no target asks for it"));
        assert_eq!(outcome, if expected.is_empty() { nobody } else { done() });
        assert_eq!(rig.asked(), expected);
    }
}

#[test]
fn a_target_gets_the_datasets_of_the_organizations_it_asks_for_by_id_or_name() {
    let rig = Rig::new(&format!("{CATALOGUE} organizations=org-1,trees"));
    let of = |organization: &str| changed(json!({ "private": false, "state": "active", "owner_org": organization }));
    assert_eq!(rig.run(of("org-1")), done());
    assert_eq!(rig.bench.calls(), [], "the payload says enough");

    for (organization, is_sent) in [("trees", true), ("rivers", false)] {
        shown(&rig, json!({ "owner_org": "org-2", "organization": { "name": organization } }));
        assert_eq!(rig.run(of("org-2")), if is_sent { done() } else { for_nobody() });
    }
    shown(&rig, json!({ "private": false, "state": "active", "owner_org": "org-1", "organization": null }));
    assert_eq!(rig.run(resource_changed()), done());
    assert_eq!(rig.asked().len(), 3);
}

#[test]
fn a_private_dataset_of_the_right_organization_stays_private() {
    let rig = Rig::new(&format!("{CATALOGUE} organizations=org-1"));
    let event = changed(json!({ "private": true, "state": "active", "owner_org": "org-1" }));
    assert_eq!(rig.run(event), for_nobody());
}
