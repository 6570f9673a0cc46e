//! What strangers may try: the rows of the table of attacks that are this worker's to stop.

use std::time::Duration;

use super::*;

/// Runs the worker on a resource with this address, which serves a file.
fn after(url: &str) -> Rig {
    let rig = Rig::new(json!([resource(url)]));
    rig.bench.web(url).body(CSV);
    assert_eq!(rig.run(), done());
    rig
}

#[test]
fn s09_a_file_beyond_the_limit_is_cut_off_whatever_its_server_says() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body("x".repeat(5000));
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 21, "is_broken": null, "over_limit": 1000, "hash": null }));
    assert_eq!(rig.files(), ["archive.json"]);
}

#[test]
fn s12_no_address_leads_out_of_the_resources_directory() {
    let long = "x".repeat(300);
    for end in [
        "..",
        ".",
        "",
        "%2e%2e%2f",
        "..%2f..%2fx",
        "..%5c..%5cx",
        "..\\x",
        "a%00b",
        ".htaccess",
        "index.html",
        "archive.json",
        "a.csv.",
        "a.csv%20",
        "%E2%80%AEfdp.exe",
        "%D0%B0%D0%B1",
        "-rf",
        "CON",
        "nul.csv",
        "web.config",
        ".incoming",
        &long,
    ] {
        let url = format!("http://data.example/{end}");
        let rig = after(&url);
        let mut files = rig.files();
        files.retain(|name| name != "archive.json");
        let [name] = files.as_slice() else { panic!("{end}: {files:?}") };
        assert!(name.len() <= 200 && !name.starts_with('.') && !name.ends_with('.'), "{end}: {name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{end}: {name}");
        assert!(name != "index.html" && name != "web.config" && name != "CON", "{end}: {name}");
        let above = |levels: usize| fs::read_dir(rig.place().ancestors().nth(levels).unwrap()).unwrap().count();
        assert_eq!((above(1), above(2)), (1, 1), "{end}");
        rig.check_record(json!({ "status_id": 0 }));
    }
}

#[cfg(unix)]
mod links {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn s12_a_link_in_the_place_of_a_directory_is_not_followed() {
        for level in [0, 1] {
            let rig = Rig::new(json!([resource(URL)]));
            rig.bench.web(URL).body(CSV);
            let (place, outside) = (rig.place(), rig.dir.path().join("outside"));
            let link = place.ancestors().nth(level).unwrap();
            fs::create_dir_all(&outside).unwrap();
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(&outside, link).unwrap();
            let error = rig.run().unwrap_err();
            assert!(error.message().contains("is a symbolic link"), "{error}");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        }
    }

    #[test]
    fn s12_a_link_in_the_place_of_a_copy_is_replaced_and_what_it_points_to_is_untouched() {
        let rig = after(URL);
        let secret = rig.dir.path().join("secret");
        for name in ["trees.csv", ".incoming"] {
            fs::write(&secret, "secret").unwrap();
            let _ = fs::remove_file(rig.place().join(name));
            symlink(&secret, rig.place().join(name)).unwrap();
            assert!(rig.run().is_ok());
            rig.come_due();
            assert_eq!(rig.run(), done(), "{name}");
            assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
            assert!(!fs::symlink_metadata(rig.place().join("trees.csv")).unwrap().is_symlink());
        }
        assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
    }

    #[test]
    fn s12_a_link_in_the_place_of_the_record_is_not_read() {
        let rig = after(URL);
        let foreign = rig.dir.path().join("foreign.json");
        let mut record = rig.record_file();
        record["updated"] = json!("2999-01-01T00:00:00Z");
        record["reason"] = json!("from elsewhere");
        fs::write(&foreign, record.to_string()).unwrap();
        fs::remove_file(rig.place().join("archive.json")).unwrap();
        symlink(&foreign, rig.place().join("archive.json")).unwrap();
        let error = rig.run().unwrap_err();
        assert_eq!(error.code(), "archive.disk");
        rig.check_record(json!({ "reason": "" }));
    }
}

#[test]
fn s16_user_names_passwords_and_tokens_are_written_nowhere() {
    let secrets = ["canary-user", "canary-pass", "canary-token", "canary-signature"];
    let url = "http://canary-user:canary-pass@data.example/a.csv?token=canary-token&X-Amz-Signature=canary-signature";
    for broken in [false, true] {
        let rig = Rig::new(json!([resource(url)]));
        let target = "http://canary-user:canary-pass@new.example/b.csv?sig=canary-signature";
        rig.bench.web(url).redirect(target, true);
        rig.bench.web(target).body(CSV).status(if broken { 403 } else { 200 });
        assert_eq!(rig.run(), done());
        let written = format!("{:?} {:#} {:?}", rig.bench.log(), rig.record(), rig.bench.writes());
        for text in [written, fs::read_to_string(rig.place().join("archive.json")).unwrap()] {
            for secret in secrets {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
            assert!(text.contains("data.example/a.csv") && text.contains("new.example/b.csv"));
        }
    }
}

#[test]
fn s17_control_characters_and_markup_stay_one_line_of_text() {
    let evil = "no\r\nSet-Cookie: a=b\u{1b}[31m\u{202e}\0 <script>alert(1)</script>";
    let rig = Rig::new(json!([resource("http://data.example/a\r\nX: y\u{7}")]));
    rig.set_resource("name", json!(evil));
    rig.set_resource("format", json!(evil));
    rig.bench.web("http://data.example/a\r\nX: y\u{7}").fails(Error::retryable(evil.repeat(30)).with_code("fetch.tls"));
    assert_eq!(rig.run(), done());
    let is_plain = |text: &str| !text.chars().any(|letter| letter.is_control() || letter == '\u{202e}');
    let reason = rig.record()["reason"].as_str().unwrap().to_owned();
    assert!(is_plain(&reason) && reason.chars().count() <= 500, "{reason:?}");
    for line in rig.bench.log() {
        assert!(is_plain(&line.message), "{:?}", line.message);
        assert!(line.fields.values().all(|value| is_plain(value)), "{:?}", line.fields);
    }
}

#[test]
fn s17_what_a_page_calls_itself_is_text_in_the_reason() {
    let rig = Rig::new(json!([resource(URL)]));
    let title = format!("404 \u{7}\r\n{}", "x".repeat(900));
    rig.bench.web(URL).body(format!("<html><title>{title}</title></html>"));
    assert_eq!(rig.run(), done());
    let reason = rig.record()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("an HTML page came in the place of a CSV file: \"404"), "{reason}");
    assert!(reason.chars().count() < 160 && !reason.contains(char::is_control), "{reason:?}");
}

#[test]
fn s21_a_wait_of_years_is_cut_to_a_day() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).status(503).retry_after(Duration::from_secs(1_000_000_000));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.rechecks()[PACKAGE_ID], Duration::from_secs(24 * 3600));
}

#[test]
fn s23_an_id_in_a_notification_is_only_a_word() {
    let rig = after(URL);
    let mut payload =
        json!({ "id": "another-dataset", "resources": [{ "id": RESOURCE_ID }, { "id": "../../x" }, { "id": null }] });
    for _ in 0..2 {
        let event = Event::new("Package", "deleted", payload.to_string());
        let outcome = rig.bench.consume(&rig.archive, event);
        assert_eq!(outcome, Ok(Outcome::skipped("the dataset does not exist (any more)")));
        assert_eq!(rig.files().len(), 2);
        payload["resources"] = json!("what is this");
    }
}
