//! The host's side of the vtable: what a plugin's call arrives at.
#![expect(unsafe_code, reason = "the host's side of the border")]

use std::borrow::Cow;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use abi::abi_stable::prefix_type::WithMetadata;
use abi::abi_stable::staticref;
use abi::abi_stable::std_types::{RErr, ROk, RResult, RSlice, RStr, RVec};
use abi::{Attr, Host, HostVTable, HostVTableRef, Reply, Status};
use bytes::Bytes;
use ckan_worker_abi as abi;
use ckan_worker_plugin::Level;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;

use super::{Failure, ckan, fetch};
use crate::catalog::{LoadedLibrary, LoadedWorker, Refusal};
use crate::observe::{LogLine, Observer, log};

/// What all calls of all workers share.
pub struct Services {
    /// The portal.
    pub ckan: ckan::Client,
    /// The way to strangers' addresses.
    pub fetcher: fetch::Fetcher,
    /// Where fetched files lie until the call ends.
    pub fetched_dir: PathBuf,
    /// The runtime that waits for the network.
    pub runtime: Handle,
    /// Becomes `true` when work in hand is to be given up.
    pub give_up: watch::Receiver<bool>,
    /// Who is told what happens.
    pub observer: Option<Arc<dyn Observer>>,
}

/// One call into a worker, as its plugin sees the host during it.
pub struct Call<'a> {
    services: &'a Services,
    worker: &'a str,
    delivery: Option<&'a str>,
    deadline: Option<Instant>,
    /// Files that were fetched, to be deleted when the call ends.
    fetched: Mutex<Vec<PathBuf>>,
}

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

impl<'a> Call<'a> {
    /// The host for one call about one delivery.
    pub fn new(services: &'a Services, worker: &'a str, delivery: Option<&'a str>, deadline: Option<Instant>) -> Self {
        Self { services, worker, delivery, deadline, fetched: Mutex::new(Vec::new()) }
    }

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

    /// Whether the work should be given up.
    pub fn is_cancelled(&self) -> bool {
        *self.services.give_up.borrow() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Waits until the work should be given up.
    async fn cancelled(&self) {
        let mut give_up = self.services.give_up.clone();
        let stopping = async {
            // An error means that the host is gone.
            let _ = give_up.wait_for(|given_up| *given_up).await;
        };
        match self.deadline {
            Some(deadline) => tokio::select! {
                () = stopping => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            },
            None => stopping.await,
        }
    }

    /// Waits on the calling thread, which is the worker's own, until `work` is done or the call is cancelled.
    fn wait<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        if self.is_cancelled() {
            return Err(Failure::cancelled());
        }
        self.services.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancelled() => Err(Failure::cancelled()),
                done = work => done,
            }
        })
    }

    fn fetch(&self, request: &[u8]) -> Result<Bytes, Failure> {
        let request: FetchRequest<'_> = serde_json::from_slice(request)
            .map_err(|error| Failure::permanent("fetch.request", format!("not a request to fetch: {error}")))?;
        let services = self.services;
        // Something may sweep what looks old in the system's temporary folder; if this fails, fetching says so.
        let _ = std::fs::create_dir_all(&services.fetched_dir);
        let fetched = self.wait(services.fetcher.fetch(&request.url, request.bytes_max, &services.fetched_dir))?;
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).push(fetched.path.clone());
        let answer = serde_json::to_vec(&fetched)
            .map_err(|error| Failure::permanent("fetch.path", format!("a path that is not text: {error}")))?;
        Ok(answer.into())
    }

    fn log(&self, level: u32, message: &str, fields: &[Attr<'_>]) {
        let level = match level {
            0 | 1 => Level::Error,
            2 => Level::Warn,
            3 => Level::Info,
            4 => Level::Debug,
            _ => Level::Trace,
        };
        let fields: Vec<_> = fields.iter().map(|field| (text(field.key), text(field.value))).collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
        let line = LogLine { worker: self.worker, delivery: self.delivery, level, message, fields: &fields };
        log(&line);
        if let Some(observer) = &self.services.observer {
            observer.logged(&line);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        for path in self.fetched.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // A worker that kept the file has renamed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[derive(Deserialize)]
struct FetchRequest<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    bytes_max: u64,
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

/// A text as a plugin sent it, UTF-8 for certain: one in another language may not have kept that promise.
fn text(sent: RStr<'_>) -> Cow<'_, str> {
    String::from_utf8_lossy(sent.as_rslice().as_slice())
}

fn answered(answer: Option<Result<Bytes, Failure>>) -> RResult<RVec<u8>, Reply> {
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
    unsafe { on_call(context, |call| call.log(level, &text(message), fields.as_slice())) };
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
    let remaining = |call: &Call<'_>| match call.deadline {
        None => u64::MAX,
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
        }
    };
    // SAFETY: as in `log_line`.
    unsafe { on_call(context, remaining) }.unwrap_or(0)
}

unsafe extern "C" fn sleep_ms(context: *const c_void, milliseconds: u64) -> bool {
    let sleep = |call: &Call<'_>| {
        call.wait(async {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            Ok(())
        })
        .is_ok()
    };
    // SAFETY: as in `log_line`.
    unsafe { on_call(context, sleep) }.unwrap_or(false)
}

unsafe extern "C" fn ckan_action(
    context: *const c_void,
    name: RStr<'_>,
    body: RSlice<'_, u8>,
) -> RResult<RVec<u8>, Reply> {
    let act =
        |call: &Call<'_>| call.wait(call.services.ckan.action(&text(name), Bytes::copy_from_slice(body.as_slice())));
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, act) })
}

unsafe extern "C" fn ckan_get(
    context: *const c_void,
    name: RStr<'_>,
    query: RSlice<'_, u8>,
) -> RResult<RVec<u8>, Reply> {
    let get = |call: &Call<'_>| call.wait(call.services.ckan.get(&text(name), query.as_slice()));
    // SAFETY: as in `log_line`.
    answered(unsafe { on_call(context, get) })
}

unsafe extern "C" fn fetch_file(context: *const c_void, request: RSlice<'_, u8>) -> RResult<RVec<u8>, Reply> {
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

fn not_yet() -> RResult<RVec<u8>, Reply> {
    RErr(Failure::permanent("host.too-old", "this host does not have it yet").into())
}

unsafe extern "C" fn http(_: *const c_void, _: RSlice<'_, u8>, _: RSlice<'_, u8>) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn ckan_upload(
    _: *const c_void,
    _: RStr<'_>,
    _: RSlice<'_, u8>,
    _: RSlice<'_, u8>,
) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn ckan_dataset(_: *const c_void, _: RStr<'_>) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn ckan_merge(_: *const c_void, _: RSlice<'_, u8>) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn ckan_flush(_: *const c_void) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn state_get(_: *const c_void, _: RStr<'_>) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn state_put(_: *const c_void, _: RStr<'_>, _: RSlice<'_, u8>) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn state_delete(_: *const c_void, _: RStr<'_>) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn state_scan(_: *const c_void, _: RStr<'_>, _: RStr<'_>, _: u32) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn state_swap(
    _: *const c_void,
    _: RStr<'_>,
    _: RSlice<'_, u8>,
    _: RSlice<'_, u8>,
) -> RResult<RVec<u8>, Reply> {
    not_yet()
}

unsafe extern "C" fn recheck(_: *const c_void, _: RStr<'_>, _: u64) -> RResult<RVec<u8>, Reply> {
    not_yet()
}
