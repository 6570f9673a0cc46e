//! The section `[worker:archive]`.

use super::*;

#[track_caller]
fn check(settings: Value, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let settings = with_dir(&settings, &dir);
    let refusal = Bench::default().create::<Archive>(settings.clone()).err();
    assert_eq!(refusal.map(|error| error.message().to_owned()).as_deref().unwrap_or_default(), expected, "{settings}");
}

#[test]
fn a_worker_without_a_directory_is_not_made() {
    let missing = Bench::default().create::<Archive>(json!({})).err().unwrap();
    assert_eq!(missing.message(), "dir: this setting is missing; only `mode = check` needs none");
    check(json!({ "byte_max": "1" }), "byte_max: unknown setting (a similar setting exists: bytes_max)");
}

#[test]
fn the_spellings_of_ckanext_archiver_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    let settings = json!({
        "ckanext-archiver.archive_dir": kept, "ckanext-archiver.cache_url_root": "http://h/cache",
        "ckanext-archiver.max_content_length": "50000000", "ckanext-archiver.verify_https": "true",
        "ckanext-archiver.archive_cloud": "false",
    });
    let archive = Bench::default().create::<Archive>(settings).unwrap();
    let place = archive.rooms.public.as_ref().and_then(|room| room.place(RESOURCE_ID)).unwrap();
    assert!(place.path("a").starts_with(&kept) && !kept.exists(), "it is made when there is something to keep");
    assert_eq!(archive.policy.bytes_max, 50_000_000);
    assert_eq!(archive.policy.cache_url_root.as_deref(), Some("http://h/cache"));
}

#[test]
fn what_is_the_hosts_to_set_is_refused_with_the_place_where_it_is_set() {
    check(
        json!({ "ckanext-archiver.user_agent_string": "me" }),
        "ckanext-archiver.user_agent_string: the host sends the requests: set `fetch.user_agent` in the section \
         [worker] instead",
    );
    check(
        json!({ "ckanext-archiver.verify_https": "no" }),
        "ckanext-archiver.verify_https: the host sends the requests, and always verifies certificates: remove this \
         setting; the reason of a broken link says what is wrong with a certificate",
    );
}

#[test]
fn private_copies_need_a_directory_of_their_own() {
    let apart = "private_dir: it must be apart from `dir`, which is for everybody to read";
    check(json!({ "private_dir": "{dir}/public" }), apart);
    check(json!({ "private_dir": "{dir}/public/private" }), apart);
    check(json!({ "private_dir": "{dir}" }), apart);
    check(json!({ "private_dir": "{dir}/private" }), "");
    check(
        json!({ "private": "yes" }),
        "private: the copies of private datasets need a directory of their own: set `private_dir`, which no web server \
         may serve to everybody",
    );
}

#[test]
fn a_word_that_is_none_of_the_choices_is_refused_with_them() {
    check(json!({ "mode": "look" }), "mode: expected one of archive, check, got \"look\"");
    check(json!({ "uploads": "no" }), "uploads: expected one of skip, check, archive, got \"no\"");
    check(json!({ "deleted": "yes" }), "deleted: expected one of remove, keep, got \"yes\"");
    check(json!({ "hash": "md5" }), "hash: expected one of sha256, sha1, got \"md5\"");
}

#[test]
fn the_shortest_file_is_a_setting() {
    let rig = Rig::set(json!({ "bytes_min": "2" }), json!([resource(URL)]));
    rig.bench.web(URL).body("x");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 12, "reason": "Content-length after streaming was 1" }));
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body("x");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 0, "reason": "it is only 1 byte long" }));
}

/// The rows of the table of settings in the README: the setting and its default, if it has one.
fn documented() -> Vec<(String, Option<String>)> {
    let (_, table) = include_str!("../../README.md").split_once("## Settings").unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with("| `"));
    let plain = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (plain(cells[1]), Some(plain(cells[2])).filter(|preset| !preset.is_empty()))
    })
    .collect()
}

#[test]
fn the_readme_names_every_setting() {
    let refusal = Bench::default().create::<Archive>(json!({ "no-such-setting-at-all": "1" })).err().unwrap();
    let (_, known) = refusal.message().split_once("it knows: ").unwrap();
    let mut known: Vec<&str> = known.trim_end_matches(')').split(", ").collect();
    known.retain(|name| !name.starts_with("ckanext-archiver."));
    let documented = documented();
    let mut documented: Vec<&str> = documented.iter().map(|(name, _)| name.as_str()).collect();
    known.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, known);
}

#[test]
fn the_readme_names_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let shown = |settings: Value| {
        let archive = Bench::default().create::<Archive>(settings).unwrap();
        format!("{:?}", archive.policy)
    };
    let bare = json!({ "dir": dir.path() });
    let presets: Vec<(String, String)> =
        documented().into_iter().filter_map(|(name, preset)| Some((name, preset?))).collect();
    assert_eq!(presets.len(), 6);
    for (name, preset) in presets {
        let mut settings = bare.clone();
        settings[&name] = json!(preset);
        assert_eq!(shown(settings), shown(bare.clone()), "{name} = {preset}");
    }
}
