#![doc = include_str!("../README.md")]
#![expect(unsafe_code, reason = "promises about the addresses in the wire types")]
#![expect(
    clippy::expl_impl_clone_on_copy,
    clippy::cast_ptr_alignment,
    reason = "written by abi_stable's derive for prefix types"
)]

use std::ffi::c_void;

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};

pub use abi_stable;

/// The version of the ABI that this build speaks, as in `1.0.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The exported symbol that holds the plugin's `LibHeader`; the number in it is the ABI's major version.
pub const HEADER_SYMBOL: &str = "ckan_worker_plugin_v1";

/// The name in the ELF note that holds the manifest, padded to four bytes; on other systems the magic to scan for.
pub const MANIFEST_MAGIC: [u8; 12] = *b"CKANWORKER\0\0";

/// The type of the ELF note that holds the manifest: the format's version.
pub const MANIFEST_NOTE_TYPE: u32 = 1;

/// How a call ended. An open set: what is not known counts as [`Status::RETRY`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub u32);

impl Status {
    /// The work is done.
    pub const DONE: Self = Self(0);
    /// There was nothing to do; `Reply::message` says why.
    pub const SKIPPED: Self = Self(1);
    /// It failed, and may succeed later.
    pub const RETRY: Self = Self(2);
    /// It failed, and will fail again however often it is tried.
    pub const PERMANENT: Self = Self(3);
    /// The plugin cannot work any more.
    pub const FATAL: Self = Self(4);
    /// The plugin panicked; `Reply::message` is the panic's text.
    pub const PANIC: Self = Self(5);
    /// The call was given up because its time was over or the host is stopping.
    pub const CANCELLED: Self = Self(6);
    /// The host failed inside one of its own services.
    pub const HOST_ERROR: Self = Self(7);
}

/// One named text beside a delivery or a log line.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Attr<'a> {
    /// The name, in kebab case.
    pub key: RStr<'a>,
    /// The text.
    pub value: RStr<'a>,
}

/// One notification on its way to a worker. Everything is borrowed from the host until the call returns.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The class of what changed: `Package`, `Resource`, …
    pub routing_key: RStr<'a>,
    /// What happened to it: `new`, `changed`, `deleted`.
    pub operation: RStr<'a>,
    /// The JSON text of the entity, byte for byte as it was published.
    pub payload: RSlice<'a, u8>,
    /// What else the host knows: `entity-id`, `package-id`, `delivery-id`; `dry-run` if nothing is to be changed.
    pub attrs: RSlice<'a, Attr<'a>>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// See [`Delivery::REDELIVERED`].
    pub flags: u32,
}

impl Delivery<'_> {
    /// The bit of `flags` that says that this may have been delivered before.
    pub const REDELIVERED: u32 = 1;
}

/// How a call ended, with what is to be said about it.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct Reply {
    /// How it ended.
    pub status: Status,
    /// Bits for later; 0 in 1.0.
    pub flags: u32,
    /// Milliseconds to wait at least before the next attempt; 0 leaves it to the host.
    pub retry_after_ms: u64,
    /// A word for machines, as in `ckan.not-found`; may be empty.
    pub code: RString,
    /// A sentence for people; may be empty.
    pub message: RString,
    /// JSON with more, depending on `code`; may be empty.
    pub detail: RString,
}

/// The host as a plugin sees it: a context and the functions on it.
///
/// The one given to `create` is valid until `destroy` has returned, the one given to `consume` until `consume` returns.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Host {
    /// The host's own business; the first argument of every function in `vt`.
    pub ctx: *const c_void,
    /// The functions.
    pub vt: HostVTableRef,
}

// SAFETY: the host promises that `ctx` may be used from any thread, and from several at once.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

/// What a plugin may ask of the host. Every function may be called from any thread while the context is valid.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostVTableRef, prefix_fields = HostVTablePrefix)))]
pub struct HostVTable {
    /// Writes a line to the host's log: level (1 error … 5 trace), target, message, fields.
    pub log: unsafe extern "C" fn(*const c_void, u32, RStr<'_>, RStr<'_>, RSlice<'_, Attr<'_>>),
    /// The highest level that is not thrown away.
    pub log_level: unsafe extern "C" fn(*const c_void) -> u32,
    /// Milliseconds until this call's deadline; `u64::MAX` if it has none.
    pub remaining_ms: unsafe extern "C" fn(*const c_void) -> u64,
    /// Waits for that many milliseconds; `false`, at once, when the call is cancelled.
    pub sleep_ms: unsafe extern "C" fn(*const c_void, u64) -> bool,
    /// Calls a CKAN action by POST: its name and a JSON object; the JSON of `result`.
    pub ckan_action: unsafe extern "C" fn(*const c_void, RStr<'_>, RSlice<'_, u8>) -> RResult<RVec<u8>, Reply>,
    /// Calls a CKAN action that changes nothing by GET: its name and a JSON object; the JSON of `result`.
    pub ckan_get: unsafe extern "C" fn(*const c_void, RStr<'_>, RSlice<'_, u8>) -> RResult<RVec<u8>, Reply>,
    /// Fetches an address into a file of the host's: a JSON request; a JSON answer.
    pub fetch: unsafe extern "C" fn(*const c_void, RSlice<'_, u8>) -> RResult<RVec<u8>, Reply>,
    /// Whether the work should be given up: the deadline has passed or the host is stopping.
    #[sabi(last_prefix_field)]
    pub is_cancelled: unsafe extern "C" fn(*const c_void) -> bool,
    /// Since 1.1. Sends one HTTP request to a stranger's address: a JSON request and the body to send; a JSON response.
    pub http: unsafe extern "C" fn(*const c_void, RSlice<'_, u8>, RSlice<'_, u8>) -> Answer,
    /// Since 1.1. Calls a CKAN action by POST with a file beside the parameters: its name, a JSON object, and a JSON
    /// object that says which file; the JSON of `result`.
    pub ckan_upload: unsafe extern "C" fn(*const c_void, RStr<'_>, RSlice<'_, u8>, RSlice<'_, u8>) -> Answer,
    /// Since 1.1. Shows a dataset, by its id, as it was announced: waits a moment for what is not committed yet; JSON.
    pub ckan_dataset: unsafe extern "C" fn(*const c_void, RStr<'_>) -> Answer,
    /// Since 1.1. Notes what is to be changed of a dataset or a resource: a JSON object. Nothing is sent yet.
    pub ckan_merge: unsafe extern "C" fn(*const c_void, RSlice<'_, u8>) -> Answer,
    /// Since 1.1. Writes what was noted, each dataset at once; JSON that says what was written.
    pub ckan_flush: unsafe extern "C" fn(*const c_void) -> Answer,
    /// Since 1.1. Reads the value of a key of this worker's; without one the reply's code is `state.absent`.
    pub state_get: unsafe extern "C" fn(*const c_void, RStr<'_>) -> Answer,
    /// Since 1.1. Sets the value of a key.
    pub state_put: unsafe extern "C" fn(*const c_void, RStr<'_>, RSlice<'_, u8>) -> Answer,
    /// Since 1.1. Deletes a key.
    pub state_delete: unsafe extern "C" fn(*const c_void, RStr<'_>) -> Answer,
    /// Since 1.1. Answers up to so many keys that begin with the first text and come behind the second, in order, with
    /// their values: for each the two lengths as 32-bit little-endian numbers, then the key and the value.
    pub state_scan: unsafe extern "C" fn(*const c_void, RStr<'_>, RStr<'_>, u32) -> Answer,
    /// Since 1.1. Sets the value of a key if it is still the one expected; an empty one stands for none. The answer is one
    /// byte: 1 if it was.
    pub state_swap: unsafe extern "C" fn(*const c_void, RStr<'_>, RSlice<'_, u8>, RSlice<'_, u8>) -> Answer,
    /// Since 1.1. Has this worker called again for a dataset, by its id, after so many milliseconds, with the operation
    /// `recheck`; once the run has ended well. A later wish for the same dataset replaces an earlier one.
    pub recheck: unsafe extern "C" fn(*const c_void, RStr<'_>, u64) -> Answer,
}

/// What most of the host's functions answer: bytes, or why not.
pub type Answer = RResult<RVec<u8>, Reply>;

/// A worker that was created, as an address that only its plugin understands.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy)]
pub struct Instance(pub *mut c_void);

// SAFETY: `Worker: Send + Sync` is demanded of what stands behind the address.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

/// What a plugin offers the host: the root of its exported header.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef, prefix_fields = PluginModulePrefix)))]
pub struct PluginModule {
    /// Makes a worker from its settings, a JSON object.
    pub create: unsafe extern "C" fn(Host, RStr<'_>) -> RResult<Instance, Reply>,
    /// Works on one delivery; may be called from several threads at once.
    pub consume: unsafe extern "C" fn(Instance, Host, &Delivery<'_>) -> Reply,
    /// Ends a worker; no call to it is running, and none follows.
    #[sabi(last_prefix_field)]
    pub destroy: unsafe extern "C" fn(Instance),
}

impl RootModule for PluginModuleRef {
    abi_stable::declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "ckan_worker_plugin";
    const NAME: &'static str = "ckan_worker_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
