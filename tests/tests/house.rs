//! The rules of the house that a machine can check.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use worker_tests::places::workspace;

/// How many lines of code, without its tests, a file may have; and from where on it is said to be long.
const LINES_MAX: usize = 400;
const LINES_LONG: usize = 250;

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let source = workspace().join("host/src");
    let order = modules_in(&read(&source.join("lib.rs")));
    assert!(!order.is_empty(), "host/src/lib.rs names its modules");
    let mut wrong = Vec::new();
    for (place, module) in order.iter().enumerate() {
        for file in files_of_module(&source, module) {
            // Right below lib.rs, `super` is another word for `crate`.
            let is_top = file == source.join(format!("{module}.rs")) || file == source.join(module).join("mod.rs");
            let text = read(&file);
            let text = if is_top { text.replace("super::", "crate::") } else { text };
            for (line, used) in modules_used(&text) {
                let below = order.iter().position(|known| *known == used);
                // Names that are no modules are what lib.rs itself exports; that would be a way around the order.
                if below.is_none_or(|below| below < place) {
                    wrong.push(format!("{}:{line}: {module} uses crate::{used}", shown(&file)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "only what stands below a module in host/src/lib.rs may be used:\n{}", wrong.join("\n"));
}

#[test]
fn the_order_of_modules_is_read_as_rust_reads_it() {
    let text = "use crate::exit::Exit;\nuse crate::{retry, delivery::{Receipt, Delivery}, source as s};\n\
                // crate::app is above\nlet x = crate::guard::echo();\npub(crate) use crate::{\n    status,\n    lanes::*,\n};\n\
                #[cfg(test)]\nmod tests {\n    use crate::app;\n}\n";
    let used: Vec<_> = modules_used(text).into_iter().map(|(_, module)| module).collect();
    assert_eq!(used, ["exit", "retry", "delivery", "source", "guard", "status", "lanes"]);
    assert_eq!(modules_in("//! mod x;\npub mod app;\n\nmod retry;\npub(crate) mod exit;\n"), ["app", "retry", "exit"]);
}

#[test]
fn files_stay_short() {
    let mut too_long = Vec::new();
    for file in rust_files() {
        let lines = without_tests(&read(&file)).lines().count();
        if lines > LINES_MAX {
            too_long.push(format!("{}: {lines} lines", shown(&file)));
        } else if lines > LINES_LONG {
            println!("note: {} has {lines} lines and asks for a split", shown(&file));
        }
    }
    assert!(
        too_long.is_empty(),
        "more than {LINES_MAX} lines without tests; split where the halves have names:\n{}",
        too_long.join("\n")
    );
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in files_ending_with(".md") {
        for (line, target) in links_in(&read(&document)) {
            let path = target.split('#').next().unwrap_or_default();
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            let inside = path.is_empty() || elsewhere || is_rust_path(path);
            if !inside && !document.parent().unwrap().join(path).exists() {
                broken.push(format!("{}:{line}: {target}", shown(&document)));
            }
        }
    }
    assert!(broken.is_empty(), "links to files that do not exist:\n{}", broken.join("\n"));
}

#[test]
fn links_are_read_as_markdown_reads_them() {
    let text =
        "See [a](b.md#c) and ![d](e.png \"t\").\n[ref]: f/g.md\n```\n[not](code)\n```\n`[nor](this)` [x](<h i.md>)\n";
    let links: Vec<_> = links_in(text).into_iter().map(|(_, target)| target).collect();
    assert_eq!(links, ["b.md#c", "e.png", "f/g.md", "h i.md"]);
}

#[test]
fn cargo_run_has_one_binary_to_run_and_cargo_test_tests_every_crate() {
    let metadata = metadata();
    let ids = |key: &str| -> Vec<String> {
        metadata[key].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    let (mut members, mut default_members) = (ids("workspace_members"), ids("workspace_default_members"));
    let mut binaries = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        for target in package["targets"].as_array().unwrap() {
            let is_binary = target["kind"].as_array().unwrap().iter().any(|kind| kind == "bin");
            if is_binary && default_members.iter().any(|id| package["id"] == id.as_str()) {
                binaries.push(target["name"].as_str().unwrap());
            }
        }
    }
    assert_eq!(binaries, ["worker"], "binaries among the default-members");
    members.sort();
    default_members.sort();
    assert_eq!(members, default_members, "members and default-members in Cargo.toml");
}

#[test]
fn each_dependency_has_one_door() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let name = shown(&file);
        // The tests are outside: they look at the same things with their own eyes.
        if name.starts_with("tests/") || name.contains("/tests/") {
            continue;
        }
        for (number, line) in code_lines(&without_tests(&read(&file))) {
            for (library, doors) in DOORS {
                if names(&line, library) && !doors.iter().any(|door| is_behind(&name, door)) {
                    wrong.push(format!("{name}:{number}: {library} is only for {}", doors.join(", ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "a library with one door can be replaced in an afternoon:\n{}", wrong.join("\n"));
}

#[test]
fn a_door_is_a_file_or_the_module_of_that_name() {
    assert!(is_behind("host/src/source/amqp/session.rs", "host/src/source/amqp"));
    assert!(is_behind("host/src/source/amqp.rs", "host/src/source/amqp"));
    assert!(!is_behind("host/src/source/amqplike.rs", "host/src/source/amqp"));
    assert!(names("use lapin::Channel;", "lapin") && names("    #[from] lapin::Error,", "lapin"));
    assert!(!names("use crate::lapin_like;", "lapin") && !names("let clap = 1;", "clap"));
    let code: Vec<_> = code_lines("a // lapin::x\n/// lapin::y\nlet url = \"http://b\"; lapin::z\n");
    assert_eq!(code, [(1, "a ".to_owned()), (3, "let url = \"http://b\"; lapin::z".to_owned())]);
}

/// Which module is the door of which library.
const DOORS: &[(&str, &[&str])] = &[
    ("lapin", &["host/src/source/amqp"]),
    ("reqwest", &["host/src/services/http"]),
    ("clap", &["host/src/cli"]),
    ("abi_stable", &["plugin-api", "host/src/catalog/load", "host/src/catalog/layout", "host/src/services/ffi"]),
    ("rusqlite", &["host/src/store", "host/src/journal", "host/src/source/sqlite", "host/src/database"]),
];

fn is_behind(file: &str, door: &str) -> bool {
    file.strip_prefix(door).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// Whether a line of code names the crate `library`, as in `library::…` or `use library`.
fn names(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + library.len()..];
        let starts = before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_');
        let alone = line.trim_start().starts_with("use ") && (after.starts_with(';') || after.starts_with(" as "));
        starts && (after.starts_with("::") || alone)
    })
}

/// The modules that a `lib.rs` declares, in order.
fn modules_in(text: &str) -> Vec<String> {
    let declared = text.lines().filter_map(|line| {
        let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    });
    declared.collect()
}

/// The modules of the same crate that a file names, outside its tests, each with its line.
fn modules_used(text: &str) -> Vec<(usize, String)> {
    let text = without_tests(text);
    // Paths in braces go over lines: read the whole as one text, with comments blanked out.
    let mut code = vec![String::new(); text.lines().count()];
    for (number, line) in code_lines(&text) {
        code[number - 1] = line;
    }
    let code = code.join("\n");
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let whole_word =
            !code[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$');
        let line = code[..at].matches('\n').count() + 1;
        if whole_word {
            used.extend(first_names(&code[at + "crate::".len()..]).into_iter().map(|name| (line, name)));
        }
    }
    used
}

/// `a::b` gives `a`; `{a, b::{c, d}}` gives `a` and `b`.
fn first_names(path: &str) -> Vec<String> {
    let word =
        |text: &str| text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                names.push(word(group[start..at].trim_start()));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The lines that are not comments, numbered from 1, without what follows `//`.
fn code_lines(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate().filter_map(|(index, line)| {
        let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':')).map(|(at, _)| at);
        let code = &line[..comment.unwrap_or(line.len())];
        (!code.trim().is_empty()).then(|| (index + 1, code.to_owned()))
    });
    lines.collect()
}

/// A file up to its `#[cfg(test)] mod`.
fn without_tests(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].contains("mod "));
    lines[..end.unwrap_or(lines.len())].join("\n")
}

/// The targets of the links in a Markdown text, outside code, each with its line.
fn links_in(text: &str) -> Vec<(usize, String)> {
    let (mut links, mut in_code) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second piece between backticks is code.
        let prose: String = line.split('`').step_by(2).collect();
        if let Some((_, target)) = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            links.push((index + 1, target.trim().to_owned()));
        }
        for piece in prose.split("](").skip(1) {
            let target = match piece.strip_prefix('<') {
                Some(quoted) => quoted.split('>').next(),
                None => piece.split([')', ' ']).next(),
            };
            links.extend(target.map(|target| (index + 1, target.to_owned())));
        }
    }
    links
}

/// Links such as `[x](crate::Error)`, which rustdoc checks.
fn is_rust_path(path: &str) -> bool {
    path.contains("::")
        || (!path.contains(['.', '/'])
            && path.starts_with(|letter: char| letter.is_ascii_uppercase())
            && !path.starts_with("LICENSE"))
}

/// What `cargo metadata` says of the workspace.
fn metadata() -> serde_json::Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["metadata", "--no-deps", "--format-version=1"]).current_dir(workspace());
    let output = command.output().expect("cargo runs these tests");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn files_of_module(source: &Path, module: &str) -> Vec<PathBuf> {
    let single = source.join(format!("{module}.rs"));
    let mut files = Vec::new();
    collect(&source.join(module), &mut files);
    files.retain(|file| file.extension().is_some_and(|end| end == "rs"));
    files.extend(single.exists().then_some(single));
    files
}

fn rust_files() -> Vec<PathBuf> {
    files_ending_with(".rs")
}

/// The project's files of that kind; not what was built.
fn files_ending_with(ending: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(workspace(), &mut files);
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    assert!(!files.is_empty(), "the project has files ending with {ending}");
    files
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries: BTreeMap<_, _> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| (entry.file_name(), entry.path())).collect();
    for (name, path) in entries {
        let name = name.to_string_lossy();
        if path.is_dir() {
            // A target directory, by its tag, may have any name.
            if !name.starts_with('.') && name != "target" && !path.join("CACHEDIR.TAG").exists() {
                collect(&path, files);
            }
        } else {
            files.push(path);
        }
    }
}

fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
