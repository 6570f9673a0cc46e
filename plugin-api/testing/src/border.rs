//! The border between a worker and the bench: the vtable that a host offers, and the calls that it makes.
#![expect(unsafe_code, reason = "the host's side of the vtable, for tests")]

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use ckan_worker_abi as abi;
use ckan_worker_abi::abi_stable::prefix_type::WithMetadata;
use ckan_worker_abi::abi_stable::staticref;
use ckan_worker_abi::abi_stable::std_types::{RErr, ROk, RResult, RSlice, RStr, RVec};
use ckan_worker_plugin::{Error, Level, Outcome, Result, Worker, entity, glue};
use tempfile::TempDir;

use crate::bench::{Bench, Line, lock};
use crate::event::Event;
use crate::run::Run;

/// One call of a worker: what the context in its `Host` points to.
struct Call<'a> {
    bench: &'a Bench,
    /// Where fetched files are; deleted when the call ends.
    files: TempDir,
    /// What is stored and written when it ends well.
    run: Mutex<Run>,
}

impl<'a> Call<'a> {
    fn new(bench: &'a Bench, package_id: Option<&str>) -> Result<Self> {
        Ok(Self { bench, files: TempDir::new()?, run: Mutex::new(Run::new(bench.state(), package_id)) })
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        lock(&self.run)
    }

    fn host(&self) -> abi::Host {
        abi::Host { ctx: std::ptr::from_ref(self).cast(), vt: abi::HostVTableRef(Services::TABLE.as_prefix()) }
    }
}

/// Makes a worker through its plugin's `create`.
pub(crate) fn create<W: Worker>(bench: &Bench, settings: &str) -> Result<W> {
    let call = Call::new(bench, None)?;
    // SAFETY: the context outlives the call. It need not outlive the worker: `Worker::create` borrows the host, and
    // only a plugin that is a file uses it later, in its panic hook.
    let made = unsafe { (glue::module::<W>().create())(call.host(), settings.into()) };
    match made {
        // SAFETY: `create` of this very type boxed a `W` and gave the box away.
        ROk(instance) => Ok(*unsafe { Box::from_raw(instance.0.cast::<W>()) }),
        RErr(reply) => Err(error_of(reply)),
    }
}

/// Runs a worker through its plugin's `consume`.
pub(crate) fn consume<W: Worker>(bench: &Bench, worker: &W, event: &Event) -> Result<Outcome> {
    let ids = entity::ids(&event.routing_key, &event.payload);
    let call = Call::new(bench, ids.package.as_deref())?;
    let attrs: Vec<abi::Attr<'_>> = [("entity-id", &ids.entity), ("package-id", &ids.package)]
        .into_iter()
        .filter_map(|(key, id)| Some(abi::Attr { key: key.into(), value: id.as_deref()?.into() }))
        .chain([abi::Attr { key: "delivery-id".into(), value: "bench".into() }])
        .chain(event.dry_run.then(|| abi::Attr { key: "dry-run".into(), value: "yes".into() }))
        .collect();
    let delivery = abi::Delivery {
        routing_key: event.routing_key.as_str().into(),
        operation: entity::operation(&event.operation, &event.payload).into(),
        payload: RSlice::from_slice(&event.payload),
        attrs: RSlice::from_slice(&attrs),
        attempt: event.attempt,
        flags: if event.redelivered { abi::Delivery::REDELIVERED } else { 0 },
    };
    let instance = abi::Instance(std::ptr::from_ref(worker).cast_mut().cast());
    // SAFETY: the instance is a `W`, the type that these functions are of, and is only read; it, the context and the
    // delivery outlive the call.
    let reply = unsafe { (glue::module::<W>().consume())(instance, call.host(), &delivery) };
    let outcome = outcome_of(reply)?;
    // As in the host: what was noted is written, and then what was remembered is stored, if the run ended well.
    call.run().flush(bench)?;
    bench.end(call.run().clone());
    Ok(outcome)
}

fn outcome_of(reply: abi::Reply) -> Result<Outcome> {
    match reply.status {
        abi::Status::DONE => Ok(Outcome::done()),
        abi::Status::SKIPPED => Ok(Outcome::skipped(reply.message.into_string())),
        _ => Err(error_of(reply)),
    }
}

fn error_of(reply: abi::Reply) -> Error {
    match reply.status {
        abi::Status::PANIC => Error::permanent(reply.message.into_string()).with_code("panic"),
        _ => Error::from_reply(reply),
    }
}

struct Services;

impl Services {
    staticref! { const TABLE: WithMetadata<abi::HostVTable> = WithMetadata::new(abi::HostVTable {
        log,
        log_level,
        remaining_ms,
        sleep_ms,
        ckan_action,
        ckan_get: ckan_action,
        fetch,
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

/// The call that a context stands for.
///
/// # Safety
/// `ctx` must be the context of a `Host` whose call has not yet ended.
unsafe fn call_of<'a>(ctx: *const c_void) -> &'a Call<'a> {
    // SAFETY: `Call::host` made it from a `Call`, which is still there, as the caller promises.
    unsafe { &*ctx.cast::<Call<'a>>() }
}

unsafe extern "C" fn log(
    ctx: *const c_void,
    level: u32,
    _target: RStr<'_>,
    message: RStr<'_>,
    fields: RSlice<'_, abi::Attr<'_>>,
) {
    let line = || Line {
        level: level_of(level),
        message: message.to_string(),
        fields: fields.iter().map(|field| (field.key.to_string(), field.value.to_string())).collect(),
    };
    // SAFETY: a worker uses its host only while the call lasts.
    guarded((), || unsafe { call_of(ctx) }.bench.write_line(line()));
}

unsafe extern "C" fn log_level(_: *const c_void) -> u32 {
    Level::Trace as u32
}

unsafe extern "C" fn remaining_ms(ctx: *const c_void) -> u64 {
    // SAFETY: as in `log`.
    guarded(0, || unsafe { call_of(ctx) }.bench.remaining().map_or(u64::MAX, milliseconds))
}

unsafe extern "C" fn sleep_ms(ctx: *const c_void, duration: u64) -> bool {
    // SAFETY: as in `log`.
    guarded(false, || unsafe { call_of(ctx) }.bench.sleep(Duration::from_millis(duration)))
}

unsafe extern "C" fn ckan_action(
    ctx: *const c_void,
    name: RStr<'_>,
    parameters: RSlice<'_, u8>,
) -> RResult<RVec<u8>, abi::Reply> {
    // SAFETY: as in `log`.
    answer(|| unsafe { call_of(ctx) }.bench.action(name.as_str(), parameters.as_slice()))
}

unsafe extern "C" fn fetch(ctx: *const c_void, request: RSlice<'_, u8>) -> RResult<RVec<u8>, abi::Reply> {
    answer(|| {
        // SAFETY: as in `log`.
        let call = unsafe { call_of(ctx) };
        call.bench.fetch(request.as_slice(), call.files.path())
    })
}

unsafe extern "C" fn is_cancelled(ctx: *const c_void) -> bool {
    // SAFETY: as in `log`.
    guarded(true, || unsafe { call_of(ctx) }.bench.is_cancelled())
}

unsafe extern "C" fn http(ctx: *const c_void, request: RSlice<'_, u8>, body: RSlice<'_, u8>) -> abi::Answer {
    answer(|| {
        // SAFETY: as in `log`.
        let call = unsafe { call_of(ctx) };
        call.bench.http(request.as_slice(), body.as_slice(), call.files.path())
    })
}

unsafe extern "C" fn ckan_upload(
    ctx: *const c_void,
    name: RStr<'_>,
    parameters: RSlice<'_, u8>,
    file: RSlice<'_, u8>,
) -> abi::Answer {
    // SAFETY: as in `log`.
    answer(|| unsafe { call_of(ctx) }.bench.upload(name.as_str(), parameters.as_slice(), file.as_slice()))
}

unsafe extern "C" fn ckan_dataset(ctx: *const c_void, id: RStr<'_>) -> abi::Answer {
    // SAFETY: as in `log`.
    answer(|| unsafe { call_of(ctx) }.bench.dataset(id.as_str()))
}

unsafe extern "C" fn ckan_merge(ctx: *const c_void, delta: RSlice<'_, u8>) -> abi::Answer {
    answer(|| {
        // SAFETY: as in `log`.
        let call = unsafe { call_of(ctx) };
        call.run().note(call.bench, delta.as_slice())
    })
}

unsafe extern "C" fn ckan_flush(ctx: *const c_void) -> abi::Answer {
    answer(|| {
        // SAFETY: as in `log`.
        let call = unsafe { call_of(ctx) };
        call.run().flush(call.bench)
    })
}

unsafe extern "C" fn state_get(ctx: *const c_void, key: RStr<'_>) -> abi::Answer {
    // SAFETY: as in `log`.
    answer(|| unsafe { call_of(ctx) }.run().get(key.as_str()))
}

unsafe extern "C" fn state_put(ctx: *const c_void, key: RStr<'_>, value: RSlice<'_, u8>) -> abi::Answer {
    // SAFETY: as in `log`.
    answer(|| unsafe { call_of(ctx) }.run().set(key.as_str(), Some(value.as_slice())))
}

unsafe extern "C" fn state_delete(ctx: *const c_void, key: RStr<'_>) -> abi::Answer {
    // SAFETY: as in `log`.
    answer(|| unsafe { call_of(ctx) }.run().set(key.as_str(), None))
}

unsafe extern "C" fn state_scan(ctx: *const c_void, prefix: RStr<'_>, after: RStr<'_>, limit: u32) -> abi::Answer {
    // SAFETY: as in `log`.
    answer(|| Ok(unsafe { call_of(ctx) }.run().scan(prefix.as_str(), after.as_str(), limit as usize)))
}

unsafe extern "C" fn state_swap(
    ctx: *const c_void,
    key: RStr<'_>,
    expected: RSlice<'_, u8>,
    value: RSlice<'_, u8>,
) -> abi::Answer {
    // SAFETY: as in `log`.
    answer(|| unsafe { call_of(ctx) }.run().swap(key.as_str(), expected.as_slice(), value.as_slice()))
}

unsafe extern "C" fn recheck(ctx: *const c_void, id: RStr<'_>, milliseconds: u64) -> abi::Answer {
    answer(|| {
        // SAFETY: as in `log`.
        unsafe { call_of(ctx) }.run().recheck(id.as_str(), Duration::from_millis(milliseconds));
        Ok(Vec::new())
    })
}

fn answer(work: impl FnOnce() -> Result<Vec<u8>>) -> RResult<RVec<u8>, abi::Reply> {
    let failed = Err(Error::retryable("the bench panicked; its message is on standard error").with_code("bench"));
    match guarded(failed, work) {
        Ok(bytes) => ROk(bytes.into()),
        Err(error) => RErr(glue::reply_of_error(error)),
    }
}

/// Runs `work`; a panic in it must not cross the border.
fn guarded<R>(otherwise: R, work: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn level_of(number: u32) -> Level {
    match number {
        0..=1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Info,
        4 => Level::Debug,
        _ => Level::Trace,
    }
}
