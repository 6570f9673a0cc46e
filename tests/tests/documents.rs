//! Keeps the documents true, where a machine can tell.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;

use ckan_worker::cli::{Cli, Command};
use ckan_worker::config::{Config, Request};
use ckan_worker::notification;
use worker_tests::places::workspace;

/// The documents for those who run workers and those who write them.
const DOCUMENTS: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/configuration.md",
    "docs/delivery.md",
    "docs/plugins.md",
    "plugin-api/README.md",
    "plugins/archive/README.md",
    "plugins/qa/README.md",
    "plugins/webhook/README.md",
];

/// The workers that the documents speak of.
const WORKERS: [&str; 6] = ["archive", "echo", "hello", "qa", "webhook", "NAME"];

#[test]
fn every_command_in_the_documents_can_be_typed() {
    let mut typed = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let in_blocks = blocks(&text, "sh").into_iter().flat_map(|block| shell_lines(&block));
        for command in in_blocks.chain(code_spans(&text)) {
            let Some(arguments) = worker_arguments(&command) else { continue };
            match Cli::read(arguments) {
                Err(error) if error.exit_code() != 0 => panic!("{document}: `{command}` is refused: {error}"),
                Err(_) => {}
                Ok(cli) => check_workers(document, &command, &cli),
            }
            typed += 1;
        }
    }
    assert!(typed > 15, "only {typed} commands were found");
}

#[test]
fn every_flag_in_the_documents_is_in_the_help() {
    let help = help(&["--help"])
        + &help(&["check", "--help"])
        + &help(&["plugins", "inspect", "--help"])
        + &help(&["demo", "--help"])
        + &help(&["dead", "retry", "--help"])
        + &help(&["backfill", "--help"]);
    for document in DOCUMENTS {
        // What follows a program's name is that program's; only those that stand alone are the worker's.
        for flag in code_spans(&read(document)).iter().filter(|code| code.starts_with("--")) {
            let name = flag.split([' ', '=']).next().unwrap();
            assert!(help.contains(name), "{document}: {name} is in no help");
        }
    }
}

#[test]
fn the_exit_statuses_are_those_of_the_program() {
    let in_readme: Vec<String> = table_rows(&read("README.md"), "Exit status")
        .into_iter()
        .map(|row| format!("{:<5}{}", row[0], row[1]))
        .collect();
    let help = help(&["--help"]);
    let (_, in_help) = help.split_once("Exit status:\n").unwrap();
    let in_help: Vec<&str> = in_help.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(in_readme, in_help);

    let code = read("host/src/exit.rs");
    let in_code =
        code.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse::<u8>().ok());
    let in_help = in_help.iter().filter_map(|line| line.split(' ').next()?.parse::<u8>().ok());
    assert_eq!(in_code.collect::<Vec<_>>(), in_help.collect::<Vec<_>>());
}

#[test]
fn every_setting_in_the_documents_is_one() {
    let known = settings();
    for document in ["README.md", "docs/configuration.md", "docs/plugins.md"] {
        for row in table_rows(&read(document), "Setting") {
            let setting = row[0].trim_matches('`');
            assert!(known.contains(setting), "{document}: {setting} is not in worker.cfg.example");
        }
        for code in code_spans(&read(document)) {
            let name = code.split(" = ").next().unwrap();
            let is_setting =
                ["ckan.", "amqp.", "fetch.", "plugins.", "run."].iter().any(|start| name.starts_with(start))
                    && name.chars().all(|letter| letter.is_ascii_lowercase() || matches!(letter, '.' | '_'))
                    && name != "ckan.ini";
            let is_known = known.contains(name) || ckan_worker::config::keys::host(name).is_some();
            assert!(!is_setting || is_known, "{document}: {name} is not in worker.cfg.example");
        }
    }
}

#[test]
fn every_settings_file_in_the_documents_is_read_without_a_complaint() {
    let mut read_count = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let in_shell = blocks(&text, "sh").into_iter().filter_map(|block| here_document(&block));
        for settings in blocks(&text, "ini").into_iter().chain(in_shell) {
            let dir = tempfile::tempdir().unwrap();
            let (file, key) = (dir.path().join("worker.cfg"), dir.path().join("api-key"));
            fs::write(&key, "the-token-of-the-documents").unwrap();
            set_private(&key);
            // A piece of a file does not say where the queue is.
            let whole = if settings.contains("[worker]") {
                settings
            } else {
                format!("[worker]\namqp.url = sqlite:queue.db\n{settings}")
            };
            fs::write(&file, whole).unwrap();
            let environment = [("HOME".to_owned(), "/home/worker".to_owned())].into();
            match Config::load(&Request { file: Some(file), environment, ..Request::default() }) {
                Ok((_, findings)) if findings.is_empty() => read_count += 1,
                Ok((_, findings)) | Err(findings) => panic!("{document}:\n{}", findings.render(false)),
            }
        }
    }
    assert!(read_count >= 2, "only {read_count} settings files were found");
}

#[test]
fn the_published_shape_in_the_readme_is_a_notification() {
    let shapes = blocks(&read("README.md"), "json");
    assert_eq!(shapes.len(), 1);
    let body = shapes[0].trim().to_owned().into();
    let notification = notification::parse(&body, 1 << 20).unwrap();
    assert_eq!(notification.routing_key(), "Package");
    assert!(notification.entity_id().is_some());
}

#[test]
fn the_codes_of_refusals_are_those_of_the_program() {
    let documented: Vec<String> = table_rows(&read("docs/plugins.md"), "Code")
        .into_iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    let code = read("host/src/catalog/refusal.rs");
    let in_code: Vec<&str> = code.lines().filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\",")).collect();
    let in_code: Vec<&str> = in_code.into_iter().filter(|code| code.contains("::")).collect();
    assert_eq!(documented, in_code);
}

#[test]
fn the_map_shows_the_modules_of_the_host_in_their_order() {
    let on_the_map: Vec<String> = table_rows(&read("ARCHITECTURE.md"), "Module")
        .into_iter()
        .filter_map(|row| Some(row[0].strip_prefix('`')?.strip_suffix('`')?.to_owned()))
        .collect();
    let lib = read("host/src/lib.rs");
    let in_code: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(on_the_map, in_code, "ARCHITECTURE.md, \"The host's modules\", and host/src/lib.rs");
}

#[test]
fn markdown_is_read_as_its_readers_do() {
    let text = "# A\n`worker x` and `--y`\n\n```sh\nworker a   # why\ncat > f <<'END'\n[worker]\nEND\n```\n\n| Code | |\n| --- | --- |\n| `a.b` | c |\n\nd";
    assert_eq!(code_spans(text), ["worker x", "--y", "a.b"]);
    let block = blocks(text, "sh").remove(0);
    assert_eq!(shell_lines(&block), ["worker a"]);
    assert_eq!(here_document(&block).unwrap(), "[worker]\n");
    assert_eq!(table_rows(text, "Code"), [["`a.b`".to_owned(), "c".to_owned()]]);
    assert_eq!(worker_arguments("target/release/worker -c a b").unwrap(), ["worker", "-c", "a", "b"]);
    assert_eq!(worker_arguments("cargo run -- demo").unwrap(), ["worker", "demo"]);
    assert!(worker_arguments("cargo build").is_none());
}

fn read(document: &str) -> String {
    fs::read_to_string(workspace().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// What is no command is taken for a worker, a misspelt command too.
#[track_caller]
fn check_workers(document: &str, command: &str, cli: &Cli) {
    let checked = match &cli.command {
        Some(Command::Check { workers, .. }) => workers.as_slice(),
        _ => &[],
    };
    for worker in cli.workers.iter().chain(checked) {
        assert!(WORKERS.contains(&worker.as_str()), "{document}: `{command}` names no worker of the documents");
    }
}

/// What the program says when it is asked for help.
fn help(arguments: &[&str]) -> String {
    let arguments = std::iter::once("worker").chain(arguments.iter().copied()).map(OsString::from);
    Cli::read(arguments).unwrap_err().to_string()
}

/// The settings that `worker.cfg.example` explains.
fn settings() -> BTreeSet<String> {
    let example = read("worker.cfg.example");
    let names = example.lines().filter_map(|line| Some(line.strip_prefix('#')?.split_once(" = ")?.0.to_owned()));
    names.filter(|name| !name.contains(' ')).collect()
}

/// The code blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(words) = line.strip_prefix("```") {
            let block: String =
                lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
            if words == language {
                blocks.push(block);
            }
        }
    }
    blocks
}

/// What stands between backticks, outside code blocks.
fn code_spans(text: &str) -> Vec<String> {
    let mut in_block = false;
    let prose = text.lines().filter(|line| {
        in_block ^= line.starts_with("```");
        !in_block && !line.starts_with("```")
    });
    let prose = prose.collect::<Vec<_>>().join("\n");
    prose.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " ")).collect()
}

/// The commands of a shell block, without comments and here-documents.
fn shell_lines(block: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in block.lines() {
        if inside {
            inside = line != "END";
        } else {
            inside = line.contains("<<'END'");
            let command = line.split(" #").next().unwrap_or_default().trim();
            commands.extend((!inside && !command.is_empty()).then(|| command.to_owned()));
        }
    }
    commands
}

fn here_document(block: &str) -> Option<String> {
    let (_, behind) = block.split_once("<<'END'\n")?;
    behind.split_once("END\n").map(|(text, _)| text.to_owned())
}

/// The arguments of a command that runs the worker.
fn worker_arguments(command: &str) -> Option<Vec<OsString>> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let arguments = match words[..] {
        ["cargo", "run", "--", ref arguments @ ..] => arguments.to_vec(),
        [program, ref arguments @ ..] if program == "worker" || program.ends_with("/worker") => arguments.to_vec(),
        _ => return None,
    };
    let is_command = !arguments.is_empty();
    is_command.then(|| std::iter::once("worker").chain(arguments).map(OsString::from).collect())
}

/// The rows of the table whose first column is called `heading`, cell by cell.
fn table_rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with(&format!("| {heading} |")) {
            rows.extend(lines.by_ref().skip(1).take_while(|line| line.starts_with('|')).map(cells));
        }
    }
    assert!(!rows.is_empty() || heading == "Setting", "there is no table with the column {heading}");
    rows
}

fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(unix)]
fn set_private(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn set_private(_: &std::path::Path) {}
