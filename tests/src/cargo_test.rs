//! The `cargo test` that this process belongs to, and what is left out of it.

use std::path::Path;

/// The pid of the process whose end is the end of the run: cargo's, if it started us.
pub fn owner() -> u32 {
    let parent = std::os::unix::process::parent_id();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    if name.starts_with("cargo") { parent } else { std::process::id() }
}

/// Removes what earlier runs, which have ended, left for reading.
pub fn sweep(scratch: &Path) {
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        if entry.path().join("ended").exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether the variable leaves out the tests that need `what`; says so where libtest cannot swallow it.
pub fn left_out(variable: &str, what: &str) -> bool {
    let left_out = std::env::var(variable).is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
    if left_out {
        let name = std::thread::current().name().unwrap_or("a test").to_uppercase();
        crate::say(&format!("LEFT OUT, NOT TESTED: {name} NEEDS {what} ({variable} IS SET)"));
    }
    left_out
}
