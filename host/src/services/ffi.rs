//! The host's side of the vtable: what a plugin's call arrives at.
#![expect(unsafe_code, reason = "the host's side of the border")]

use std::borrow::Cow;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use abi::abi_stable::prefix_type::WithMetadata;
use abi::abi_stable::staticref;
use abi::abi_stable::std_types::{RErr, ROk, RSlice, RStr, RVec};
use abi::{Answer, Attr, Host, HostVTable, HostVTableRef, Reply, Status};
use bytes::Bytes;
use ckan_worker_abi as abi;
use ckan_worker_plugin::Level;
use tracing::level_filters::LevelFilter;

use super::Failure;
use super::call::{Call, Services};
use crate::catalog::{LoadedLibrary, LoadedWorker, Refusal};

/// Makes a worker from its settings, a JSON object.
///
/// The host that it gets is never given back: threads that a plugin starts may use it for as long as the process lives.
///
/// # Errors
/// The worker does not take its settings, or cannot be made.
pub fn create(
    library: &LoadedLibrary,
    name: &str,
    settings_json: &str,
    services: Arc<Services>,
) -> Result<LoadedWorker, Refusal> {
    let services: &'static Services = Box::leak(Box::new(services));
    let name: &'static str = Box::leak(name.into());
    let life: &'static Call<'static> = Box::leak(Box::new(Call::new(services, name, None, None)));
    // SAFETY: what is leaked stays valid for the rest of the process.
    unsafe { LoadedWorker::create(library, name, life.host(), settings_json) }
}

impl Call<'_> {
    /// Has a worker work on a delivery, with this as its host.
    pub fn consume(&self, worker: &LoadedWorker, delivery: &abi::Delivery<'_>) -> Reply {
        // SAFETY: `self` is borrowed until the call returns.
        unsafe { worker.consume(self.host(), delivery) }
    }

    /// The host as it crosses the border; valid for as long as `self` is.
    fn host(&self) -> Host {
        Host { ctx: std::ptr::from_ref(self).cast(), vt: HostVTableRef(Self::VTABLE.as_prefix()) }
    }

    staticref! { const VTABLE: WithMetadata<HostVTable> = WithMetadata::new(HostVTable {
        log: log_line,
        log_level,
        remaining_ms,
        sleep_ms,
        ckan_action,
        ckan_get,
        fetch: fetch_file,
        is_cancelled,
        http,
        ckan_upload,
        ckan_dataset,
        ckan_merge,
        ckan_flush,
        state_get,
        state_put,
        state_delete,
        state_scan,
        state_swap,
        recheck,
    }) }
}

/// Runs `work` on the call behind `context`; a panic in it becomes `None`, for it must not reach the plugin.
///
/// # Safety
/// `context` must come from [`Call::host`], and that call must still be there.
unsafe fn on_call<T>(context: *const c_void, work: impl FnOnce(&Call<'_>) -> T) -> Option<T> {
    // SAFETY: the caller's promise.
    let call = unsafe { &*context.cast::<Call<'_>>() };
    catch_unwind(AssertUnwindSafe(|| work(call))).ok()
}

fn answered(answer: Option<Result<Bytes, Failure>>) -> Answer {
    match answer {
        Some(Ok(bytes)) => ROk(RVec::from(Vec::from(bytes))),
        Some(Err(failure)) => RErr(failure.into()),
        None => RErr(
            Failure {
                status: Status::HOST_ERROR,
                ..Failure::retryable("host.panic", "the host failed inside one of its services; its log says where")
            }
            .into(),
        ),
    }
}

unsafe extern "C" fn log_line(
    context: *const c_void,
    level: u32,
    _target: RStr<'_>,
    message: RStr<'_>,
    fields: RSlice<'_, Attr<'_>>,
) {
    // SAFETY: plugins pass the context on as they got it, while it is valid; so does every function below.
    unsafe { on_call(context, |call| log(call, level, message, fields.as_slice())) };
}

fn log(call: &Call<'_>, level: u32, message: RStr<'_>, fields: &[Attr<'_>]) {
    let level = match level {
        0 | 1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Info,
        4 => Level::Debug,
        _ => Level::Trace,
    };
    let fields: Vec<_> = fields.iter().map(|field| (lossy(field.key), lossy(field.value))).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
    call.log(level, &lossy(message), &fields);
}

/// A text as a plugin sent it, UTF-8 for certain: one in another language may not have kept that promise.
fn lossy(sent: RStr<'_>) -> Cow<'_, str> {
    String::from_utf8_lossy(sent.as_rslice().as_slice())
}

unsafe extern "C" fn log_level(context: *const c_void) -> u32 {
    let level = |call: &Call<'_>| {
        let level = match LevelFilter::current().into_level() {
            None => 0,
            Some(tracing::Level::ERROR) => 1,
            Some(tracing::Level::WARN) => 2,
            Some(tracing::Level::INFO) => 3,
            Some(tracing::Level::DEBUG) => 4,
            Some(tracing::Level::TRACE) => 5,
        };
        if call.services.observer.is_some() { level.max(Level::Info as u32) } else { level }
    };
    // SAFETY: as in `log_line`.
    unsafe { on_call(context, level) }.unwrap_or(0)
}

unsafe extern "C" fn remaining_ms(context: *const c_void) -> u64 {
    let remaining =
        |call: &Call<'_>| call.remaining().map_or(u64::MAX, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    // SAFETY: as in `log_line`.
    unsafe { on_call(context, remaining) }.unwrap_or(0)
}

unsafe extern "C" fn sleep_ms(context: *const c_void, milliseconds: u64) -> bool {
    let sleep = |call: &Call<'_>| call.sleep(Duration::from_millis(milliseconds));
    // SAFETY: as in `log_line`.
    unsafe { on_call(context, sleep) }.unwrap_or(false)
}

unsafe extern "C" fn ckan_action(context: *const c_void, name: RStr<'_>, body: RSlice<'_, u8>) -> Answer {
    let act = |call: &Call<'_>| call.action(&lossy(name), body.as_slice());
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, act) })
}

unsafe extern "C" fn ckan_get(context: *const c_void, name: RStr<'_>, query: RSlice<'_, u8>) -> Answer {
    let get = |call: &Call<'_>| call.get(&lossy(name), query.as_slice());
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, get) })
}

unsafe extern "C" fn fetch_file(context: *const c_void, request: RSlice<'_, u8>) -> Answer {
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, |call| call.fetch(request.as_slice())) })
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method alone is not general enough for any lifetime"
)]
unsafe extern "C" fn is_cancelled(context: *const c_void) -> bool {
    // SAFETY: as in `log_line`.
    unsafe { on_call(context, |call| call.is_cancelled()) }.unwrap_or(true)
}

unsafe extern "C" fn http(context: *const c_void, request: RSlice<'_, u8>, body: RSlice<'_, u8>) -> Answer {
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, |call| call.http(request.as_slice(), body.as_slice())) })
}

unsafe extern "C" fn ckan_upload(
    context: *const c_void,
    name: RStr<'_>,
    parameters: RSlice<'_, u8>,
    file: RSlice<'_, u8>,
) -> Answer {
    let upload = |call: &Call<'_>| call.upload(&lossy(name), parameters.as_slice(), file.as_slice());
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, upload) })
}

unsafe extern "C" fn ckan_dataset(context: *const c_void, id: RStr<'_>) -> Answer {
    let show = |call: &Call<'_>| call.dataset(&lossy(id)).map(|dataset| dataset.to_string().into());
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, show) })
}

unsafe extern "C" fn ckan_merge(context: *const c_void, delta: RSlice<'_, u8>) -> Answer {
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, |call| call.merge(delta.as_slice())) })
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method alone is not general enough for any lifetime"
)]
unsafe extern "C" fn ckan_flush(context: *const c_void) -> Answer {
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, |call| call.flush()) })
}

unsafe extern "C" fn state_get(context: *const c_void, key: RStr<'_>) -> Answer {
    let get = |call: &Call<'_>| call.get_state(&lossy(key));
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, get) })
}

unsafe extern "C" fn state_put(context: *const c_void, key: RStr<'_>, value: RSlice<'_, u8>) -> Answer {
    let put = |call: &Call<'_>| call.set_state(&lossy(key), Some(value.as_slice()));
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, put) })
}

unsafe extern "C" fn state_delete(context: *const c_void, key: RStr<'_>) -> Answer {
    let delete = |call: &Call<'_>| call.set_state(&lossy(key), None);
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, delete) })
}

unsafe extern "C" fn state_scan(context: *const c_void, prefix: RStr<'_>, after: RStr<'_>, limit: u32) -> Answer {
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, |call| call.scan_state(&lossy(prefix), &lossy(after), limit as usize)) })
}

unsafe extern "C" fn state_swap(
    context: *const c_void,
    key: RStr<'_>,
    expected: RSlice<'_, u8>,
    value: RSlice<'_, u8>,
) -> Answer {
    let swap = |call: &Call<'_>| call.swap_state(&lossy(key), expected.as_slice(), value.as_slice());
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, swap) })
}

unsafe extern "C" fn recheck(context: *const c_void, dataset: RStr<'_>, milliseconds: u64) -> Answer {
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, |call| call.recheck(&lossy(dataset), milliseconds)) })
}
