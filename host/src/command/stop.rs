//! Ctrl-C and SIGTERM: the first stops gracefully, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Builder;
use tokio::sync::watch;

use super::say;
use crate::exit::Exit;
use crate::journal;

/// Whether and how the worker was asked to stop.
pub struct Stop {
    /// Becomes `true` with the first signal.
    pub stopping: watch::Receiver<bool>,
    is_by_hand: Arc<AtomicBool>,
}

impl Stop {
    /// Whether somebody pressed Ctrl-C, and so wants to know how it ended.
    pub fn is_by_hand(&self) -> bool {
        self.is_by_hand.load(Ordering::Acquire)
    }
}

/// Listens for the signals to stop.
pub fn on_signals() -> Stop {
    on_signals_saying("stopping: waiting for the work in hand, the rest goes back; once more to stop at once")
}

/// The same, with something else to say when the first comes.
pub fn on_signals_saying(stopping_is_said: &'static str) -> Stop {
    let (stop, stopping) = watch::channel(false);
    let is_by_hand = Arc::new(AtomicBool::new(false));
    let by_hand = Arc::clone(&is_by_hand);
    let listen = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            by_hand.store(asked_to_stop().await, Ordering::Release);
            stop.send_replace(true);
            say(stopping_is_said);
            asked_to_stop().await;
            // What is cut off now was not the fault of what was being worked on.
            journal::forgive_all();
            std::process::exit(Exit::Interrupted as i32);
        });
    };
    if let Err(error) = std::thread::Builder::new().name("worker-signals".to_owned()).spawn(listen) {
        tracing::warn!("no thread to listen for signals, so they end the worker at once: {error}");
    }
    Stop { stopping, is_by_hand }
}

/// Waits for a signal to stop; answers whether it was Ctrl-C.
#[cfg(unix)]
async fn asked_to_stop() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => true,
            _ = terminate.recv() => false,
        },
        Err(_) => tokio::signal::ctrl_c().await.is_ok(),
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
async fn asked_to_stop() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}
