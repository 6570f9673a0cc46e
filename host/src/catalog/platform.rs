//! What differs between systems: how plugin files are called and which target they are for. How they are opened, which
//! needs unsafe code, stands in `load`. Only Linux with glibc on x86-64 has been run; the rest is written by the book.

use std::env::consts::{ARCH, DLL_EXTENSION, OS};
use std::path::Path;

/// Whether a file of this name may be a plugin here: `*.so`, `*.dylib` on Apple's systems, `*.dll` on Windows.
pub fn is_library_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(DLL_EXTENSION))
}

/// The name that a plugin file's name suggests: `geo` for `libckan_worker_geo.so`. Only for files that do not say.
pub fn name_of_file(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_prefix("lib").unwrap_or(&stem);
    let stem = stem.strip_prefix("ckan_worker_").or_else(|| stem.strip_prefix("ckan-worker-")).unwrap_or(stem);
    stem.replace('_', "-")
}

/// What this worker was built for, as in `x86_64-unknown-linux-gnu`.
pub fn target() -> String {
    match OS {
        "linux" => format!("{ARCH}-unknown-linux-{}", if cfg!(target_env = "musl") { "musl" } else { "gnu" }),
        "macos" => format!("{ARCH}-apple-darwin"),
        "windows" => format!("{ARCH}-pc-windows-{}", if cfg!(target_env = "gnu") { "gnu" } else { "msvc" }),
        other => format!("{ARCH}-unknown-{other}"),
    }
}

/// Whether a plugin for the target `triple` can be loaded here: the same processor, system and C library.
pub fn is_our_target(triple: &str) -> bool {
    let ours = target();
    parts(triple) == parts(&ours)
}

/// Processor, system and C library of a target; the vendor does not matter.
fn parts(triple: &str) -> (&str, &str, &str) {
    let mut words = triple.split('-');
    let processor = match words.next().unwrap_or_default() {
        "i386" | "i586" | "i686" => "x86",
        "riscv64gc" => "riscv64",
        "arm64" => "aarch64",
        word if word.starts_with("arm") => "arm",
        word => word,
    };
    let system = words.nth(1).unwrap_or_default();
    // `gnueabihf` and the like: the processor has said the rest.
    let library = words.next().unwrap_or_default();
    let library = ["gnu", "musl", "msvc"].into_iter().find(|known| library.starts_with(known)).unwrap_or(library);
    (processor, system, library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_suggests_the_name_of_its_worker() {
        for (file, name) in [("libckan_worker_geo.so", "geo"), ("libmy_geo.so", "my-geo"), ("geo.dll", "geo")] {
            assert_eq!(name_of_file(Path::new(file)), name);
        }
    }

    #[test]
    fn a_target_is_ours_if_processor_system_and_c_library_are() {
        assert!(is_our_target(&target()));
        assert!(!is_our_target("sparc64-unknown-linux-gnu"));
        assert!(!is_our_target("x86_64-unknown-linux-uclibc"));
        assert_eq!(parts("armv7-unknown-linux-gnueabihf"), ("arm", "linux", "gnu"));
    }
}
