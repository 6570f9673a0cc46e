//! When a resource is looked at again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use jiff::Timestamp;

use crate::record::Record;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// The longest wait that a server may ask for.
const WAIT_MAX: Duration = Duration::from_secs(DAY);
/// The shortest wait before what was postponed is looked at.
pub const WAIT_MIN: Duration = Duration::from_secs(30);
/// How long to wait before CKAN is told again what it did not take, because the dataset was invalid.
pub const TELL_AGAIN: Duration = Duration::from_secs(60 * 60);
/// The longest wait that this worker chooses itself when servers go on being busy: the host counts how often it is
/// called for a dataset, and 50 times a day are too often.
const WAIT_BUSY_MAX: Duration = Duration::from_secs(HOUR);

/// How long after a look that worked: the younger the content, the sooner. Each row has the age that it ends at.
const BY_AGE: [(u64, u64); 3] = [(2 * DAY, 12 * HOUR), (14 * DAY, DAY), (90 * DAY, 7 * DAY)];
const OLDER: u64 = 30 * DAY;

/// How long after a link was found broken so many times: often at first, for most come back soon.
const BY_FAILURES: [(u32, u64); 3] = [(1, HOUR), (2, 4 * HOUR), (7, DAY)];
const MORE_FAILURES: u64 = 7 * DAY;

/// An address that nobody can fetch has to be corrected first, and that is announced.
const INVALID: u64 = 30 * DAY;
/// What is too long may become shorter.
const TOO_LONG: u64 = 7 * DAY;

/// How long to wait before a resource is looked at again whatever CKAN says; `None` for as long as nobody asks.
fn delay(record: &Record, now: Timestamp) -> Option<u64> {
    match (record.is_broken, record.status_id) {
        (Some(false), _) => {
            let changed = record.content_changed_at.unwrap_or(record.created);
            let age = u64::try_from(now.duration_since(changed).as_secs()).unwrap_or(0);
            Some(BY_AGE.iter().find(|(end, _)| age < *end).map_or(OLDER, |(_, delay)| *delay))
        }
        (_, 10) => Some(INVALID),
        (Some(true), _) => {
            let failures = record.failure_count;
            Some(BY_FAILURES.iter().find(|(end, _)| failures <= *end).map_or(MORE_FAILURES, |(_, delay)| *delay))
        }
        (None, _) if record.over_limit.is_some() => Some(TOO_LONG),
        (None, _) => None,
    }
}

/// When a resource of this dataset is looked at again.
///
/// Up to a fifth is added, by the id of the dataset, so that what was looked at in one go does not come due in one
/// moment, and the resources of a dataset still do.
pub fn next_check(record: &Record, dataset_id: &str, now: Timestamp) -> Option<Timestamp> {
    let delay = delay(record, now)?;
    let mut hasher = DefaultHasher::new();
    (dataset_id, delay).hash(&mut hasher);
    let spread = hasher.finish() % (delay / 5);
    now.checked_add(Duration::from_secs(delay + spread)).ok()
}

/// How long until what a server asked to leave alone is looked at; `times` is how often that has been so in a row.
///
/// The server's own wish counts, between half a minute and a day. One that stays busy is left alone longer each time.
pub fn postponement(wish: Option<Duration>, times: u32) -> Duration {
    let own = WAIT_MIN.saturating_mul(4_u32.saturating_pow(times.saturating_sub(1))).min(WAIT_BUSY_MAX);
    wish.unwrap_or_default().clamp(own, WAIT_MAX.max(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Finding;
    use crate::record::Inputs;
    use crate::status::Status;

    const NOW: i64 = 2_000_000_000;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn record(is_broken: Option<bool>, age: u64, failure_count: u32) -> Record {
        let changed = Timestamp::from_second(NOW - i64::try_from(age).unwrap()).unwrap();
        let record = Record::new("p", "r", now());
        Record { is_broken, failure_count, content_changed_at: Some(changed), ..record }
    }

    #[test]
    fn what_changed_lately_is_looked_at_soon_and_what_has_long_been_the_same_seldom() {
        let table = [
            (0, 12 * HOUR),
            (2 * DAY - 1, 12 * HOUR),
            (2 * DAY, DAY),
            (14 * DAY - 1, DAY),
            (14 * DAY, 7 * DAY),
            (90 * DAY, 30 * DAY),
            (4000 * DAY, 30 * DAY),
        ];
        for (age, expected) in table {
            assert_eq!(delay(&record(Some(false), age, 0), now()), Some(expected), "{age}");
        }
    }

    #[test]
    fn a_broken_link_is_looked_at_soon_and_then_less_and_less_often() {
        let table = [(1, HOUR), (2, 4 * HOUR), (3, DAY), (7, DAY), (8, 7 * DAY), (1000, 7 * DAY)];
        for (failures, expected) in table {
            assert_eq!(delay(&record(Some(true), 0, failures), now()), Some(expected), "{failures}");
        }
    }

    #[test]
    fn what_is_left_out_is_not_looked_at_by_itself() {
        let inputs = Inputs { url: String::new(), format: String::new(), last_modified: None };
        let mut record = record(None, 0, 0);
        record.take(&Finding::without_copy(Status::ChoseNotToDownload, ""), &inputs, now());
        assert_eq!(next_check(&record, "p", now()), None);
        let too_long = Finding { over_limit: Some(7), ..Finding::without_copy(Status::ChoseNotToDownload, "") };
        record.take(&too_long, &inputs, now());
        assert_eq!(delay(&record, now()), Some(7 * DAY));
        record.take(&Finding::without_copy(Status::UrlInvalid, ""), &inputs, now());
        assert_eq!(delay(&record, now()), Some(30 * DAY));
    }

    #[test]
    fn datasets_come_due_one_after_another_and_the_resources_of_one_together() {
        let record = record(Some(false), 0, 0);
        let due = |dataset: usize| next_check(&record, &format!("dataset-{dataset}"), now()).unwrap().as_second() - NOW;
        let times: Vec<i64> = (0..1000).map(due).collect();
        assert_eq!(due(7), due(7));
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        let twelve_hours = i64::try_from(12 * HOUR).unwrap();
        assert!(*least >= twelve_hours && *most < twelve_hours * 6 / 5, "{least} {most}");
        assert!(most - least > twelve_hours / 6, "they are spread over most of the fifth: {least} {most}");
    }

    #[test]
    fn a_busy_server_is_left_alone_as_long_as_it_says_and_longer_each_time() {
        let seconds = |wish: Option<u64>, times| postponement(wish.map(Duration::from_secs), times).as_secs();
        assert_eq!([seconds(None, 1), seconds(Some(1), 1), seconds(Some(90), 1)], [30, 30, 90]);
        assert_eq!([seconds(Some(1), 2), seconds(Some(1), 3), seconds(Some(1), 4)], [120, 480, 1920]);
        assert_eq!([seconds(Some(1), 9), seconds(None, u32::MAX)], [HOUR, HOUR]);
        assert_eq!(seconds(Some(1_000_000_000), 1), DAY);
    }
}
