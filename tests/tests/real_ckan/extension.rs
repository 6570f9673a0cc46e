//! The extension of this checkout, in a CKAN: that it is there, and its own tests.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use worker_tests::Broker;
use worker_tests::ckan::{self, Ckan, Site};
use worker_tests::places::workspace;

/// How long the extension's own tests may take; two minutes are usual on two idle cores.
const PYTEST_MAX: Duration = Duration::from_secs(900);

/// The classes and operations that the outbox holds, sorted.
fn told(site: &Site) -> Vec<String> {
    let outbox = site.call("worker_outbox_poll", &json!({}));
    let messages = outbox["messages"].as_array().unwrap().iter().map(|message| {
        let body = match &message["body"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            body => body.clone(),
        };
        format!("{} {}", body["routing_key"].as_str().unwrap(), body["operation"].as_str().unwrap())
    });
    let mut messages: Vec<_> = messages.collect();
    messages.sort();
    messages
}

#[test]
fn a_site_has_the_plugin_of_this_checkout_with_its_tables_and_its_relay() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let (site, other) = (ckan.site("plugin").plugin("worker").start(), ckan.site("other").plugin("worker").start());
        assert_eq!(told(&site), Vec::<String>::new(), "{version}");
        site.call("package_create", &json!({"name": "trees", "owner_org": "test-org"}));
        assert_eq!(told(&site), ["Package new"], "{version}");
        assert_eq!(told(&other), Vec::<String>::new(), "{version}");
        let refused = site.call_as(site.editor_token(), "worker_outbox_poll", &json!({})).unwrap_err();
        assert_eq!(refused.0, 403, "{version}");

        let help = site.ckan(&["worker", "relay", "--help"]);
        assert!(help.status.success(), "{version}: {help:?}");
        let pika = Command::new(site.venv().join("bin/python")).args(["-c", "import pika"]).status().unwrap();
        assert!(pika.success(), "{version}: what the relay needs is installed");
    }
}

#[test]
fn the_extensions_own_tests_pass() {
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        let site = ckan.site("pytest").plugin("worker").start();
        let vhost = Broker::shared().map(|broker| broker.vhost("pytest"));
        let mut pytest = site.command("pytest");
        // Nothing of it is left in the checkout.
        pytest.args(["-p", "no:cacheprovider"]).current_dir(workspace().join("ckanext"));
        pytest.env("PYTHONDONTWRITEBYTECODE", "1");
        pytest.env("CKAN_INI", site.ini()).env("CKAN_URL", site.url()).env("CKAN_API_TOKEN", site.token());
        if let Some(vhost) = &vhost {
            pytest.env("CKAN_WORKER_TEST_AMQP_URL", vhost.url());
        }
        let (status, output) = site.run(pytest, PYTEST_MAX);
        assert!(status.success(), "{version}:\n{output}");
        let summary = output.lines().last().unwrap_or_default();
        worker_tests::say(&format!(
            "the extension's own tests on CKAN {version}: {}",
            summary.trim_matches([' ', '='])
        ));
        assert!(vhost.is_none() || !summary.contains("skipped"), "{version}: nothing is left out\n{output}");
    }
}
