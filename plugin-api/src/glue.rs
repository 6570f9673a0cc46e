//! Between a [`Worker`] and the ABI: nobody's business but [`export_worker!`](crate::export_worker) and the test bench.
#![expect(unsafe_code, reason = "the plugin's side of the border")]

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Once, PoisonError, RwLock};

use abi::abi_stable::library::{CheckTypeLayout, RootModuleResult};
use abi::abi_stable::prefix_type::{PrefixRefTrait, WithMetadata};
use abi::abi_stable::staticref;
use abi::abi_stable::std_types::{RErr, ROk, RResult, RStr, RString};
use abi::{Delivery, Instance, PluginModule, PluginModuleRef, Reply, Status};
use ckan_worker_abi as abi;
use serde_json::{Map, Value};

use crate::{Class, Error, Host, Level, Notification, Outcome, Result, Worker, read_settings};

pub use abi::abi_stable::library::LibHeader;

pub use crate::manifest::{Note, note_length};

/// The functions of `T`, for a plugin file (`EXPORTED`) or for a worker that is linked in.
struct Glue<T, const EXPORTED: bool>(T);

impl<T: Worker, const EXPORTED: bool> Glue<T, EXPORTED> {
    unsafe extern "C" fn create(host: abi::Host, settings: RStr<'_>) -> RResult<Instance, Reply> {
        if EXPORTED {
            send_panics_to(host);
        }
        guarded(host, || match create::<T>(host, settings.as_str()) {
            Ok(worker) => ROk(Instance(Box::into_raw(Box::new(worker)).cast())),
            Err(error) => RErr(reply_of_error(error)),
        })
        .unwrap_or_else(|message| RErr(reply(Status::PANIC, message)))
    }

    unsafe extern "C" fn consume(instance: Instance, host: abi::Host, delivery: &Delivery<'_>) -> Reply {
        guarded(host, || {
            // SAFETY: the host calls with an instance that `create` of this very type made and `destroy` has not yet
            // taken back.
            let worker = unsafe { &*instance.0.cast::<T>() };
            // SAFETY: the host keeps its context valid until this function returns, and nothing outlives it: `Host`
            // borrows from here.
            let host = unsafe { Host::from_abi(host) };
            match worker.consume(&Notification::from_abi(delivery), &host) {
                Ok(Outcome::Done) => reply(Status::DONE, String::new()),
                Ok(Outcome::Skipped(reason)) => reply(Status::SKIPPED, reason.into_owned()),
                Err(error) => reply_of_error(error),
            }
        })
        .unwrap_or_else(|message| reply(Status::PANIC, message))
    }

    unsafe extern "C" fn destroy(instance: Instance) {
        // SAFETY: the host calls this once, with what `create` made and no call running.
        let worker = unsafe { Box::from_raw(instance.0.cast::<T>()) };
        // The host can do nothing about a worker that panics while it is dropped; the hook has logged it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(worker))).map_err(std::mem::forget);
    }

    staticref! { const MODULE: WithMetadata<PluginModule> = WithMetadata::new(PluginModule {
        create: Self::create,
        consume: Self::consume,
        destroy: Self::destroy,
    }) }

    extern "C" fn root() -> RootModuleResult {
        let module = PluginModuleRef(Self::MODULE.as_prefix());
        // SAFETY: the reference is to a prefix type of this crate, and only loses its type here; the header says
        // which it is.
        ROk(unsafe { module.to_prefix_ref().cast() })
    }
}

/// The header that a plugin file exports.
pub const fn header<T: Worker>() -> LibHeader {
    // SAFETY: `root` answers a `PluginModuleRef`, the type named here.
    unsafe { LibHeader::from_constructor::<PluginModuleRef>(Glue::<T, true>::root, CheckTypeLayout::Yes) }
}

/// The functions of a worker that is linked into the host or a test.
pub fn module<T: Worker>() -> PluginModuleRef {
    PluginModuleRef(Glue::<T, false>::MODULE.as_prefix())
}

fn create<T: Worker>(host: abi::Host, settings: &str) -> Result<T> {
    let settings: Map<String, Value> = if settings.is_empty() {
        Map::new()
    } else {
        serde_json::from_str(settings)
            .map_err(|error| Error::permanent(format!("the host sent settings that are not JSON: {error}")))?
    };
    let config = read_settings(&settings).map_err(|problems| Error {
        detail: serde_json::to_string(&problems).unwrap_or_default(),
        ..Error::permanent(problems.to_string()).with_code("settings")
    })?;
    // SAFETY: the host keeps the context of `create` valid until `destroy` has returned.
    T::create(config, &unsafe { Host::from_abi(host) })
}

fn reply(status: Status, message: String) -> Reply {
    Reply {
        status,
        flags: 0,
        retry_after_ms: 0,
        code: RString::new(),
        message: if message.is_empty() { RString::new() } else { message.into() },
        detail: RString::new(),
    }
}

/// An error as it crosses the border.
pub fn reply_of_error(error: Error) -> Reply {
    let status = match error.class {
        Class::Retryable => Status::RETRY,
        Class::Permanent => Status::PERMANENT,
        Class::Cancelled => Status::CANCELLED,
    };
    Reply {
        retry_after_ms: error
            .retry_after
            .map_or(0, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).max(1)),
        code: error.code.into_owned().into(),
        detail: error.detail.into(),
        ..reply(status, error.message)
    }
}

thread_local! {
    /// The host of the call that this thread is in, for the panic hook.
    static CALL: Cell<Option<abi::Host>> = const { Cell::new(None) };
}

/// The host as `create` was given it, for panics on threads that the plugin started itself.
static CREATED: RwLock<Option<abi::Host>> = RwLock::new(None);

/// Runs `work`; a panic in it becomes its text.
fn guarded<R>(host: abi::Host, work: impl FnOnce() -> R) -> Result<R, String> {
    let outer = CALL.replace(Some(host));
    let result = catch_unwind(AssertUnwindSafe(work));
    CALL.set(outer);
    result.map_err(|payload| {
        let text = panic_text(payload.as_ref());
        // A payload whose own `drop` panics must not get out.
        std::mem::forget(payload);
        text
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}

/// Sends what panics in this library to the host's log instead of standard error. The library has a standard library,
/// and so a hook, of its own.
fn send_panics_to(host: abi::Host) {
    static ONCE: Once = Once::new();
    *CREATED.write().unwrap_or_else(PoisonError::into_inner) = Some(host);
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let host = CALL.get().or_else(|| *CREATED.read().unwrap_or_else(PoisonError::into_inner));
            let Some(host) = host else { return };
            let place = panic.location().map_or_else(String::new, ToString::to_string);
            let backtrace = std::backtrace::Backtrace::capture().to_string();
            let text = panic_text(panic.payload());
            // SAFETY: within a call its host is valid; outside of one the host of `create` is, until `destroy`, and the
            // host never gives that context's memory back.
            let host = unsafe { Host::from_abi(host) };
            host.log(Level::Error, &format!("panic: {text}"), &[("place", &place), ("backtrace", &backtrace)]);
        }));
    });
}

/// Makes a crate with `crate-type = ["cdylib"]` a plugin file, with the given [`Worker`] in it.
///
/// ```
/// use ckan_worker_plugin::prelude::*;
///
/// struct Hello;
///
/// impl Worker for Hello {
///     type Config = NoSettings;
///
///     fn create(_: NoSettings, _: &Host<'_>) -> Result<Self> {
///         Ok(Self)
///     }
///
///     fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
///         host.info(&format!("hello {}", notification.entity_id()?));
///         Ok(Outcome::done())
///     }
/// }
///
/// export_worker!(Hello, routing_keys: &["Package"], operations: &["new"]);
/// # fn main() {}
/// ```
///
/// After the type, any field of [`Manifest`](crate::Manifest) may be given.
#[macro_export]
macro_rules! export_worker {
    ($worker:ty $(, $field:ident : $value:expr)* $(,)?) => {
        const _: () = {
            // A panic could then not be kept from taking the host with it.
            #[cfg(panic = "abort")]
            ::core::compile_error!("CKAN worker plugins must be built with panic = \"unwind\"");

            const MANIFEST: $crate::Manifest = $crate::Manifest {
                $($field: $value,)*
                ..$crate::Manifest::of_crate(
                    ::core::env!("CARGO_PKG_NAME"),
                    ::core::env!("CARGO_PKG_VERSION"),
                    ::core::env!("CARGO_PKG_DESCRIPTION"),
                    ::core::env!("CARGO_PKG_LICENSE"),
                    ::core::env!("CARGO_PKG_HOMEPAGE"),
                )
            };

            #[used]
            #[unsafe(no_mangle)]
            #[cfg_attr(
                not(any(target_vendor = "apple", windows)),
                unsafe(link_section = ".note.ckanworker")
            )]
            #[allow(non_upper_case_globals)]
            pub static ckan_worker_manifest_v1: $crate::glue::Note<{ $crate::glue::note_length(&MANIFEST) }> =
                $crate::glue::Note::new(&MANIFEST);

            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)]
            pub static ckan_worker_plugin_v1: $crate::glue::LibHeader = $crate::glue::header::<$worker>();
        };
    };
}
