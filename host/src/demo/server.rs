//! A web server on a loopback port of its own, stopped with its owner.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a stop waits for answers under way.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A running server; dropping it stops it as well, but does not wait.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<io::Result<()>>,
}

/// Tells an answer that takes long that the server is stopping.
#[derive(Debug, Clone)]
pub(super) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Returns once the server is being stopped, or is gone.
    pub(super) async fn wait(mut self) {
        // An error means that the server was dropped, which is a stop as well.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

impl Server {
    /// Listens on a free loopback port and serves what `make` makes.
    ///
    /// `make` is given the address, and what tells that the server is stopping.
    ///
    /// # Errors
    /// There is no free port, or the system does not let us listen.
    pub(super) async fn start(make: impl FnOnce(SocketAddr, Stopping) -> Router) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let router = make(address, Stopping(stopping.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(
            async move { axum::serve(listener, router).with_graceful_shutdown(Stopping(stopping).wait()).await },
        );
        Ok(Self { address, stop, tasks })
    }

    /// Where it listens, without a slash at the end.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and waits until every answer under way has ended, or for [`STOP_MAX`].
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        // A client that neither reads nor hangs up would be waited for without end.
        let _ = tokio::time::timeout(STOP_MAX, self.tasks.join_next()).await;
    }
}
