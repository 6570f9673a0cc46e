//! Private datasets: what is kept of them is never where everybody can read it.

use super::*;

fn skipped() -> Result<Outcome> {
    Ok(Outcome::skipped("chose not to download: the dataset is private"))
}

impl Rig {
    fn set_private(&self, private: bool) {
        self.edit(|dataset| dataset["private"] = json!(private));
    }

    /// The files below a directory, with the directories above them.
    fn below(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let root = self.dir.path().join(name);
        let mut dirs = vec![root.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }
}

#[test]
fn s22_nothing_of_a_private_dataset_is_in_the_directory_before_or_after_it_was_public() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);

    rig.set_private(true);
    assert_eq!(rig.run(), skipped());
    assert!(rig.bench.fetched().is_empty() && rig.below("public").is_empty() && rig.bench.keys().is_empty());
    assert!(rig.bench.logged().is_empty(), "a log is no place for what is private");

    rig.set_private(false);
    assert_eq!(rig.run(), done());
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
    assert!(!rig.bench.rechecks().is_empty());

    rig.set_private(true);
    assert_eq!(rig.run(), skipped());
    assert!(rig.below("public").is_empty());
    assert!(rig.bench.keys().is_empty(), "nor is it remembered: {:?}", rig.bench.keys());
    assert!(rig.bench.rechecks().is_empty(), "nor looked at again");
    assert_eq!(
        rig.bench.logged().last().unwrap(),
        "dataset trees is private: removed what was kept of it, resources: 1"
    );
}

#[test]
fn s22_private_copies_have_a_directory_of_their_own_and_move_when_the_dataset_does() {
    let private = json!({ "private_dir": "{dir}/private", "cache_url_root": "https://cache.example" });
    let rig = Rig::set(private, json!([resource(URL)]));
    rig.bench.web(URL).body(CSV).etag("\"e\"");
    let files = ["archive.json", "trees.csv"].map(|name| format!("a1/{RESOURCE_ID}/{name}"));

    for round in 0..2 {
        rig.set_private(true);
        assert_eq!(rig.run(), done());
        assert_eq!((rig.below("public"), rig.below("private")), (Vec::new(), files.to_vec()), "round {round}");
        rig.check_record(json!({ "private": true, "status_id": 0, "cache_url": null }));
        let cache_url = rig.dataset()["resources"][0]["cache_url"].clone();
        assert!(cache_url == json!("") || cache_url.is_null(), "it would lead nowhere: {cache_url}");

        rig.set_private(false);
        assert_eq!(rig.run(), done());
        assert_eq!((rig.below("public"), rig.below("private")), (files.to_vec(), Vec::new()), "round {round}");
        rig.check_record(json!({ "private": false, "status_id": 0 }));
        assert!(rig.record()["cache_url"].as_str().unwrap().starts_with("https://cache.example/a1/"));
        assert_eq!(rig.dataset()["resources"][0]["cache_url"], rig.record()["cache_url"]);
    }
}

#[test]
fn s22_the_public_copy_is_gone_before_anything_else_is_tried() {
    let rig = Rig::set(json!({ "private_dir": "{dir}/private" }), json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig.set_private(true);
    rig.bench.web(URL).is_cancelled();
    rig.run().unwrap_err();
    assert!(rig.below("public").is_empty());
}

#[test]
fn s22_what_became_private_is_taken_back_whatever_else_became_of_the_dataset() {
    for state in ["draft", "deleted"] {
        for private_dir in [json!({}), json!({ "private_dir": "{dir}/private" })] {
            let mut settings = private_dir;
            settings["deleted"] = json!("keep");
            let rig = Rig::set(settings, json!([resource(URL)]));
            rig.bench.web(URL).body(CSV);
            assert_eq!(rig.run(), done());
            rig.set_private(true);
            rig.edit(|dataset| dataset["state"] = json!(state));
            rig.run().unwrap();
            assert!(rig.below("public").is_empty(), "{state}");
        }
    }
}

#[test]
fn s22_a_dataset_that_ckan_finds_invalid_is_withdrawn_all_the_same() {
    let rig = Rig::set(json!({ "cache_url_root": "https://cache.example" }), json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    assert_eq!(rig.run(), done());
    rig.bench.ckan().fail("package_revise", Error::permanent("title: Missing value").with_code("ckan.validation"));
    rig.set_private(true);
    assert_eq!(rig.run(), skipped());
    assert!(rig.below("public").is_empty() && rig.bench.keys().is_empty());
}

#[cfg(unix)]
#[test]
fn s22_a_private_copy_is_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = Rig::set(json!({ "private_dir": "{dir}/private" }), json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    rig.set_private(true);
    assert_eq!(rig.run(), done());
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7;
    let private = rig.dir.path().join("private");
    assert_eq!(mode(private.clone()), 0);
    for file in rig.below("private") {
        assert_eq!(mode(private.join(file)), 0);
    }
}

#[test]
fn s22_copies_of_resources_that_left_a_dataset_go_when_it_becomes_private() {
    let mut rig = Rig::two();
    rig.reset(json!({ "deleted": "keep" }));
    assert_eq!(rig.run(), done());
    rig.edit(|dataset| drop(dataset["resources"].as_array_mut().unwrap().pop()));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.below("public").len(), 4);
    rig.set_private(true);
    assert_eq!(rig.run(), skipped());
    assert!(rig.below("public").is_empty());
}

#[test]
fn the_record_of_a_broken_link_says_that_its_dataset_is_private_now() {
    let rig = Rig::set(json!({ "private_dir": "{dir}/private" }), json!([resource(URL)]));
    rig.bench.web(URL).status(404);
    for private in [false, true, false] {
        rig.set_private(private);
        assert_eq!(rig.run(), done());
        rig.check_record(json!({ "private": private, "is_broken": true }));
    }
}

#[test]
fn links_of_private_datasets_are_looked_at_only_where_that_is_asked_for() {
    let mut rig = Rig::set(json!({ "mode": "check" }), json!([resource(URL)]));
    rig.bench.web(URL).body(CSV);
    rig.set_private(true);
    assert_eq!(rig.run(), skipped());
    assert!(rig.bench.fetched().is_empty());
    rig.reset(json!({ "mode": "check", "private": "yes" }));
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "private": true, "is_broken": false }));
}
