//! Where things are: the checkout, the target directory, what cargo built into it.

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the rig stands in the workspace")
}

/// Where the rig keeps what it makes: below the target directory, gone with `cargo clean`.
pub fn scratch() -> PathBuf {
    let scratch = Layout::of_this_test().target_dir.join("worker-tests");
    std::fs::create_dir_all(&scratch)
        .unwrap_or_else(|error| panic!("cannot make the directory {}: {error}", scratch.display()));
    scratch
}

/// How the running test was built, so that what it runs is built the same way.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// The target directory.
    pub target_dir: PathBuf,
    /// The value of `--target`, if it was given.
    pub triple: Option<String>,
    /// The directory of the profile, `debug` for the profile `dev`.
    pub profile_dir: String,
}

impl Layout {
    /// Reads it from where the test binary lies.
    pub fn of_this_test() -> Self {
        let program = std::env::current_exe().ok();
        program.as_deref().and_then(Self::of).unwrap_or_else(|| {
            // A documentation test lies in a temporary directory.
            let target_dir =
                std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), Into::into);
            Self { target_dir, triple: None, profile_dir: "debug".to_owned() }
        })
    }

    /// `TARGET/[TRIPLE/]PROFILE/{deps,examples}/PROGRAM`
    fn of(program: &Path) -> Option<Self> {
        let kind = program.parent()?;
        if !matches!(kind.file_name()?.to_str()?, "deps" | "examples") {
            return None;
        }
        let profile = kind.parent()?;
        let profile_dir = profile.file_name()?.to_str()?.to_owned();
        let above = profile.parent()?;
        // Either file lies at the top of a target directory only; a copy of one may lack the first.
        let is_top = |dir: &Path| ["CACHEDIR.TAG", ".rustc_info.json"].iter().any(|file| dir.join(file).exists());
        if is_top(above) && !is_top(above.parent()?) {
            return Some(Self { target_dir: above.to_owned(), triple: None, profile_dir });
        }
        let triple = above.file_name()?.to_str()?.to_owned();
        Some(Self { target_dir: above.parent()?.to_owned(), triple: Some(triple), profile_dir })
    }

    /// The name of the profile.
    pub fn profile(&self) -> &str {
        if self.profile_dir == "debug" { "dev" } else { &self.profile_dir }
    }

    /// Where cargo puts binaries and libraries.
    pub fn artifacts(&self) -> PathBuf {
        match &self.triple {
            Some(triple) => self.target_dir.join(triple).join(&self.profile_dir),
            None => self.target_dir.join(&self.profile_dir),
        }
    }
}
