//! Opens plugin files and calls what is in them: the one room of the catalog where unsafe code stands.
#![expect(unsafe_code, reason = "opens libraries and calls their functions")]

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use ckan_worker_abi as abi;
use ckan_worker_abi::abi_stable::StableAbi;
use ckan_worker_abi::abi_stable::library::{AbiHeaderRef, LibHeader};
use ckan_worker_abi::abi_stable::std_types::{RErr, ROk, RStr, RString};
use ckan_worker_abi::{Instance, PluginModuleRef, Reply, Status};

use super::binary::Glibc;
use super::copies::PrivateCopies;
use super::manifest::Manifest;
use super::refusal::Refusal;
use super::scan::{self, Checked, Entry};
use super::{layout, open_error};

/// A plugin whose functions can be called. It is never unloaded: its code may still be running.
#[derive(Clone)]
pub struct LoadedLibrary {
    module: PluginModuleRef,
    manifest: Manifest,
    path: Option<PathBuf>,
}

/// Opens the file of `entry`: reads it once, checks those very bytes, copies them into `copies` and opens the copy.
///
/// Code of the plugin runs only after everything that can be said without running it has been checked.
///
/// # Errors
/// Why it cannot be used. Nothing of it is called then.
pub fn load(entry: &Entry, copies: &PrivateCopies) -> Result<LoadedLibrary, Refusal> {
    let path = entry.path();
    let Checked { bytes, manifest } = scan::read_checked(entry)?;
    let copy = copies.add(path, &bytes)?;
    let header = open(path, &copy, &manifest)?;
    check_layout(path, &manifest, header)?;
    // SAFETY: the layout that the header names was just compared with that of `PluginModuleRef`, and the constructor
    // beside it answers a value of that layout.
    let module = unsafe { header.unchecked_layout::<PluginModuleRef>() }
        .map_err(|error| bad_header(path, &manifest, &error.to_string()))?;
    tracing::debug!(plugin = manifest.name, version = manifest.version, path = %path.display(), copy = %copy.display(), "loaded");
    Ok(LoadedLibrary { module, manifest, path: Some(path.to_owned()) })
}

impl LoadedLibrary {
    /// A worker that is linked into this program, as from `ckan_worker_plugin::glue::module`.
    pub fn linked_in(module: PluginModuleRef, manifest: Manifest) -> Self {
        Self { module, manifest, path: None }
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The file it was loaded from; `None` if it is linked in.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Debug for LoadedLibrary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LoadedLibrary")
            .field("manifest", &self.manifest)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Opens the copy for good and reads its header.
fn open(path: &Path, copy: &Path, manifest: &Manifest) -> Result<&'static LibHeader, Refusal> {
    let library = open_library(copy).map_err(|error| {
        let text = full_text(&error);
        tracing::debug!(path = %path.display(), error = text, "the system's loader refused a plugin");
        let (problem, remedy) = open_error::explain(&text);
        Refusal::CannotOpen { path: path.to_owned(), problem, remedy }
    })?;
    // SAFETY: a symbol of this name is a header, by the ABI. Whether it is a valid one `upgrade` looks at below.
    let symbol = unsafe { library.get::<AbiHeaderRef>(abi::HEADER_SYMBOL) };
    let header = symbol.map(|symbol| *symbol).map_err(|_| Refusal::NotAPlugin {
        path: path.to_owned(),
        what: "it has a manifest but no symbol ckan_worker_plugin_v1",
    });
    // Once opened it stays: its threads and thread-local destructors may run at any time.
    std::mem::forget(library);
    header?.upgrade().map_err(|error| bad_header(path, manifest, &error.to_string()))
}

#[cfg(unix)]
fn open_library(copy: &Path) -> Result<libloading::os::unix::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // All symbols now: one that is missing is an error here and not a crash at its first call.
    // SAFETY: opening runs the library's constructors. The operator has put the file where only they may write, and
    // that is how they say that its code may run as the worker.
    unsafe { Library::open(Some(copy), RTLD_NOW | RTLD_LOCAL) }
}

#[cfg(windows)]
fn open_library(copy: &Path) -> Result<libloading::os::windows::Library, libloading::Error> {
    use libloading::os::windows::{LOAD_LIBRARY_SEARCH_DEFAULT_DIRS, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, Library};
    // SAFETY: as for the other systems.
    unsafe { Library::load_with_flags(copy, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS) }
}

/// The text with those of its causes, where the system's own words are.
fn full_text(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), full_text)
}

fn check_layout(path: &Path, manifest: &Manifest, header: &'static LibHeader) -> Result<(), Refusal> {
    let Some(theirs) = header.layout() else {
        return Err(bad_header(path, manifest, "it leaves out the layout of its types"));
    };
    layout::compare(<PluginModuleRef as StableAbi>::LAYOUT, theirs).map_err(|difference| {
        tracing::debug!(path = %path.display(), report = difference.report, "the types of a plugin differ");
        let (major, minor) = manifest.abi_version().unwrap_or_default();
        Refusal::OtherLayout {
            name: manifest.name.clone(),
            path: path.to_owned(),
            abi: format!("{major}.{minor}"),
            difference: difference.summary,
            report: difference.report.into(),
        }
    })
}

fn bad_header(path: &Path, manifest: &Manifest, text: &str) -> Refusal {
    // The first line says it; what follows is advice to users of abi_stable.
    let problem = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    tracing::debug!(path = %path.display(), report = text, "the header of a plugin is not valid");
    Refusal::BadHeader { name: manifest.name.clone(), path: path.to_owned(), problem }
}

/// A worker that was made from a plugin. Dropping it destroys it.
pub struct LoadedWorker {
    library: LoadedLibrary,
    name: String,
    instance: Instance,
}

impl LoadedWorker {
    /// Makes the worker `name` from its settings, a JSON object. Several may be made from one library.
    ///
    /// # Errors
    /// [`Refusal::Settings`], [`Refusal::Create`], or [`Refusal::Panicked`].
    ///
    /// # Safety
    /// `host` is what a plugin may call from any thread: its context stays valid for the rest of the process, for a
    /// thread that the plugin has started may log through it even after the worker is dropped.
    pub unsafe fn create(
        library: &LoadedLibrary,
        name: &str,
        host: abi::Host,
        settings_json: &str,
    ) -> Result<Self, Refusal> {
        // SAFETY: the function is the plugin's own, of the checked layout; the caller answers for `host`, and the
        // settings are borrowed for the call alone.
        let made = unsafe { library.module.create()(host, RStr::from_str(settings_json)) };
        match made {
            ROk(instance) => Ok(Self { library: library.clone(), name: name.to_owned(), instance }),
            RErr(reply) => Err(refusal_of(vetted(reply), name, library.path.clone())),
        }
    }

    /// Works on one delivery. May be called from several threads at once, unless the manifest says `serial`.
    ///
    /// A panic in the plugin comes back as [`Status::PANIC`].
    ///
    /// # Safety
    /// The context of `host` stays valid until this returns.
    pub unsafe fn consume(&self, host: abi::Host, delivery: &abi::Delivery<'_>) -> Reply {
        // SAFETY: the instance is of this library and lives until `drop`; the caller answers for `host`.
        vetted(unsafe { self.library.module.consume()(self.instance, host, delivery) })
    }

    /// The worker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its plugin says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.library.manifest
    }

    /// The plugin it was made from.
    pub fn library(&self) -> &LoadedLibrary {
        &self.library
    }
}

impl Drop for LoadedWorker {
    fn drop(&mut self) {
        // SAFETY: the instance came from `create` of this library and is destroyed nowhere else; calls borrow `self`,
        // so none is running.
        unsafe { self.library.module.destroy()(self.instance) }
    }
}

impl fmt::Debug for LoadedWorker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LoadedWorker").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A reply whose texts are UTF-8 for certain. Rust has promised it; a plugin in another language may have forgotten to.
fn vetted(reply: Reply) -> Reply {
    let text = |sent: RString| match String::from_utf8_lossy(sent.as_rstr().as_rslice().as_slice()) {
        Cow::Borrowed(_) => sent,
        Cow::Owned(mended) => mended.into(),
    };
    Reply { code: text(reply.code), message: text(reply.message), detail: text(reply.detail), ..reply }
}

fn refusal_of(reply: Reply, name: &str, path: Option<PathBuf>) -> Refusal {
    let name = name.to_owned();
    let (code, message) = (reply.code.into_string(), reply.message.into_string());
    if reply.status == Status::PANIC {
        Refusal::Panicked { name, path, message }
    } else if code == "settings" {
        Refusal::Settings { name, path, message, problems: serde_json::from_str(&reply.detail).ok() }
    } else {
        Refusal::Create { name, path, code, message }
    }
}

/// The version of the glibc that this process runs with; `None` on other systems.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn system_glibc() -> Option<Glibc> {
    unsafe extern "C" {
        fn gnu_get_libc_version() -> *const std::ffi::c_char;
    }
    // SAFETY: it takes nothing and answers a constant text that ends with a zero byte.
    let text = unsafe { std::ffi::CStr::from_ptr(gnu_get_libc_version()) };
    Glibc::read(text.to_str().ok()?)
}

/// The version of the glibc that this process runs with; `None` on other systems.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn system_glibc() -> Option<Glibc> {
    None
}

// A compile-time proof of what the dispatcher relies on.
const _: fn() = || {
    fn threads_may_share<T: Send + Sync>() {}
    threads_may_share::<LoadedWorker>();
    threads_may_share::<LoadedLibrary>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_no_text_becomes_one() {
        // SAFETY: it is only given to what looks at its bytes.
        let broken = unsafe { RString::from_utf8_unchecked(b"disk \xff full".to_vec().into()) };
        let code = RString::from("archive.disk");
        let reply =
            Reply { status: Status::RETRY, flags: 0, retry_after_ms: 7, code, message: broken, detail: RString::new() };
        let reply = vetted(reply);
        assert_eq!((reply.message.as_str(), reply.code.as_str()), ("disk \u{fffd} full", "archive.disk"));
        assert_eq!((reply.status, reply.retry_after_ms), (Status::RETRY, 7));
    }
}
