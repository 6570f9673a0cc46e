//! Times as they stand in the file: milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of day.
pub fn now_ms() -> i64 {
    since_epoch_ms(SystemTime::now())
}

/// A time as it stands in the file.
pub fn since_epoch_ms(time: SystemTime) -> i64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A time that stands in the file.
pub fn time(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms.max(0).unsigned_abs())
}

/// A duration as it stands in the file.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
