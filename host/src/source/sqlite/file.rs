//! The queue's file: its tables, and each thing that is done to them.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::holder;
use crate::delivery::{DeadLetter, Delivery, DeliveryId, Receipt};
use crate::source::{Message, SourceError};

/// How long a claim lasts that is not renewed.
const LEASE: Duration = Duration::from_secs(60);

/// How long another process may hold the file.
const BUSY_MAX: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        message_id TEXT,
        body BLOB NOT NULL,
        published_ms INTEGER NOT NULL,
        deliveries INTEGER NOT NULL DEFAULT 0,
        held_by TEXT,
        held_until_ms INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX IF NOT EXISTS message_waiting ON message (queue, held_until_ms, id);
    CREATE TABLE IF NOT EXISTS dead_letter (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        delivery TEXT NOT NULL,
        worker TEXT,
        reason TEXT NOT NULL,
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        taken_ms INTEGER NOT NULL,
        died_ms INTEGER NOT NULL,
        body BLOB NOT NULL
    );
";

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
    holder: String,
    /// Counts what this process claimed, so that a receipt can be told from one of an earlier claim.
    session: u64,
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
        let connection = open(path).map_err(|error| SourceError::Unusable(format!("{address}: {error}")))?;
        let only_class = (!matches!(routing_key, "*" | "#")).then(|| routing_key.to_owned());
        let holder = holder::this_process();
        let mut file = Self { connection, address, queue: queue.to_owned(), only_class, holder, session: 1 };
        file.take_back()?;
        Ok(file)
    }

    /// Puts messages on the queue.
    pub fn publish(&mut self, messages: &[Message]) -> Result<(), SourceError> {
        let (queue, now) = (self.queue.clone(), now_ms());
        self.write(|change| {
            let mut insert = change.prepare_cached(
                "INSERT INTO message (queue, routing_key, message_id, body, published_ms) VALUES (?, ?, ?, ?, ?)",
            )?;
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
            return Ok(Vec::new());
        }
        let now = now_ms();
        let (queue, holder, only_class) = (self.queue.clone(), self.holder.clone(), self.only_class.clone());
        let until = now + millis(LEASE);
        let session = self.session;
        self.write(|change| {
            let mut claim = change.prepare_cached(
                "UPDATE message SET held_by = ?1, held_until_ms = ?2, deliveries = deliveries + 1
                 WHERE id IN (SELECT id FROM message WHERE queue = ?3 AND held_until_ms <= ?4
                              AND held_by IS NOT ?1 AND (?5 IS NULL OR routing_key = ?5) ORDER BY id LIMIT ?6)
                 RETURNING id, message_id, body, deliveries",
            )?;
            let rows = claim.query_map(params![holder, until, queue, now, only_class, count(max)], |row| {
                let tag: i64 = row.get(0)?;
                let name: Option<String> = row.get(1)?;
                let body: Vec<u8> = row.get(2)?;
                let deliveries: i64 = row.get(3)?;
                let tag = tag.unsigned_abs();
                Ok(Delivery {
                    id: name.map_or(DeliveryId::Numbered(0, tag), |name| DeliveryId::Named(name.into())),
                    body: body.into(),
                    attempts_before: 0,
                    only: None,
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
        self.for_each("DELETE FROM message WHERE id = ?1 AND held_by = ?2", receipts)
    }

    /// Gives messages back.
    pub fn release(&mut self, receipts: &[Receipt]) -> Result<(), SourceError> {
        self.for_each("UPDATE message SET held_by = NULL, held_until_ms = 0 WHERE id = ?1 AND held_by = ?2", receipts)
    }

    /// Renews the leases of this process.
    pub fn renew(&mut self) -> Result<(), SourceError> {
        let (holder, until) = (self.holder.clone(), now_ms() + millis(LEASE));
        self.write(|change| {
            change.execute("UPDATE message SET held_until_ms = ? WHERE held_by = ?", params![until, holder]).map(drop)
        })
    }

    /// Gives back all that this process holds.
    pub fn release_all(&mut self) -> Result<(), SourceError> {
        let holder = self.holder.clone();
        self.write(|change| free(change, &holder))
    }

    /// How many messages wait or are held by this process.
    pub fn depth(&mut self) -> Result<u64, SourceError> {
        let held: rusqlite::Result<i64> = self.connection.query_row(
            "SELECT count(*) FROM message WHERE queue = ?1 AND held_by = ?2 AND held_until_ms > ?3",
            params![self.queue, self.holder, now_ms()],
            |row| row.get(0),
        );
        let held = held.map_err(|error| self.trouble(&error))?;
        Ok(self.waiting(i64::MAX)? + held.unsigned_abs())
    }

    /// How many messages wait, counted up to `enough`.
    fn waiting(&self, enough: i64) -> Result<u64, SourceError> {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM message WHERE queue = ?1 AND held_until_ms <= ?2
                   AND (?3 IS NULL OR routing_key = ?3) LIMIT ?4)";
        let count = || {
            let values = params![self.queue, now_ms(), self.only_class, enough];
            self.connection.prepare_cached(sql)?.query_row(values, |row| row.get::<_, i64>(0))
        };
        count().map(i64::unsigned_abs).map_err(|error| self.trouble(&error))
    }

    /// Keeps a dead letter.
    pub fn keep(&mut self, letter: &DeadLetter) -> Result<(), SourceError> {
        let queue = self.queue.clone();
        self.write(|change| {
            let insert = "INSERT INTO dead_letter
                (queue, delivery, worker, reason, error, attempts, taken_ms, died_ms, body)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
            let row = params![
                queue,
                letter.delivery.to_string(),
                letter.worker,
                letter.reason.as_str(),
                letter.error,
                letter.attempts,
                since_epoch_ms(letter.taken),
                now_ms(),
                &letter.body[..]
            ];
            change.execute(insert, row).map(drop)
        })
    }

    /// The dead letters, oldest first.
    pub fn letters(&self) -> Result<Vec<StoredLetter>, SourceError> {
        let read = || -> rusqlite::Result<Vec<StoredLetter>> {
            let sql =
                "SELECT delivery, worker, reason, error, attempts, body FROM dead_letter WHERE queue = ? ORDER BY id";
            let mut letters = self.connection.prepare(sql)?;
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
        read().map_err(|error| self.trouble(&error))
    }

    /// Deletes what waits; answers how many messages that were.
    pub fn purge(&mut self) -> Result<u64, SourceError> {
        let queue = self.queue.clone();
        self.write(|change| {
            let sql = "DELETE FROM message WHERE queue = ? AND held_until_ms <= ?";
            change.execute(sql, params![queue, now_ms()]).map(|deleted| deleted as u64)
        })
    }

    /// Takes back what processes held that are gone, without waiting for their leases to run out.
    fn take_back(&mut self) -> Result<(), SourceError> {
        self.write(|change| {
            let mut holders = change.prepare("SELECT DISTINCT held_by FROM message WHERE held_by IS NOT NULL")?;
            let holders = holders.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            holders.iter().filter(|holder| holder::is_gone(holder)).try_for_each(|holder| free(change, holder))
        })
    }

    fn for_each(&mut self, sql: &str, receipts: &[Receipt]) -> Result<(), SourceError> {
        if receipts.is_empty() {
            return Ok(());
        }
        let holder = self.holder.clone();
        self.write(|change| {
            let mut statement = change.prepare_cached(sql)?;
            for receipt in receipts {
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
        done.map_err(|error| self.trouble(&error))
    }

    fn trouble(&self, error: &rusqlite::Error) -> SourceError {
        SourceError::Unavailable { address: self.address.clone(), problem: error.to_string() }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_MAX)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn free(change: &Transaction<'_>, holder: &str) -> rusqlite::Result<()> {
    change.execute("UPDATE message SET held_by = NULL, held_until_ms = 0 WHERE held_by = ?", [holder]).map(drop)
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
