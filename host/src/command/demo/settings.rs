//! What the demo runs with: its own settings, and the plugin's file.

use std::path::Path;

use super::super::say;
use super::WORKER;
use super::trouble::Trouble;
use crate::catalog::{Catalog, Entry, Options, Refusal, places};
use crate::cli::Cli;
use crate::config::{Config, Request};
use crate::demo::{Sample, data};

/// The demo's own settings, and what the command line says about plugins and how work is done.
pub fn config(cli: &Cli, sample: &Sample, dir: &Path) -> Result<Config, Trouble> {
    let seconds = format!("{}s", data::FETCH_TIMEOUT.as_secs());
    let mut settings = vec![
        ("ckan.site_id".to_owned(), "demo".to_owned()),
        ("ckan.site_url".to_owned(), sample.portal.url()),
        ("ckan.api_key".to_owned(), data::TOKEN.to_owned()),
        ("amqp.url".to_owned(), format!("sqlite:{}", dir.join("queue.db").display())),
        ("queue.name".to_owned(), "demo.workerchain".to_owned()),
        ("queue.routing_key".to_owned(), "*".to_owned()),
        ("fetch.allow".to_owned(), "127.0.0.0/8, ::1".to_owned()),
        ("fetch.timeout".to_owned(), seconds),
        // It is our own server, and nobody else wants anything of it.
        ("fetch.host_concurrency".to_owned(), "1024".to_owned()),
        ("fetch.host_rate".to_owned(), "0".to_owned()),
        (format!("worker:{WORKER}.dir"), dir.join("archive").display().to_string()),
        (format!("worker:{WORKER}.bytes_max"), data::BYTES_MAX.to_string()),
    ];
    for flag in cli.request(Request::default()).flags {
        let is_taken = ["ckan.", "amqp.", "queue."].iter().any(|part| flag.key.starts_with(part));
        if is_taken || settings.iter().any(|(key, _)| *key == flag.key) {
            return Err(Trouble::NotForDemo(flag.flag));
        }
        settings.push((flag.key, flag.value));
    }
    Config::from_map(settings).map_err(Trouble::Settings)
}

/// The plugin's file.
pub fn plugin(config: &Config) -> Result<Entry, Trouble> {
    let options = Options { allow_insecure_dir: config.allow_insecure_plugin_dir };
    let catalog = Catalog::scan_places(&places(&config.plugin_dirs), options);
    for problem in catalog.problems() {
        if let Refusal::UnreadableDirectory { .. } = problem {
            say(&format!("warning: {problem}"));
        }
    }
    match catalog.find(WORKER) {
        Ok(entry) => Ok(entry.clone()),
        Err(Refusal::Unknown { searched, .. }) => Err(Trouble::NoPlugin { searched }),
        Err(refusal) => Err(Trouble::Refused(refusal)),
    }
}
