//! The rig's CKAN is a real one, a test's own, and ends with it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "real_ckan/archive.rs"]
mod archive;
#[path = "real_ckan/asked.rs"]
mod asked;
#[path = "real_ckan/end.rs"]
mod end;
#[path = "real_ckan/extension.rs"]
mod extension;

use std::time::Duration;

use serde_json::{Value, json};
use worker_tests::ckan::{self, Ckan, Site};

/// Creates a dataset in the organization that every site has, with these parameters beside.
fn create(site: &Site, name: &str, more: &Value) -> Value {
    let mut parameters = json!({"name": name, "owner_org": "test-org"});
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    site.call("package_create", &parameters)
}

/// The names in the index, in the order of their ids.
fn names_found(site: &Site, parameters: &Value) -> Vec<String> {
    let found = site.call("package_search", parameters);
    found["results"].as_array().unwrap().iter().map(|dataset| dataset["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_dataset_is_found_by_its_own_stamp_page_by_page() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let site = ckan.site("found").start();
        let kinds = [json!({}), json!({"private": true}), json!({"state": "draft"})];
        let mut made = Vec::new();
        for (name, kind) in ["plain", "private", "draft"].into_iter().zip(&kinds) {
            made.push(create(&site, name, kind));
        }
        let newest = &made[2];
        let stamp = newest["metadata_modified"].as_str().unwrap();
        let found = site.call("package_search", &search(stamp, "", "metadata_modified asc, id asc", 10));
        assert_eq!(ids(&found), [newest["id"].as_str().unwrap()], "{version}");
        let result = &found["results"][0];
        assert_eq!((&result["state"], &result["owner_org"]), (&json!("draft"), &newest["owner_org"]), "{version}");

        let first = made[0]["metadata_modified"].as_str().unwrap();
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let page = ids(&site.call("package_search", &search(first, &after, "id asc", 2)));
            let Some(last) = page.last() else { break };
            after = format!(" AND id:{{{last} TO *]");
            seen.extend(page);
        }
        let mut all: Vec<_> = made.iter().map(|dataset| dataset["id"].as_str().unwrap().to_owned()).collect();
        all.sort();
        assert_eq!(seen, all, "{version}");
    }
}

/// What is asked by whoever looks for changes since a stamp.
fn search(stamp: &str, more: &str, sort: &str, rows: u32) -> Value {
    let fields = ["id", "metadata_modified", "state", "capacity", "owner_org", "groups", "res_url"];
    json!({
        "fq": format!("metadata_modified:[{}Z TO NOW+5MINUTES]{more}", &stamp[..23]), "sort": sort, "rows": rows,
        "fl": fields, "include_private": true, "include_drafts": true,
    })
}

fn ids(found: &Value) -> Vec<String> {
    let results = found["results"].as_array().unwrap();
    results.iter().map(|dataset| dataset["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_ckan_took_survives_a_stop_a_kill_and_the_loss_of_its_database_connections() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let site = ckan.site("stopped").start();
        create(&site, "before-the-stop", &json!({}));
        site.stop();
        assert_eq!(site.try_call("package_show", &json!({"id": "before-the-stop"})).unwrap_err().0, 0, "{version}");
        site.start();
        create(&site, "before-the-kill", &json!({}));
        site.kill();
        site.start();
        site.cut_database();
        for name in ["before-the-stop", "before-the-kill"] {
            assert_eq!(site.call("package_show", &json!({"id": name}))["name"], name, "{version}");
        }
        let mut found = names_found(&site, &json!({"q": "*:*"}));
        found.sort();
        assert_eq!(found, ["before-the-kill", "before-the-stop"], "{version}");
    }
}

#[test]
fn two_sites_do_not_see_each_other() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let (one, two) = (ckan.site("one").start(), ckan.site("two").start());
        create(&one, "of-one", &json!({}));
        create(&two, "of-two", &json!({}));
        for (site, own, foreign) in [(&one, "of-one", "of-two"), (&two, "of-two", "of-one")] {
            assert_eq!(site.call("package_list", &json!({})), json!([own]), "{version}");
            assert_eq!(names_found(site, &json!({"q": "*:*"})), [own], "{version}");
            assert_eq!(site.try_call("package_show", &json!({"id": foreign})).unwrap_err().0, 404, "{version}");
        }
    }
}

#[test]
fn the_editor_may_not_do_what_the_sysadmin_may() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let site = ckan.site("editor").start();
        create(&site, "hidden", &json!({"private": true}));
        let hidden = json!({"id": "hidden"});
        assert_eq!(site.call("package_show", &hidden)["private"], true, "{version}");
        for action in ["package_show", "package_delete"] {
            let refused = site.call_as(site.editor_token(), action, &hidden).unwrap_err();
            assert_eq!((refused.0, &refused.1["__type"]), (403, &json!("Authorization Error")), "{version}");
        }
        let known = site.call_as(site.editor_token(), "user_show", &json!({"id": "editor"})).unwrap();
        assert_eq!((&known["name"], &known["sysadmin"]), (&json!("editor"), &json!(false)), "{version}");
    }
}

#[test]
fn the_command_ckan_runs_on_a_sites_own_settings() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let site = ckan.site("command").start();
        create(&site, "trees", &json!({}));
        let shown = site.ckan(&["dataset", "show", "trees"]);
        assert!(shown.status.success(), "{version}: {shown:?}");
        assert!(String::from_utf8_lossy(&shown.stdout).contains("'trees'"), "{version}: {shown:?}");

        let mut jobs = site.spawn_ckan(&["jobs", "worker"]);
        let line = jobs.wait_for_line("Using configuration file", Duration::from_secs(60));
        assert!(line.contains(site.ini().to_str().unwrap()), "{version}: {line}");
    }
}

#[test]
fn an_index_that_fails_is_one_sites_own() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let (hurt, well) = (ckan.site("hurt").start(), ckan.site("well").start());
        create(&hurt, "there", &json!({}));
        hurt.solr_control(&json!({"update_status": 500}));
        let refused = hurt.try_call("package_create", &json!({"name": "lost", "owner_org": "test-org"}));
        assert!(refused.is_err_and(|(status, _)| status >= 400), "{version}");
        create(&well, "unhurt", &json!({}));
        hurt.solr_control(&json!({"update_status": 0}));
        hurt.stop_solr();
        assert!(hurt.try_call("package_search", &json!({})).is_err(), "{version}");
        assert_eq!(names_found(&well, &json!({})), ["unhurt"], "{version}");
        hurt.start_solr();
        assert_eq!(names_found(&hurt, &json!({})), ["there"], "{version}");
    }
}
