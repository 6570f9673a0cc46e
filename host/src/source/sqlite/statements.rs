//! The statements on the queue's file. Those that run for every message find their rows by an index, however long the
//! queue is; a test asks SQLite for its plans.

/// The tables. A message is waiting while nobody holds it; so what waits is found, in order, by an index.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        message_id TEXT,
        published_ms INTEGER NOT NULL,
        deliveries INTEGER NOT NULL DEFAULT 0,
        held_by TEXT,
        held_until_ms INTEGER NOT NULL DEFAULT 0,
        body BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS message_by_holder ON message (queue, held_by, id);
    CREATE INDEX IF NOT EXISTS message_by_class ON message (queue, routing_key, held_by, id);
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

/// Queue, class, id, body, time.
pub const PUBLISH: &str =
    "INSERT INTO message (queue, routing_key, message_id, body, published_ms) VALUES (?1, ?2, ?3, ?4, ?5)";

/// Queue, how many are enough, class.
pub const WAITING: &str =
    "SELECT count(*) FROM (SELECT 1 FROM message WHERE queue = ?1 AND held_by IS NULL AND ?3 IS NULL LIMIT ?2)";

/// As [`WAITING`], of one class.
pub const WAITING_OF_CLASS: &str =
    "SELECT count(*) FROM (SELECT 1 FROM message WHERE queue = ?1 AND held_by IS NULL AND routing_key = ?3 LIMIT ?2)";

/// Queue, how many, class, holder, end of the lease.
pub const CLAIM: &str = "
    UPDATE message SET held_by = ?4, held_until_ms = ?5, deliveries = deliveries + 1 WHERE id IN
    (SELECT id FROM message WHERE queue = ?1 AND held_by IS NULL AND ?3 IS NULL ORDER BY id LIMIT ?2)
    RETURNING id, message_id, body, deliveries";

/// As [`CLAIM`], of one class.
pub const CLAIM_OF_CLASS: &str = "
    UPDATE message SET held_by = ?4, held_until_ms = ?5, deliveries = deliveries + 1 WHERE id IN
    (SELECT id FROM message WHERE queue = ?1 AND held_by IS NULL AND routing_key = ?3 ORDER BY id LIMIT ?2)
    RETURNING id, message_id, body, deliveries";

/// Id, holder.
pub const SETTLE: &str = "DELETE FROM message WHERE id = ?1 AND held_by = ?2";

/// Id, holder.
pub const RELEASE: &str = "UPDATE message SET held_by = NULL, held_until_ms = 0 WHERE id = ?1 AND held_by = ?2";

/// Queue, holder, end of the lease.
pub const RENEW: &str = "UPDATE message SET held_until_ms = ?3 WHERE queue = ?1 AND held_by = ?2";

/// Queue, holder.
pub const HELD: &str = "SELECT count(*) FROM message WHERE queue = ?1 AND held_by = ?2";

/// Queue, holder, latest end of a lease.
pub const RELEASE_ALL: &str =
    "UPDATE message SET held_by = NULL, held_until_ms = 0 WHERE queue = ?1 AND held_by = ?2 AND held_until_ms <= ?3";

/// Queue, holder, now: who else holds something, and whether a lease of theirs has run out.
pub const OTHERS: &str = "
    SELECT held_by, min(held_until_ms) <= ?3 FROM message WHERE queue = ?1 AND held_by > '' AND held_by <> ?2
    GROUP BY held_by";

/// Queue.
pub const PURGE: &str = "DELETE FROM message WHERE queue = ?1 AND held_by IS NULL";

/// What is kept of a dead letter.
pub const KEEP: &str = "
    INSERT INTO dead_letter (queue, delivery, worker, reason, error, attempts, taken_ms, died_ms, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// Queue.
pub const LETTERS: &str =
    "SELECT delivery, worker, reason, error, attempts, body FROM dead_letter WHERE queue = ?1 ORDER BY id";

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// SQLite's plan for a statement, one step to a line.
    fn plan(file: &Connection, sql: &str) -> String {
        let mut explain = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = explain.raw_bind_parameter(1, 1).map(|()| explain.raw_query()).unwrap();
        steps.mapped(|row| row.get::<_, String>(3)).map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn no_statement_for_a_message_looks_at_the_whole_queue_or_sorts_it() {
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch(SCHEMA).unwrap();
        let check = |sql: &str, expected: &str| {
            let plan = plan(&file, sql);
            assert!(plan.contains(expected), "{sql}\n{plan}");
            assert!(!plan.contains("SCAN message") && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        };
        let (waiting, of_class) =
            ("message_by_holder (queue=? AND held_by=?)", "message_by_class (queue=? AND routing_key=?");
        check(WAITING, waiting);
        check(CLAIM, waiting);
        check(WAITING_OF_CLASS, of_class);
        check(CLAIM_OF_CLASS, of_class);
        check(SETTLE, "INTEGER PRIMARY KEY (rowid=?)");
        check(RELEASE, "INTEGER PRIMARY KEY (rowid=?)");
        for of_one_holder in [RENEW, HELD, RELEASE_ALL, PURGE] {
            check(of_one_holder, waiting);
        }
        check(OTHERS, "message_by_holder (queue=? AND held_by>?)");
    }
}
