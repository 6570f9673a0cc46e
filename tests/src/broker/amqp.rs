//! Short connections to a broker, for code that is not async.

use std::sync::LazyLock;
use std::time::Duration;

use lapin::{Channel, Connection, ConnectionProperties};
use tokio::runtime::{Builder, Runtime};

/// How long a single question to the broker may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(1).thread_name("rig-amqp").enable_all().build().expect("threads start")
});

/// Waits for `work`, also where the test itself is async: on a thread of its own.
pub fn wait_for<T: Send>(work: impl Future<Output = T> + Send) -> T {
    wait_at_most(ANSWER_MAX, work).unwrap_or_else(|| panic!("the broker has not answered within {ANSWER_MAX:?}"))
}

/// As [`wait_for`], where it may be that the broker does not answer.
pub fn wait_at_most<T: Send>(max: Duration, work: impl Future<Output = T> + Send) -> Option<T> {
    let wait = || RUNTIME.block_on(async { tokio::time::timeout(max, work).await });
    let result = std::thread::scope(|scope| scope.spawn(wait).join());
    match result {
        Ok(answer) => answer.ok(),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Whether a broker takes connections there.
pub fn answers(url: &str) -> bool {
    wait_for(async {
        let connecting = Connection::connect(url, ConnectionProperties::default());
        match tokio::time::timeout(Duration::from_secs(5), connecting).await {
            Ok(Ok(connection)) => connection.close(200, "seen".into()).await.is_ok(),
            _ => false,
        }
    })
}

/// Does `work` on a channel of a connection made for it, and closes the connection.
pub fn on_channel<T, F>(url: &str, work: impl FnOnce(Channel) -> F + Send) -> lapin::Result<T>
where
    T: Send,
    F: Future<Output = lapin::Result<T>> + Send,
{
    wait_for(with_channel(url, work))
}

/// As [`on_channel`], for whoever waits himself.
pub async fn with_channel<T, F>(url: &str, work: impl FnOnce(Channel) -> F) -> lapin::Result<T>
where
    F: Future<Output = lapin::Result<T>>,
{
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let result = work(connection.create_channel().await?).await;
    // After a refusal the channel is closed but not the connection; what counts is the result.
    let _ = connection.close(200, "done".into()).await;
    result
}
