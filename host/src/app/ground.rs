//! What workers stand on: the runtime, the services, the private copies of plugin files.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::{App, AppError};
use crate::catalog::PrivateCopies;
use crate::services::call::Services;
use crate::services::{ckan, fetch};
use crate::store::Store;

/// The threads that wait for the network. Workers have threads of their own, and with a second one here every
/// notification would change threads once more.
const RUNTIME_THREADS: usize = 1;

/// What workers stand on.
pub(super) struct Ground {
    pub(super) runtime: Runtime,
    pub(super) services: Arc<Services>,
    pub(super) copies: PrivateCopies,
    /// Becomes `true` when runs are to be broken off.
    pub(super) give_up: watch::Sender<bool>,
    /// Where fetched files lie; deleted with what is left in it.
    pub(super) _room: fetch::Room,
}

impl Ground {
    /// Makes it all, in order.
    ///
    /// # Errors
    /// The system does not give what is needed, or a service cannot be set up.
    pub(super) fn lay(app: &App, store: Store) -> Result<Self, AppError> {
        let system = |what| move |source| AppError::System { what, source };
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("worker-net")
            .enable_all()
            .build()
            .map_err(system("no threads for the network"))?;
        let room = fetch::Room::new(&std::env::temp_dir()).map_err(system("no folder for files that are fetched"))?;
        let (give_up, is_given_up) = watch::channel(false);
        let ckan = ckan::Client::new(app.config.ckan.clone());
        let fetcher = fetch::Fetcher::new(app.config.fetch.clone());
        let mut ckan = ckan.map_err(|error| AppError::Services(error.to_string()))?;
        if let Some(observer) = app.observer.clone() {
            ckan = ckan.telling(Box::new(move |action, parameters| observer.would_write(action, parameters)));
        }
        let services = Services {
            ckan,
            fetcher: fetcher.map_err(|error| AppError::Services(error.to_string()))?,
            fetched_dir: room.path().to_owned(),
            host_id: host_id(),
            store,
            budget: app.config.budget,
            runtime: runtime.handle().clone(),
            give_up: is_given_up,
            observer: app.observer.clone(),
        };
        let copies = PrivateCopies::new().map_err(|refusal| AppError::Services(refusal.to_string()))?;
        Ok(Self { runtime, services: Arc::new(services), copies, give_up, _room: room })
    }

    /// Asks CKAN whom it takes us for: a token that it does not know makes us a stranger without a word.
    ///
    /// # Errors
    /// CKAN does not know the token.
    pub(super) fn introduce_us(&self, stop: &watch::Receiver<bool>) -> Result<(), AppError> {
        if !self.services.ckan.is_set() {
            return Ok(());
        }
        let mut stop = stop.clone();
        let asked = self.runtime.block_on(async {
            tokio::select! {
                // Whoever wants us to stop does not wait for a portal that does not answer.
                Ok(_) = stop.wait_for(|stopping| *stopping) => None,
                report = self.services.ckan.check() => Some(report),
            }
        });
        let Some(report) = asked else { return Ok(()) };
        match report.failure() {
            None => Ok(()),
            Some(failure) if failure.code == "ckan.not-authorized" => {
                Err(AppError::TokenRefused(failure.message.clone()))
            }
            // It may come back before the first notification does.
            Some(failure) => {
                tracing::warn!("CKAN could not be asked whom it takes us for: {}", failure.message);
                Ok(())
            }
        }
    }
}

/// The name of this machine.
fn host_id() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    name
}
