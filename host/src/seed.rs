//! Faults that can be switched on in a debug build, so that the fault suite can show that it would notice them, and
//! points at which the process can be told to die. A release build has none of it: every question is answered with no.

/// A fault that can be switched on, by `CKAN_WORKER_SEEDED_FAULT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A delivery is acknowledged before its runs have ended.
    AckBeforeRun,
    /// What comes again after a lost session is not looked up, as if the lost acknowledgement had been a good one.
    VoidAckIgnored,
    /// A letter counts as kept before the broker has confirmed it.
    ConfirmNotAwaited,
    /// Letters are published on the connection that consumes.
    OneConnection,
    /// The client library's own recovery is on, and nobody watches whether it works.
    AutoRecover,
}

impl Fault {
    /// The word for it in the environment.
    #[cfg(debug_assertions)]
    fn word(self) -> &'static str {
        match self {
            Self::AckBeforeRun => "ack-before-run",
            Self::VoidAckIgnored => "void-ack-ignored",
            Self::ConfirmNotAwaited => "confirm-not-awaited",
            Self::OneConnection => "one-connection",
            Self::AutoRecover => "auto-recover",
        }
    }

    /// Whether it is switched on. Never in a release build.
    #[cfg(debug_assertions)]
    pub fn is_on(self) -> bool {
        use std::sync::LazyLock;
        static ON: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("CKAN_WORKER_SEEDED_FAULT").ok());
        ON.as_deref() == Some(self.word())
    }

    /// Whether it is switched on. Never in a release build.
    #[cfg(not(debug_assertions))]
    pub fn is_on(self) -> bool {
        false
    }
}

/// Ends the process at once, as `kill -9` does, when `CKAN_WORKER_DIE_AT` is `NAME:N` and this point is passed for the
/// Nth time. Nothing in a release build.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static POINT: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let text = std::env::var("CKAN_WORKER_DIE_AT").ok()?;
        let (name, count) = text.split_once(':')?;
        Some((name.to_owned(), AtomicU64::new(count.parse().ok()?)))
    });
    if let Some((wanted, left)) = &*POINT
        && wanted == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

/// Nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn point(_: &str) {}
