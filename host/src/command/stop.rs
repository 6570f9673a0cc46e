//! Ctrl-C and SIGTERM: the first stops gracefully, the second at once.

use tokio::runtime::Builder;
use tokio::sync::watch;

use super::say;
use crate::exit::Exit;

/// Listens for the signals to stop; the answer becomes `true` with the first.
pub fn on_signals() -> watch::Receiver<bool> {
    let (stop, stopping) = watch::channel(false);
    let listen = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            asked_to_stop().await;
            stop.send_replace(true);
            say("stopping: work in hand is finished, the rest goes back; once more to stop at once");
            asked_to_stop().await;
            std::process::exit(Exit::Interrupted as i32);
        });
    };
    if let Err(error) = std::thread::Builder::new().name("worker-signals".to_owned()).spawn(listen) {
        tracing::warn!("no thread to listen for signals, so they end the worker at once: {error}");
    }
    stopping
}

#[cfg(unix)]
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
async fn asked_to_stop() {
    drop(tokio::signal::ctrl_c().await);
}
