//! A host that only remembers what is logged.
#![expect(unsafe_code, reason = "the host's side of the vtable, for tests")]

use std::ffi::c_void;
use std::sync::{Mutex, OnceLock};

use abi::abi_stable::prefix_type::PrefixTypeTrait;
use abi::abi_stable::std_types::{RErr, RResult, RSlice, RStr, RString, RVec};
use abi::{Attr, HostVTable, HostVTableRef, Reply, Status};
use ckan_worker::catalog::{LoadedLibrary, LoadedWorker, Refusal};
use ckan_worker_abi as abi;

/// A host that only remembers what is logged.
pub struct TestHost {
    lines: Mutex<Vec<String>>,
}

impl TestHost {
    /// A host that lives as long as the process, as one given to `create` must.
    pub fn leaked() -> &'static Self {
        Box::leak(Box::new(Self { lines: Mutex::new(Vec::new()) }))
    }

    /// What was logged so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn abi(&'static self) -> abi::Host {
        abi::Host { ctx: std::ptr::from_ref(self).cast(), vt: vtable() }
    }

    /// Makes a worker.
    pub fn create(&'static self, library: &LoadedLibrary, settings: &str) -> Result<LoadedWorker, Refusal> {
        // SAFETY: the context lives as long as the process and may be used from any thread.
        unsafe { LoadedWorker::create(library, &library.manifest().name, self.abi(), settings) }
    }

    /// Hands a worker one notification.
    pub fn consume(&'static self, worker: &LoadedWorker, operation: &str, payload: &[u8]) -> Reply {
        let delivery = abi::Delivery {
            routing_key: "Package".into(),
            operation: operation.into(),
            payload: payload.into(),
            attrs: RSlice::EMPTY,
            attempt: 1,
            flags: 0,
        };
        // SAFETY: as above.
        unsafe { worker.consume(self.abi(), &delivery) }
    }
}

fn vtable() -> HostVTableRef {
    static VTABLE: OnceLock<HostVTableRef> = OnceLock::new();
    *VTABLE.get_or_init(|| {
        HostVTable {
            log,
            log_level,
            remaining_ms,
            sleep_ms,
            ckan_action: ask,
            ckan_get: ask,
            fetch,
            is_cancelled,
            http: two,
            ckan_upload: upload,
            ckan_dataset: key,
            ckan_merge: fetch,
            ckan_flush: flush,
            state_get: key,
            state_put: ask,
            state_delete: key,
            state_scan: scan,
            state_swap: upload,
            recheck,
        }
        .leak_into_prefix()
    })
}

unsafe extern "C" fn log(
    host: *const c_void,
    level: u32,
    _: RStr<'_>,
    message: RStr<'_>,
    fields: RSlice<'_, Attr<'_>>,
) {
    // SAFETY: every context in these tests is a leaked `TestHost`.
    let host = unsafe { &*host.cast::<TestHost>() };
    let place = fields.iter().find(|field| field.key == "place").map_or(String::new(), |_| " at a place".to_owned());
    host.lines.lock().unwrap().push(format!("{level} {message}{place}"));
}

unsafe extern "C" fn log_level(_: *const c_void) -> u32 {
    5
}

unsafe extern "C" fn remaining_ms(_: *const c_void) -> u64 {
    u64::MAX
}

unsafe extern "C" fn sleep_ms(_: *const c_void, _: u64) -> bool {
    true
}

unsafe extern "C" fn ask(_: *const c_void, _: RStr<'_>, _: RSlice<'_, u8>) -> RResult<RVec<u8>, Reply> {
    RErr(nothing_here())
}

unsafe extern "C" fn fetch(_: *const c_void, _: RSlice<'_, u8>) -> RResult<RVec<u8>, Reply> {
    RErr(nothing_here())
}

unsafe extern "C" fn two(_: *const c_void, _: RSlice<'_, u8>, _: RSlice<'_, u8>) -> abi::Answer {
    RErr(nothing_here())
}

unsafe extern "C" fn upload(_: *const c_void, _: RStr<'_>, _: RSlice<'_, u8>, _: RSlice<'_, u8>) -> abi::Answer {
    RErr(nothing_here())
}

unsafe extern "C" fn key(_: *const c_void, _: RStr<'_>) -> abi::Answer {
    RErr(nothing_here())
}

unsafe extern "C" fn flush(_: *const c_void) -> abi::Answer {
    RErr(nothing_here())
}

unsafe extern "C" fn scan(_: *const c_void, _: RStr<'_>, _: RStr<'_>, _: u32) -> abi::Answer {
    RErr(nothing_here())
}

unsafe extern "C" fn recheck(_: *const c_void, _: RStr<'_>, _: u64) -> abi::Answer {
    RErr(nothing_here())
}

unsafe extern "C" fn is_cancelled(_: *const c_void) -> bool {
    false
}

fn nothing_here() -> Reply {
    Reply {
        status: Status::HOST_ERROR,
        flags: 0,
        retry_after_ms: 0,
        code: RString::new(),
        message: "this host has nothing".into(),
        detail: RString::new(),
    }
}
