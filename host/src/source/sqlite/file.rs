//! The queue's file: its tables, and each thing that is done to them.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};

use super::{holder, statements};
use crate::delivery::{Delivery, DeliveryId, Fate, Letter, Receipt};
use crate::source::{Message, SourceError};

/// How long a claim lasts that is not renewed.
const LEASE: Duration = Duration::from_secs(60);

/// How long another process may hold the file.
const BUSY_MAX: Duration = Duration::from_secs(30);

/// How often what others hold is looked at, for it may have been left behind.
const TAKE_BACK_EVERY: Duration = Duration::from_secs(1);

/// How often the file is tried again that others are just making.
const OPEN_AGAIN_MAX: usize = 50;

/// A dead letter as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// The delivery it was.
    pub delivery: String,
    /// The worker that gave up on it.
    pub worker: Option<String>,
    /// The word for why it is dead.
    pub reason: String,
    /// The last error.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The message, byte for byte as it was published.
    pub body: Vec<u8>,
}

/// The file of a queue, open.
pub struct QueueFile {
    connection: Connection,
    address: String,
    queue: String,
    /// The one class that is consumed; `None` for all.
    only_class: Option<String>,
    /// A name that nobody else has who holds messages, in this process or another.
    holder: String,
    /// This file's number among those that this process opened, so that a receipt of another is known.
    session: u64,
    took_back: Instant,
}

impl QueueFile {
    /// Opens the file, making it and its folder if need be, and takes back what dead processes held.
    pub fn open(path: &Path, queue: &str, routing_key: &str) -> Result<Self, SourceError> {
        let address = format!("sqlite:{}", path.display());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                SourceError::Unusable(format!("{address}: cannot make the folder {}: {error}", folder.display()))
            })?;
        }
        let connection = open(path).map_err(|error| trouble(&address, &error))?;
        let only_class = (!matches!(routing_key, "*" | "#")).then(|| routing_key.to_owned());
        let (holder, session) = holder::next();
        let queue = queue.to_owned();
        let mut file = Self { connection, address, queue, only_class, holder, session, took_back: Instant::now() };
        file.take_back()?;
        Ok(file)
    }

    /// Puts messages on the queue.
    pub fn publish(&mut self, messages: &[Message]) -> Result<(), SourceError> {
        let (queue, now) = (self.queue.clone(), now_ms());
        self.write(|change| {
            let mut insert = change.prepare_cached(statements::PUBLISH)?;
            for message in messages {
                insert.execute(params![queue, message.routing_key, message.id, &message.body[..], now])?;
            }
            Ok(())
        })
    }

    /// Claims what waits, oldest first, at most `max`.
    pub fn claim(&mut self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        // Looking costs nobody the right to write.
        if self.waiting(1)? == 0 {
            if self.took_back.elapsed() >= TAKE_BACK_EVERY {
                self.take_back()?;
            }
            return Ok(Vec::new());
        }
        let (queue, holder, only_class) = (self.queue.clone(), self.holder.clone(), self.only_class.clone());
        let until = now_ms() + millis(LEASE);
        let session = self.session;
        let sql = if only_class.is_none() { statements::CLAIM } else { statements::CLAIM_OF_CLASS };
        self.write(|change| {
            let mut claim = change.prepare_cached(sql)?;
            let rows = claim.query_map(params![queue, count(max), only_class, holder, until], |row| {
                let tag: i64 = row.get(0)?;
                let name: Option<String> = row.get(1)?;
                let body: Vec<u8> = row.get(2)?;
                let deliveries: i64 = row.get(3)?;
                let tag = tag.unsigned_abs();
                Ok(Delivery {
                    id: name.map_or(DeliveryId::Numbered(0, tag), |name| DeliveryId::Named(name.into())),
                    body: body.into(),
                    past: None,
                    redelivered: deliveries > 1,
                    receipt: Receipt { session, tag },
                    origin: None,
                })
            })?;
            let mut claimed = rows.collect::<Result<Vec<_>, _>>()?;
            // The order in which an update answers its rows is not promised.
            claimed.sort_unstable_by_key(|delivery| delivery.receipt.tag);
            Ok(claimed)
        })
    }

    /// Takes settled messages off the queue, if this process still holds them.
    pub fn settle(&mut self, receipts: &[Receipt]) -> Result<(), SourceError> {
        self.for_each(statements::SETTLE, receipts)
    }

    /// Gives messages back.
    pub fn release(&mut self, receipts: &[Receipt]) -> Result<(), SourceError> {
        self.for_each(statements::RELEASE, receipts)
    }

    /// Renews the leases of this source, and takes back what others left behind.
    pub fn renew(&mut self) -> Result<(), SourceError> {
        let (queue, holder, until) = (self.queue.clone(), self.holder.clone(), now_ms() + millis(LEASE));
        self.write(|change| change.execute(statements::RENEW, params![queue, holder, until]).map(drop))?;
        self.take_back()
    }

    /// Gives back all that this source holds.
    pub fn release_all(&mut self) -> Result<(), SourceError> {
        if self.held()? == 0 {
            return Ok(());
        }
        let (queue, holder) = (self.queue.clone(), self.holder.clone());
        self.write(|change| change.execute(statements::RELEASE_ALL, params![queue, holder, i64::MAX]).map(drop))
    }

    /// How many messages wait or are held by this source.
    pub fn depth(&mut self) -> Result<u64, SourceError> {
        Ok(self.waiting(i64::MAX)? + self.held()?)
    }

    fn held(&self) -> Result<u64, SourceError> {
        let held: rusqlite::Result<i64> =
            self.connection.query_row(statements::HELD, params![self.queue, self.holder], |row| row.get(0));
        held.map(i64::unsigned_abs).map_err(|error| trouble(&self.address, &error))
    }

    /// How many messages wait, counted up to `enough`.
    fn waiting(&self, enough: i64) -> Result<u64, SourceError> {
        let of_all = self.only_class.is_none();
        let sql = if of_all { statements::WAITING } else { statements::WAITING_OF_CLASS };
        let count = || {
            let values = params![self.queue, enough, self.only_class];
            self.connection.prepare_cached(sql)?.query_row(values, |row| row.get::<_, i64>(0))
        };
        count().map(i64::unsigned_abs).map_err(|error| trouble(&self.address, &error))
    }

    /// Keeps a dead letter.
    pub fn keep(&mut self, letter: &Letter) -> Result<(), SourceError> {
        let queue = self.queue.clone();
        let Fate::Dead(reason) = letter.fate else {
            return Err(SourceError::Unusable("there is no ladder here yet".to_owned()));
        };
        self.write(|change| {
            let row = params![
                queue,
                letter.delivery.to_string(),
                letter.worker,
                reason.as_str(),
                letter.error,
                letter.attempts,
                since_epoch_ms(letter.first_seen),
                now_ms(),
                &letter.body[..]
            ];
            change.execute(statements::KEEP, row).map(drop)
        })
    }

    /// The dead letters, oldest first.
    pub fn letters(&self) -> Result<Vec<StoredLetter>, SourceError> {
        let read = || -> rusqlite::Result<Vec<StoredLetter>> {
            let mut letters = self.connection.prepare(statements::LETTERS)?;
            let rows = letters.query_map([&self.queue], |row| {
                Ok(StoredLetter {
                    delivery: row.get(0)?,
                    worker: row.get(1)?,
                    reason: row.get(2)?,
                    error: row.get(3)?,
                    attempts: row.get(4)?,
                    body: row.get(5)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|error| trouble(&self.address, &error))
    }

    /// Deletes what waits; answers how many messages that were.
    pub fn purge(&mut self) -> Result<u64, SourceError> {
        let queue = self.queue.clone();
        self.write(|change| change.execute(statements::PURGE, [queue]).map(|deleted| deleted as u64))
    }

    /// Takes back what processes held that are gone, at once, and what others hold beyond their leases.
    fn take_back(&mut self) -> Result<(), SourceError> {
        self.took_back = Instant::now();
        let (queue, now) = (self.queue.clone(), now_ms());
        let left = self.left_behind(now).map_err(|error| trouble(&self.address, &error))?;
        if left.is_empty() {
            return Ok(());
        }
        self.write(|change| {
            let mut free = change.prepare_cached(statements::RELEASE_ALL)?;
            // Who is gone never comes back; who is only late may have renewed a lease since it was looked at.
            left.iter().try_for_each(|(holder, is_gone)| {
                free.execute(params![queue, holder, if *is_gone { i64::MAX } else { now }]).map(drop)
            })
        })
    }

    /// Who holds messages and is gone, or is late; and which of both.
    fn left_behind(&self, now: i64) -> rusqlite::Result<Vec<(String, bool)>> {
        let mut others = self.connection.prepare_cached(statements::OTHERS)?;
        let others = others.query_map(params![self.queue, self.holder, now], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut left = Vec::new();
        for other in others {
            let (holder, is_late): (String, bool) = other?;
            let is_gone = holder::is_gone(&holder);
            if is_gone || is_late {
                left.push((holder, is_gone));
            }
        }
        Ok(left)
    }

    fn for_each(&mut self, sql: &str, receipts: &[Receipt]) -> Result<(), SourceError> {
        if receipts.is_empty() {
            return Ok(());
        }
        let (holder, session) = (self.holder.clone(), self.session);
        self.write(|change| {
            let mut statement = change.prepare_cached(sql)?;
            for receipt in receipts.iter().filter(|receipt| receipt.session == session) {
                statement.execute(params![receipt.tag.cast_signed(), holder])?;
            }
            Ok(())
        })
    }

    /// Does a change, all of it or nothing, on disk when this answers.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, SourceError> {
        let done = (|| {
            let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&change)?;
            change.commit()?;
            Ok(done)
        })();
        done.map_err(|error| trouble(&self.address, &error))
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_MAX)?;
    let mut tries = 0;
    // Who finds another making the file is told so at once, whatever the timeout.
    while let Err(error) = prepare(&connection) {
        tries += 1;
        if !is_busy(&error) || tries > OPEN_AGAIN_MAX {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(fastrand::u64(1..40)));
    }
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch(statements::SCHEMA)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What an error of SQLite's means for us: some pass by themselves, the others somebody has to mend.
fn trouble(address: &str, error: &rusqlite::Error) -> SourceError {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "the file is no queue or is damaged; move it away, or name another in `amqp.url`"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            "the file and its folder must be writable for this user"
        }
        _ => return SourceError::Unavailable { address: address.to_owned(), problem: error.to_string() },
    };
    SourceError::Unusable(format!("{address}: {error}; {advice}"))
}

fn now_ms() -> i64 {
    since_epoch_ms(SystemTime::now())
}

fn since_epoch_ms(time: SystemTime) -> i64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn count(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path) -> QueueFile {
        QueueFile::open(&dir.join("queue.db"), "queue", "*").unwrap()
    }

    fn publish(file: &mut QueueFile, body: &'static [u8]) {
        file.publish(&[Message { routing_key: "Package".to_owned(), body: body.into(), id: None }]).unwrap();
    }

    /// Sets the clock of all leases forward, as if they had not been renewed for a while.
    fn let_leases_run_out(file: &QueueFile) {
        file.connection.execute("UPDATE message SET held_until_ms = 1 WHERE held_by IS NOT NULL", []).unwrap();
    }

    #[test]
    fn a_lease_that_is_renewed_holds_and_one_that_ran_out_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mut holder, mut other) = (file(dir.path()), file(dir.path()));
        publish(&mut holder, b"1");
        let [claimed] = <[Delivery; 1]>::try_from(holder.claim(1).unwrap()).unwrap();
        let_leases_run_out(&holder);
        holder.renew().unwrap();
        other.take_back().unwrap();
        assert_eq!(other.claim(1).unwrap().len(), 0);
        let_leases_run_out(&holder);
        holder.take_back().unwrap();
        assert_eq!(holder.claim(1).unwrap().len(), 0, "what is late but still in hand is not begun again here");
        other.take_back().unwrap();
        let again = other.claim(1).unwrap();
        assert!(again[0].redelivered);
        // The late one no longer has a right to it.
        holder.settle(&[claimed.receipt]).unwrap();
        assert_eq!(other.depth().unwrap(), 1);
        other.settle(&[Receipt { session: other.session, tag: again[0].receipt.tag }]).unwrap();
        assert_eq!(other.depth().unwrap(), 0);
    }

    #[test]
    fn a_receipt_from_another_opening_of_the_file_settles_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut earlier = file(dir.path());
        publish(&mut earlier, b"1");
        let claimed = earlier.claim(1).unwrap().remove(0);
        earlier.release_all().unwrap();
        let mut later = file(dir.path());
        assert_eq!(later.claim(1).unwrap().len(), 1);
        later.settle(&[claimed.receipt]).unwrap();
        assert_eq!(later.depth().unwrap(), 1);
    }
}
