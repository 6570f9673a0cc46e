//! The command line, from outside.

use std::ffi::OsString;
use std::path::Path;

use ckan_worker::Config;
use ckan_worker::cli::{Cli, is_command};
use ckan_worker::config::Request;
use clap::CommandFactory;

fn read(line: &str) -> Result<Cli, clap::Error> {
    Cli::read(line.split(' ').map(OsString::from))
}

/// What a line asks for: workers, or a command.
fn asks(line: &str) -> String {
    match read(line) {
        Ok(cli) => match cli.command {
            Some(command) => format!("command {command:?}"),
            None => format!("workers {:?}", cli.workers),
        },
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{error}");
            error.to_string().lines().next().unwrap_or_default().to_owned()
        }
    }
}

#[test]
fn the_lines_of_2011_ask_for_what_they_asked_for_then() {
    assert_eq!(asks("worker -c config.cfg archive"), r#"workers ["archive"]"#);
    assert_eq!(asks("worker archive -c w.cfg"), r#"workers ["archive"]"#);
    let line = "worker -c f -s app:main -q Q -r Resource -a amqp://h -i site -u http://h -k KEY archive echo";
    assert_eq!(asks(line), r#"workers ["archive", "echo"]"#);
    let request = read(line).unwrap().request(Request::default());
    assert_eq!(request.section.as_deref(), Some("app:main"));
    let flags: Vec<_> = request.flags.iter().map(|flag| format!("{}={}", flag.key, flag.value)).collect();
    assert_eq!(
        flags,
        [
            "queue.name=Q",
            "queue.routing_key=Resource",
            "amqp.url=amqp://h",
            "ckan.site_id=site",
            "ckan.site_url=http://h",
            "ckan.api_key=KEY"
        ]
    );
}

#[test]
fn flags_become_settings() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("w.cfg");
    std::fs::write(&file, "[worker]\nconcurrency = 9\nqueue.name = file\n").unwrap();
    let line = format!(
        "worker -c {} -q Q -j 3 -p a -p b -a sqlite:q.db -i site -u http://localhost:5000 --set worker:archive.dir=/srv \
         --set queue.create=no archive",
        file.display()
    );
    let request = read(&line).unwrap().request(Request::default());
    let (config, findings) = Config::load(&request).unwrap();
    assert_eq!((config.queue.name.as_str(), config.run.concurrency, config.queue.create), ("Q", 3, false));
    assert_eq!(config.plugin_dirs, [Path::new("a"), Path::new("b")]);
    assert_eq!((config.queue.address.to_string().as_str(), config.site_id.as_str()), ("sqlite:q.db", "site"));
    assert_eq!(config.workers["archive"].settings["dir"], "/srv");
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["config::replaced"]);
}

#[test]
fn commands_take_the_flags_on_either_side() {
    assert_eq!(asks("worker check -c f --offline archive"), r#"command Check { offline: true, workers: ["archive"] }"#);
    assert_eq!(asks("worker -c f check"), "command Check { offline: false, workers: [] }");
    assert_eq!(asks("worker plugins list --format json"), "command Plugins { command: List }");
    assert_eq!(
        asks("worker plugins inspect a.so"),
        r#"command Plugins { command: Inspect { file: "a.so", abi: false } }"#
    );
    assert_eq!(asks("worker send -"), r#"command Send { file: "-" }"#);
    assert_eq!(asks("worker demo --once"), "command Demo { once: true }");
}

#[test]
fn a_mixture_of_workers_and_a_command_is_refused() {
    let refused =
        r#"error: "archive" is taken for a worker and "check" for a command: either workers run or a command does"#;
    assert_eq!(asks("worker archive check"), refused);
    assert_eq!(asks("worker archive echo check"), refused);
    assert_eq!(
        asks("worker --until-empty check"),
        r#"error: --until-empty is for running workers; the command "check" runs none"#
    );
}

#[test]
fn a_worker_is_named_once_and_not_like_a_command_to_come() {
    assert_eq!(
        asks("worker echo archive echo"),
        r#"error: worker "echo" is named twice; each runs once on every notification"#
    );
    assert_eq!(
        asks("worker archive status"),
        r#"error: "status" is the name of a command that this version does not have"#
    );
    assert_eq!(asks("worker -- status"), r#"workers ["status"]"#);
}

#[test]
fn a_worker_that_is_called_like_a_command_runs_behind_two_dashes() {
    assert_eq!(asks("worker -- check"), r#"workers ["check"]"#);
    assert_eq!(asks("worker -- archive check"), r#"workers ["archive", "check"]"#);
    assert!(is_command("check") && is_command("help") && !is_command("archive"));
}

#[test]
fn a_wrong_command_line_ends_with_status_2_and_a_reason() {
    assert_eq!(asks("worker --frob archive"), "error: unexpected argument '--frob' found");
    assert_eq!(
        asks("worker --set x archive"),
        "error: invalid value 'x' for '--set <KEY=VALUE>': expected KEY=VALUE, as in queue.name=try"
    );
    assert_eq!(asks("worker send"), "error: the following required arguments were not provided:");
}

#[test]
fn the_token_on_the_command_line_is_not_shown_by_debug() {
    let cli = read("worker -k hunter2 --set ckan.api_key=hunter3 archive").unwrap();
    let shown = format!("{cli:?}");
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_is_the_one_in_the_golden_file() {
    let mut command = Cli::command();
    let text = format!("{}\n---\n{}", command.render_help(), command.render_long_help());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/help.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(text == golden, "the help differs from {path}; UPDATE_GOLDEN=1 writes it anew:\n{text}");
}
