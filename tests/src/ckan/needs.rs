//! What CKAN needs of the system.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::debian::Need;

/// The Debian packages.
pub const NEEDS: [Need; 8] = [
    Need { package: "postgresql", is_there: || postgres_bin().is_some() },
    Need { package: "redis-server", is_there: || in_path("redis-server") },
    Need { package: "python3", is_there: || python().is_some() },
    Need { package: "python3-venv", is_there: || python().is_some_and(|python| answers_yes(&python, VENV)) },
    // What follows is for psycopg2, which PyPI has only as source.
    Need { package: "python3-dev", is_there: || python().is_some_and(|python| answers_yes(&python, HEADERS)) },
    Need { package: "libpq-dev", is_there: || Path::new("/usr/include/postgresql/libpq-fe.h").exists() },
    Need { package: "gcc", is_there: || in_path("gcc") },
    Need { package: "libmagic1", is_there: has_libmagic },
];

const VENV: &str = "import ensurepip, venv";
const HEADERS: &str =
    "import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))";

/// Where the newest PostgreSQL has its programs.
pub fn postgres_bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let newest = versions
        .filter(|entry| entry.path().join("bin/initdb").exists())
        .max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0))?;
    Some(newest.path().join("bin"))
}

/// A Python of the system's that CKAN runs on: one for which Debian has what is missing.
pub fn python() -> Option<PathBuf> {
    let named = ["", ".13", ".12", ".11", ".10", ".9"].map(|minor| PathBuf::from(format!("/usr/bin/python3{minor}")));
    named.into_iter().find(|python| {
        python.exists() && answers_yes(python, "import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 13))")
    })
}

fn answers_yes(python: &Path, script: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

fn has_libmagic() -> bool {
    let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    libraries.into_iter().any(|entry| entry.path().join("libmagic.so.1").exists())
}
