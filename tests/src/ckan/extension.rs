//! The extension of this checkout, installed into an environment.

use std::fs;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use crate::{places, sha256};

/// The plugin that the checkout brings.
pub const PLUGIN: &str = "worker";

/// Its package.
const PACKAGE: &str = "ckanext-worker";

/// Installs it, with what its relay needs, unless it is there as it is in the checkout; answers a mark of its state.
///
/// # Errors
/// What pip complains of.
pub fn ensure(environment: &Environment) -> Result<String, String> {
    let source = places::workspace().join("ckanext");
    if !source.join("pyproject.toml").exists() {
        return Err(format!("the plugin {PLUGIN} is expected in {}, which is not there", source.display()));
    }
    let files = files_below(&source).map_err(|error| format!("{}: {error}", source.display()))?;
    let mark = sum(&source, &files).map_err(|error| format!("{}: {error}", source.display()))?;
    let _lock = environment.lock();
    let installed = environment.dir.join("extension");
    if fs::read_to_string(&installed).is_ok_and(|old| old == mark) {
        return Ok(mark);
    }
    crate::say(&format!("installing {PACKAGE} for CKAN {}", environment.version));
    // From a copy: setuptools leaves litter where it builds.
    let copy = environment.dir.join("extension-source");
    copy_files(&source, &files, &copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    let _ = fs::remove_file(&installed);
    environment.pip(&["--no-deps", "--force-reinstall", "--no-build-isolation", &copy.to_string_lossy()])?;
    environment.pip(&[&format!("{PACKAGE}[relay]")])?;
    fs::write(&installed, &mark).map_err(|error| format!("{}: {error}", installed.display()))?;
    Ok(mark)
}

/// The files that make the package, in order, below `dir` and by their way from there.
fn files_below(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(dir.join(&place))? {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let is_litter = text.starts_with('.') || text == "__pycache__" || text == "build" || text == "dist";
            if is_litter || text.ends_with(".egg-info") {
                continue;
            }
            let path = place.join(&name);
            if entry.file_type()?.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

fn sum(source: &Path, files: &[PathBuf]) -> std::io::Result<String> {
    let mut all = Vec::new();
    for file in files {
        let content = fs::read(source.join(file))?;
        all.extend_from_slice(format!("{} {}\n", file.display(), sha256(&content)).as_bytes());
    }
    Ok(sha256(&all))
}

fn copy_files(source: &Path, files: &[PathBuf], target: &Path) -> std::io::Result<()> {
    if target.exists() {
        fs::remove_dir_all(target)?;
    }
    for file in files {
        let copy = target.join(file);
        fs::create_dir_all(copy.parent().expect("a file lies in a directory"))?;
        fs::copy(source.join(file), copy)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{copy_files, files_below, sum};

    #[test]
    fn a_change_of_a_file_is_seen_and_litter_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (source, copy) = (dir.path().join("source"), dir.path().join("copy"));
        fs::create_dir_all(source.join("ckanext/worker/__pycache__")).unwrap();
        for (name, text) in [("pyproject.toml", "a"), ("ckanext/worker/plugin.py", "b")] {
            fs::write(source.join(name), text).unwrap();
        }
        let files = files_below(&source).unwrap();
        let before = sum(&source, &files).unwrap();
        copy_files(&source, &files, &copy).unwrap();
        assert_eq!(fs::read_to_string(copy.join("ckanext/worker/plugin.py")).unwrap(), "b");

        fs::write(source.join("ckanext/worker/__pycache__/plugin.pyc"), "litter").unwrap();
        assert_eq!(files_below(&source).unwrap(), files);
        fs::write(source.join("ckanext/worker/plugin.py"), "c").unwrap();
        assert_ne!(sum(&source, &files).unwrap(), before);
    }
}
