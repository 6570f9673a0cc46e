//! The section `[worker:webhook]`.

use std::fs;

use crate::target::Targets;

use super::*;

#[track_caller]
fn refused(targets: &str, expected: &str) {
    assert_eq!(Targets::read(targets).unwrap_err(), expected);
}

#[track_caller]
fn not_created(settings: Value, expected: &str) {
    let error = Bench::default().create::<Webhook>(settings).err().unwrap();
    assert_eq!((error.message(), error.code()), (expected, "settings"));
}

#[test]
fn a_wrong_line_is_named_and_what_was_expected() {
    refused("", "expected at least one line `NAME URL option=value …`, got none");
    refused(
        "\n a http://h/\n b",
        "target 2 (b): expected an http or https address after the name, or `url_file=PATH`, got neither",
    );
    refused("a http://h url_file=/f", "target 1 (a): expected an address or `url_file=PATH`, got both");
    refused("a http://h\na http://h", "target 2 (a): another target has this name");
    refused("a http://h words", "target 1 (a): expected `option=value` after the address, got a word without `=`");
    refused("a http://h private=maybe", "target 1 (a): expected yes or no for `private`, got \"maybe\"");
    refused("a http://h private=", "target 1 (a): `private` has no value");
    refused("a http://h private=no private=yes", "target 1 (a): `private` stands there twice");
    refused(
        "a http://h operations=new,,changed",
        "target 1 (a): expected words with single commas between them for `operations`, got \"new,,changed\"",
    );
    refused(
        "a http://h format=xml",
        "target 1 (a): expected one of cloudevents, binary, slack, teams for `format`, got \"xml\"",
    );
    refused(
        "a http://h key=x",
        "target 1 (a): `key` is no option; there are url_file, secret_file, routing_keys, operations, organizations, \
         private, plugin_data, format",
    );
    refused(
        "http://h/x a",
        "target 1: expected a name of letters, digits, `-`, `_` and `.`, at most 64, first in the line",
    );
    let many: Vec<String> = (0..101).map(|number| format!("t{number} http://h")).collect();
    refused(&many.join("\n"), "expected at most 100 targets, got 101");
}

#[test]
fn s16_an_address_with_a_password_is_refused_and_not_repeated() {
    let scheme = "target 1 (a): expected an address that begins with http:// or https://";
    for (url, expected) in [
        (
            "http://me:canary@h/",
            "target 1 (a): expected an address without user name and password: posts are signed instead",
        ),
        (
            "http://canary@h/",
            "target 1 (a): expected an address without user name and password: posts are signed instead",
        ),
        ("ftp://h/canary", scheme),
        ("file:///canary", scheme),
        ("http://:80canary", "target 1 (a): the address cannot be read: empty host"),
    ] {
        refused(&format!("a {url}"), expected);
    }
}

#[test]
fn s16_a_secret_in_a_line_is_refused_and_not_repeated() {
    let expected = "target 1 (a): this setting is shown, so no secret stands in it: write `secret_file=PATH` instead";
    refused("a http://h secret=canary-secret", expected);
    let options = "url_file, secret_file, routing_keys, operations, organizations, private, plugin_data, format";
    refused("a http://h Y2FuYXJ5=", "target 1 (a): a word with `=` in it has no value");
    refused("a http://h Y2FuYXJ5==", &format!("target 1 (a): a word with `=` in it is no option; there are {options}"));
}

#[test]
fn s17_control_characters_are_refused() {
    for targets in ["a\u{1b} http://h", "a http://h\u{0}/x", "a http://h organizations=a\u{7f}"] {
        let error = Targets::read(targets).unwrap_err();
        assert!(error.ends_with(": there is a control character in this line"), "{error}");
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
    not_created(
        json!({ "source": "a\r\nb", "targets": "a http://h" }),
        "source: expected an address such as https://data.example, without white space",
    );
}

#[test]
fn what_is_wrong_with_the_targets_is_reported_with_the_setting() {
    let error = Bench::default().create::<Webhook>(json!({ "source": "x", "targets": "a b" })).err().unwrap();
    let detail: Value = serde_json::from_str(error.detail()).unwrap();
    assert_eq!(detail["settings"][0]["key"], "targets");
    not_created(json!({ "targets": "a http://h" }), "source: this setting is missing");
    not_created(json!({ "source": "x" }), "targets: this setting is missing");
    let unknown = "target: unknown setting (a similar setting exists: targets)";
    not_created(json!({ "source": "x", "target": "a http://h" }), unknown);
}

#[test]
fn wrong_secrets_and_times_are_refused() {
    let with = |key: &str, value: Value| {
        let mut settings = json!({ "source": "x", "targets": "a http://h" });
        settings[key] = value;
        settings
    };
    let short = "secret: a secret is shorter than 16 bytes; make one with `openssl rand -base64 32`";
    not_created(with("secret", json!("canary")), short);
    not_created(with("timeout_seconds", json!("0")), "timeout_seconds: expected 1 to 300 seconds, got 0");
    let mut both = with("secret", json!(SECRET));
    both["secret_file"] = json!("/f");
    not_created(both, "secret: expected this or `secret_file`, got both");
    let error = Bench::default().create::<Webhook>(with("secret_file", json!("/no/such/file"))).err().unwrap();
    assert!(error.message().starts_with("secret_file: cannot read /no/such/file: "), "{error}");
}

#[test]
fn addresses_and_secrets_may_stand_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let (url, secret) = (file("url", &format!("{ONE}\n")), file("secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n"));
    let bench = Bench::default();
    bench.web(ONE).status(200);
    let targets = format!("one url_file={url} secret_file={secret}");
    let webhook: Webhook = bench.create(json!({ "source": "x", "targets": targets })).unwrap();
    assert_eq!(bench.consume(&webhook, published()), done());
    let sent = bench.sent().remove(0);
    let headers = headers(&sent);
    let time = headers["webhook-timestamp"].parse().unwrap();
    let expected = crate::signature::Secrets::read("0123456789abcdef").unwrap();
    assert_eq!(headers["webhook-signature"], expected.sign(&headers["webhook-id"], time, &sent.body).unwrap());

    for (text, reason) in [
        ("http://h/a\nhttp://h/b", "there is white space or a control character in the address"),
        ("", "the address cannot be read: relative URL without a base"),
        ("ftp://canary", "expected an address that begins with http:// or https://"),
    ] {
        let wrong = file("wrong", text);
        let settings = json!({ "source": "x", "targets": format!("one url_file={wrong}") });
        not_created(settings, &format!("targets: one: {wrong}: {reason}"));
    }
}

#[test]
fn a_target_shows_neither_its_address_nor_a_secret() {
    let targets = Targets::read("one http://h/canary secret_file=/etc/x").unwrap();
    let shown = format!("{targets:?}");
    assert!(shown.contains("one") && !shown.contains("canary"), "{shown}");
    let settings: crate::Settings =
        serde_json::from_value(json!({ "source": "x", "targets": "a http://h/canary", "secret": SECRET })).unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn without_a_secret_a_post_is_not_signed() {
    let bench = Bench::default();
    bench.web(ONE).status(200);
    let webhook: Webhook = bench.create(json!({ "source": "x", "targets": format!("one {ONE}") })).unwrap();
    assert_eq!(bench.consume(&webhook, published()), done());
    assert!(!headers(&bench.sent()[0]).contains_key("webhook-signature"));
}
