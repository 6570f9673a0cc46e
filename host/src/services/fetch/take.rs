//! Takes the content of an answer into a file, under a limit, and not from one that dawdles.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ckan_worker_plugin::{Body, Hash};
use tokio::time::{Instant, timeout};

use super::ask::Keep;
use super::landing::Landing;
use super::{Deadlines, failure};
use crate::services::Failure;
use crate::services::http::{Response, StatusCode, header};

/// How long somebody may take to say that what was just cut was all there is.
const END_MAX: Duration = Duration::from_secs(1);

/// Content that is arriving.
pub(super) struct Arriving<'a> {
    response: Response,
    deadlines: &'a Deadlines,
    /// How long we have waited for the other side; what our own disk takes is not its fault.
    waited: Duration,
    bytes: u64,
}

/// Takes what is to be kept of an answer's content.
///
/// # Cancel safety
/// Dropping the future closes the connection and deletes the file.
pub(super) async fn take(
    response: Response,
    keep: Keep,
    hash: Hash,
    deadlines: &Deadlines,
    dir: &Path,
) -> Result<Option<Body>, Failure> {
    let (bytes_max, cuts) = match keep {
        Keep::Nothing => return Ok(None),
        _ if response.status() == StatusCode::NOT_MODIFIED => return Ok(None),
        Keep::All { bytes_max } => (bytes_max, false),
        Keep::First { bytes } => (bytes, true),
    };
    if let Some(bytes) = response.content_length().filter(|bytes| *bytes > bytes_max && !cuts) {
        return Err(failure::too_large(bytes, bytes_max, true));
    }
    let mut is_whole = holds_all(&response);
    let mut arriving = Arriving { response, deadlines, waited: Duration::ZERO, bytes: 0 };
    let mut landing = Landing::create(dir, hash).await.map_err(|error| failure::disk(dir, &error))?;
    while let Some(mut chunk) = arriving.chunk().await? {
        let room = usize::try_from(bytes_max - landing.bytes()).unwrap_or(usize::MAX);
        if chunk.len() > room && !cuts {
            return Err(failure::too_large(bytes_max.saturating_add(1), bytes_max, false));
        }
        is_whole &= chunk.len() <= room;
        chunk.truncate(room);
        landing.write(&chunk).await.map_err(|error| failure::disk(dir, &error))?;
        if cuts && landing.bytes() == bytes_max {
            is_whole = is_whole && arriving.has_ended().await;
            break;
        }
    }
    let landed = landing.finish().await.map_err(|error| failure::disk(dir, &error))?;
    Ok(Some(Body { path: landed.path, bytes: landed.bytes, hash: landed.hash, is_whole }))
}

impl Arriving<'_> {
    /// The next piece; `None` at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let begun = Instant::now();
        let idle = self.deadlines.idle;
        let chunk = timeout(idle, self.response.chunk())
            .await
            .map_err(|_| failure::timed_out(idle, &format!("nothing more came after {} bytes", self.bytes)))?
            .map_err(|error| failure::broken_off(error.into(), self.bytes))?;
        self.waited += begun.elapsed();
        if let Some(chunk) = &chunk {
            self.bytes += chunk.len() as u64;
            self.check_rate()?;
        }
        Ok(chunk)
    }

    fn check_rate(&self) -> Result<(), Failure> {
        let Deadlines { rate_min, rate_grace, .. } = *self.deadlines;
        let least = self.waited.as_millis() * u128::from(rate_min) / 1000;
        let is_slow = self.waited > rate_grace && u128::from(self.bytes) < least;
        if is_slow {
            let what = format!("fewer than {rate_min} bytes a second came");
            return Err(failure::timed_out(self.waited, &what));
        }
        Ok(())
    }

    /// Whether no more comes. One who does not say so at once has more.
    async fn has_ended(&mut self) -> bool {
        matches!(timeout(END_MAX.min(self.deadlines.idle), self.response.chunk()).await, Ok(Ok(None)))
    }
}

/// Whether an answer holds all of the content, or only the part of it that was asked for.
fn holds_all(response: &Response) -> bool {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return true;
    }
    // As in `bytes 0-99/100`.
    let all = |text: &str| {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let last: u64 = last.parse().ok()?;
        let total: u64 = total.parse().ok()?;
        Some(first == "0" && last.checked_add(1)? == total)
    };
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.and_then(all).unwrap_or(false)
}
