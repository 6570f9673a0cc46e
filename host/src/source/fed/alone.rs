//! Of several hosts that share a queue's file, one feeds it: twice the questions would bring everything twice.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// How often it is looked whether the other host has ended.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Waits until no other host feeds this queue in the file at `path`, and keeps others from it for as long as the answer lives. Who has
/// to wait need not wait for the queue to be filled: another one fills it.
///
/// # Cancel safety
/// When the future is dropped, others may.
pub async fn alone(path: &Path, queue: &str, has_looked: &watch::Sender<bool>) -> Option<File> {
    let lock = lock_of(path, queue);
    let mut has_waited = false;
    loop {
        let tried = File::create(&lock).map(|file| (file.try_lock(), file));
        match tried {
            Ok((Ok(()), file)) => return Some(file),
            Ok((Err(TryLockError::WouldBlock), _)) => {}
            // Where nothing can be locked, nobody else is known of.
            Ok((Err(TryLockError::Error(error)), _)) | Err(error) => {
                tracing::warn!("{} cannot be locked, so let no other host feed the queue: {error}", lock.display());
                return None;
            }
        }
        if !has_waited {
            has_waited = true;
            let _ = has_looked.send(true);
            tracing::info!("another host feeds the queue; this one takes over when that ends");
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// The file that is locked: one for each queue of each file.
fn lock_of(path: &Path, queue: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    for c in queue.chars() {
        // A queue's name may hold anything, a file's may not.
        if c.is_alphanumeric() || "-_.".contains(c) {
            name.push(c.to_string());
        } else {
            name.push(format!("%{:x}", u32::from(c)));
        }
    }
    name.push(".feed");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_of_each_file_has_a_lock_of_its_own() {
        let lock = |path: &str, queue: &str| lock_of(Path::new(path), queue).display().to_string();
        assert_eq!(lock("/var/data.example", "portal.q"), "/var/data.example.portal.q.feed");
        assert_eq!(lock("/var/data.other", "portal.q"), "/var/data.other.portal.q.feed");
        assert_eq!(lock("/var/data.example", "../a b"), "/var/data.example...%2fa%20b.feed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_second_waits_for_the_first_to_end_and_says_that_the_queue_is_fed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queue.db");
        let (tell, has_looked) = watch::channel(false);
        let first = alone(&path, "q", &tell).await;
        assert!(first.is_some() && !*has_looked.borrow());
        let (tell, mut has_looked) = watch::channel(false);
        let second = alone(&path, "q", &tell);
        tokio::pin!(second);
        tokio::select! {
            _ = &mut second => panic!("the first is still there"),
            told = has_looked.wait_for(|has_looked| *has_looked) => drop(told.unwrap()),
        }
        drop(first);
        assert!(second.await.is_some());
    }
}
