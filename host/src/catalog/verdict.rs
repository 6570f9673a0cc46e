//! Whether this worker can load a library, by what the library says.

use std::path::{Path, PathBuf};

use super::binary::{Facts, Glibc};
use super::load::system_glibc;
use super::manifest::{Manifest, major_minor};
use super::platform;
use super::refusal::Refusal;

/// Decides from what a library says whether this worker can load it.
pub(super) fn judge(path: &Path, facts: &Facts) -> Result<(), Refusal> {
    let path = || path.to_owned();
    if facts.machine != std::env::consts::ARCH {
        let theirs = match &facts.manifest {
            Some(Ok(manifest)) if manifest.target.starts_with(&facts.machine) => manifest.target.clone(),
            _ => facts.machine.clone(),
        };
        return Err(Refusal::OtherTarget { path: path(), theirs, ours: platform::target() });
    }
    let manifest = match &facts.manifest {
        Some(Ok(manifest)) => manifest,
        Some(Err(problem)) => {
            return Err(Refusal::Unreadable { path: path(), problem: format!("its manifest {problem}") });
        }
        None => return Err(no_manifest(&path())),
    };
    judge_abi(path(), manifest)?;
    if !platform::is_our_target(&manifest.target) {
        return Err(Refusal::OtherTarget { path: path(), theirs: manifest.target.clone(), ours: platform::target() });
    }
    judge_glibc(path(), facts.glibc, system_glibc(), &manifest.target)
}

fn judge_abi(path: PathBuf, manifest: &Manifest) -> Result<(), Refusal> {
    let (major, minor) = major_minor(ckan_worker_abi::VERSION).unwrap_or((1, 0));
    let (their_major, their_minor) = manifest.abi_version().unwrap_or((0, 0));
    if their_major == major {
        return Ok(());
    }
    Err(Refusal::OtherAbi {
        name: manifest.name.clone(),
        path,
        theirs: format!("{their_major}.{their_minor}"),
        ours: if minor == 0 { format!("{major}.0") } else { format!("{major}.0–{major}.{minor}") },
        built_as: format!("plugin {}, rustc {}", manifest.version, manifest.rustc).into(),
    })
}

fn judge_glibc(path: PathBuf, needs: Option<Glibc>, has: Option<Glibc>, target: &str) -> Result<(), Refusal> {
    match (needs, has) {
        (Some(needs), Some(has)) if needs > has => {
            Err(Refusal::OldGlibc { path, needs, has, target: target.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The refusal of a library that says nothing of itself.
pub(super) fn no_manifest(path: &Path) -> Refusal {
    Refusal::NotAPlugin { path: path.to_owned(), what: "it holds no manifest" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_needs_a_newer_glibc_is_refused_before_it_is_opened() {
        let judge = |needs| judge_glibc("libgeo.so".into(), needs, Some(Glibc(2, 36)), "x86_64-unknown-linux-gnu");
        assert!(judge(Some(Glibc(2, 36))).is_ok());
        assert!(judge(None).is_ok());
        assert_eq!(
            judge(Some(Glibc(2, 39))).unwrap_err().to_string(),
            "libgeo.so: needs glibc 2.39 or later, this system has 2.36; rebuild it on an older base (cargo zigbuild \
             --target x86_64-unknown-linux-gnu.2.28)"
        );
    }
}
