//! Hands the compiler's version and the target on to the manifest.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=CKAN_WORKER_RUSTC={version}");
    println!("cargo::rustc-env=CKAN_WORKER_TARGET={}", env::var("TARGET").unwrap_or_default());
}
