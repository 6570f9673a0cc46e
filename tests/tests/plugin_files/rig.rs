//! A plugin directory of its own for each test, and what is put into it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ckan_worker::catalog::{Catalog, Entry, LoadedLibrary, Options, PrivateCopies, Refusal, State, load};
use ckan_worker_abi::Status;
use tempfile::TempDir;

use crate::fixtures;
use crate::test_host::TestHost;

/// A plugin directory.
pub struct Rig {
    pub dir: TempDir,
    pub copies: PrivateCopies,
    pub host: &'static TestHost,
}

impl Rig {
    pub fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { dir, copies: PrivateCopies::new().unwrap(), host: TestHost::leaked() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into the directory.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        set_mode(&path, 0o644);
        path
    }

    pub fn scan(&self) -> Catalog {
        Catalog::scan(&[self.dir.path().to_owned()], Options::default())
    }

    pub fn load(&self, path: &Path) -> Result<LoadedLibrary, Refusal> {
        load(&Entry::at(path, Options::default()), &self.copies)
    }

    /// Expects the same refusal, with this state and text, from looking at the file and from loading it.
    #[track_caller]
    pub fn refuses(&self, path: &Path, state: State, text: &str) {
        let catalog = self.scan();
        let entry = catalog.entries().iter().find(|entry| entry.path() == path).unwrap();
        assert_eq!(entry.state(), state);
        self.says(entry.refusal().unwrap(), text);
        self.says(&self.load(path).unwrap_err(), text);
    }

    #[track_caller]
    pub fn says(&self, refusal: &Refusal, text: &str) {
        assert_eq!(refusal.to_string().replace(self.dir.path().to_str().unwrap(), "DIR"), text);
    }

    /// Makes a worker, has it work, and ends it; answers what it logged.
    #[track_caller]
    pub fn works(&self, library: &LoadedLibrary) -> Vec<String> {
        let ended = self.path("ended");
        let worker = self.host.create(library, &serde_json::json!({"ended": &ended}).to_string()).unwrap();
        let reply = self.host.consume(&worker, "new", br#"{"id":"a"}"#);
        assert_eq!((reply.status, reply.message.as_str()), (Status::SKIPPED, r#"{"id":"a"}"#));
        assert!(!ended.exists());
        drop(worker);
        assert!(ended.exists(), "dropping the worker destroys it");
        self.host.lines()
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn plain() -> Vec<u8> {
    fs::read(&fixtures::built().plain).unwrap()
}

/// Puts `new` in the place of the only `old`.
pub fn patched(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let places: Vec<usize> = (0..bytes.len() - old.len()).filter(|&at| bytes[at..].starts_with(old)).collect();
    let [at] = places[..] else { panic!("found at {places:?}") };
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

const MANIFEST: &str = r#"{"name":"trap","version":"1.0.0","abi":"ABI","target":"TARGET","rustc":"1.88.0"}"#;

/// The manifest of `trap.c`.
pub fn manifest(abi: &str) -> String {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    MANIFEST.replace("ABI", abi).replace("TARGET", &target)
}
