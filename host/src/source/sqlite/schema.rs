//! The tables of the queue's file, and how a file of an earlier version comes to have them.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// The version of the tables, which the file carries as its `user_version`. Those of the first version carried none.
pub const VERSION: i64 = 3;

/// The tables. A message is waiting while nobody holds it; so what waits is found, in order, by an index.
///
/// Bodies lie by themselves: who claims a message, keeps it or sends it back changes a short row, and a body of many
/// megabytes is written once.
pub const TABLES: &str = "
    CREATE TABLE body (
        id INTEGER PRIMARY KEY,
        bytes BLOB NOT NULL
    );
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        message_id TEXT NOT NULL,
        published_ms INTEGER NOT NULL,
        replayed INTEGER NOT NULL DEFAULT 0,
        deliveries INTEGER NOT NULL DEFAULT 0,
        held_by TEXT,
        held_until_ms INTEGER NOT NULL DEFAULT 0,
        worker TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        hops INTEGER NOT NULL DEFAULT 0,
        first_seen_ms INTEGER,
        held_since_ms INTEGER,
        size INTEGER NOT NULL,
        body INTEGER NOT NULL
    );
    CREATE INDEX message_by_holder ON message (queue, held_by, id);
    CREATE INDEX message_by_class ON message (queue, routing_key, held_by, id);
    CREATE TABLE waiting (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        message_id TEXT NOT NULL,
        published_ms INTEGER NOT NULL,
        replayed INTEGER NOT NULL,
        worker TEXT,
        attempts INTEGER NOT NULL,
        hops INTEGER NOT NULL,
        first_seen_ms INTEGER NOT NULL,
        held_since_ms INTEGER,
        since_ms INTEGER NOT NULL,
        due_ms INTEGER NOT NULL,
        size INTEGER NOT NULL,
        body INTEGER NOT NULL
    );
    CREATE INDEX waiting_by_due ON waiting (queue, due_ms, id);
    CREATE TABLE dead (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        message_id TEXT NOT NULL,
        published_ms INTEGER NOT NULL,
        replayed INTEGER NOT NULL,
        worker TEXT,
        attempts INTEGER NOT NULL,
        hops INTEGER NOT NULL,
        first_seen_ms INTEGER NOT NULL,
        reason TEXT NOT NULL,
        error TEXT NOT NULL,
        died_ms INTEGER NOT NULL,
        size INTEGER NOT NULL,
        body INTEGER NOT NULL
    );
    CREATE INDEX dead_by_queue ON dead (queue, id);
";

/// The tables of a feed, since the third version: what it knows of each dataset, how far it is, and what it has taken
/// and not yet acknowledged.
pub const FEED_TABLES: &str = "
    CREATE TABLE seen (
        queue TEXT NOT NULL,
        dataset TEXT NOT NULL,
        stamp TEXT NOT NULL,
        look BLOB NOT NULL,
        gone INTEGER NOT NULL DEFAULT 0,
        gone_ms INTEGER,
        resources TEXT NOT NULL,
        PRIMARY KEY (queue, dataset)
    ) WITHOUT ROWID;
    CREATE TABLE progress (
        queue TEXT NOT NULL,
        name TEXT NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (queue, name)
    ) WITHOUT ROWID;
    CREATE TABLE pulled (
        queue TEXT NOT NULL,
        id INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        PRIMARY KEY (queue, id, message_id)
    ) WITHOUT ROWID;
";

/// From the first version: bodies move to a table of their own, and what had no id gets one. What a dead letter was
/// called by its number there keeps that name; its class stands in its body, if that can be read.
const FROM_FIRST: &str = "
    INSERT INTO body (id, bytes) SELECT id, body FROM old_message;
    INSERT INTO message (id, queue, routing_key, message_id, published_ms, deliveries, held_by, held_until_ms, size,
        body)
    SELECT id, queue, routing_key, coalesce(nullif(message_id, ''), lower(hex(randomblob(16)))), published_ms,
        deliveries, held_by, held_until_ms, length(body), id
    FROM old_message;
    INSERT INTO body (id, bytes)
    SELECT id + (SELECT coalesce(max(id), 0) FROM old_message), body FROM old_dead_letter;
    INSERT INTO dead (id, queue, routing_key, message_id, published_ms, replayed, worker, attempts, hops,
        first_seen_ms, reason, error, died_ms, size, body)
    SELECT id, queue,
        CASE WHEN json_valid(CAST(body AS TEXT))
            THEN coalesce(CAST(body AS TEXT) ->> '$.routing_key', '') ELSE '' END,
        delivery, taken_ms, 0, worker, attempts, 1, taken_ms, reason, substr(error, 1, 2048), died_ms, length(body),
        id + (SELECT coalesce(max(id), 0) FROM old_message)
    FROM old_dead_letter;
    DROP TABLE old_message;
    DROP TABLE old_dead_letter;
";

/// Makes sure that the tables are there in this version; answers the version of the file, which may be a later one that
/// is left as it is. All of it is done or nothing.
pub fn ensure(connection: &mut Connection) -> rusqlite::Result<i64> {
    let found = version(connection)?;
    if found > VERSION {
        return Ok(found);
    }
    // A copy of the file may have lost it.
    connection.pragma_update(None, "journal_mode", "wal")?;
    if found == VERSION {
        return Ok(found);
    }
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    let found = version(&change)?;
    if found >= VERSION {
        return Ok(found);
    }
    if found == 0 && has_messages(&change)? {
        change.execute_batch(
            "DROP INDEX IF EXISTS message_by_holder;
             DROP INDEX IF EXISTS message_by_class;
             ALTER TABLE message RENAME TO old_message;
             ALTER TABLE dead_letter RENAME TO old_dead_letter;",
        )?;
        change.execute_batch(TABLES)?;
        change.execute_batch(FROM_FIRST)?;
    } else if found == 0 {
        change.execute_batch(TABLES)?;
    }
    change.execute_batch(FEED_TABLES)?;
    change.pragma_update(None, "user_version", VERSION)?;
    change.commit()?;
    Ok(VERSION)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn has_messages(change: &Transaction<'_>) -> rusqlite::Result<bool> {
    change.query_row("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'message'", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of the first version, as it made them.
    const FIRST: &str = "
        CREATE TABLE message (
            id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, routing_key TEXT NOT NULL, message_id TEXT,
            published_ms INTEGER NOT NULL, deliveries INTEGER NOT NULL DEFAULT 0, held_by TEXT,
            held_until_ms INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL
        );
        CREATE INDEX message_by_holder ON message (queue, held_by, id);
        CREATE INDEX message_by_class ON message (queue, routing_key, held_by, id);
        CREATE TABLE dead_letter (
            id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, delivery TEXT NOT NULL, worker TEXT,
            reason TEXT NOT NULL, error TEXT NOT NULL, attempts INTEGER NOT NULL, taken_ms INTEGER NOT NULL,
            died_ms INTEGER NOT NULL, body BLOB NOT NULL
        );
    ";

    fn texts(file: &Connection, sql: &str) -> Vec<String> {
        let mut rows = file.prepare(sql).unwrap();
        let texts = rows.query_map([], |row| row.get(0)).unwrap();
        texts.map(Result::unwrap).collect()
    }

    #[test]
    fn a_file_of_the_first_version_keeps_everything_and_every_message_gets_a_name() {
        let mut file = Connection::open_in_memory().unwrap();
        file.execute_batch(FIRST).unwrap();
        file.execute_batch(
            "INSERT INTO message (queue, routing_key, message_id, published_ms, body) VALUES
                 ('q', 'Package', 'm-1', 1, 'one'), ('q', 'Resource', NULL, 2, x'ff00'), ('q', 'Resource', '', 3, '');
             UPDATE message SET held_by = 'somebody', deliveries = 2 WHERE id = 2;
             INSERT INTO dead_letter (queue, delivery, worker, reason, error, attempts, taken_ms, died_ms, body) VALUES
                 ('q', '0-7', 'archive', 'permanent', 'no', 3, 4, 5, CAST('{\"routing_key\": \"Package\"}' AS BLOB)),
                 ('q', '0-8', NULL, 'malformed', 'bad', 0, 6, 7, x'ff');",
        )
        .unwrap();
        assert_eq!(ensure(&mut file).unwrap(), VERSION);
        let messages =
            "SELECT routing_key || ' ' || deliveries || ' ' || coalesce(held_by, '-') || ' ' || size || ' ' ||
            hex((SELECT bytes FROM body WHERE body.id = message.body)) FROM message ORDER BY id";
        assert_eq!(texts(&file, messages), ["Package 0 - 3 6F6E65", "Resource 2 somebody 2 FF00", "Resource 0 - 0 "]);
        let ids = texts(&file, "SELECT message_id FROM message ORDER BY id");
        assert_eq!(ids[0], "m-1");
        assert!(ids[1].len() == 32 && ids[2].len() == 32 && ids[1] != ids[2], "{ids:?}");
        let letters = "SELECT message_id || ' ' || coalesce(worker, '-') || ' ' || reason || ' ' || hops || ' ' ||
            first_seen_ms || ' ' || died_ms || ' ' || routing_key || ' ' ||
            hex((SELECT substr(bytes, 1, 1) FROM body WHERE body.id = dead.body)) FROM dead ORDER BY id";
        assert_eq!(texts(&file, letters), ["0-7 archive permanent 1 4 5 Package 7B", "0-8 - malformed 1 6 7  FF"]);
        let tables = "SELECT name FROM sqlite_schema WHERE name LIKE 'old%' OR name = 'dead_letter'";
        assert_eq!(texts(&file, tables), [""; 0]);
        assert_eq!(texts(&file, "SELECT name FROM sqlite_schema WHERE name = 'seen'"), ["seen"]);
        // Again there is nothing to do.
        assert_eq!(ensure(&mut file).unwrap(), VERSION);
        assert_eq!(texts(&file, "SELECT message_id FROM message ORDER BY id"), ids);
        // Numbers go on: what was once settled by its number is never another message.
        file.execute_batch("DELETE FROM message; INSERT INTO message (queue, routing_key, message_id, published_ms, size, body) VALUES ('q', 'k', 'n', 1, 0, 1)").unwrap();
        assert_eq!(texts(&file, "SELECT CAST(id AS TEXT) FROM message"), ["4"]);
    }

    #[test]
    fn a_file_of_the_second_version_keeps_everything_and_can_be_fed() {
        let mut file = Connection::open_in_memory().unwrap();
        file.execute_batch(TABLES).unwrap();
        file.execute_batch(
            "INSERT INTO body (id, bytes) VALUES (7, 'one');
             INSERT INTO message (id, queue, routing_key, message_id, published_ms, held_by, size, body)
             VALUES (41, 'q', 'Package', 'm-1', 1, 'somebody', 3, 7);
             PRAGMA user_version = 2;",
        )
        .unwrap();
        let all = "SELECT message.id || ' ' || message_id || ' ' || held_by || ' ' || bytes FROM message
            JOIN body ON body.id = message.body";
        assert_eq!(ensure(&mut file).unwrap(), VERSION);
        assert_eq!((texts(&file, all), version(&file).unwrap()), (vec!["41 m-1 somebody one".to_owned()], VERSION));
        for table in ["seen", "progress", "pulled"] {
            assert_eq!(texts(&file, &format!("SELECT CAST(count(*) AS TEXT) FROM {table}")), ["0"]);
        }
        assert_eq!(ensure(&mut file).unwrap(), VERSION);
    }

    #[test]
    fn a_change_of_version_that_fails_changes_nothing() {
        let mut file = Connection::open_in_memory().unwrap();
        file.execute_batch(FIRST).unwrap();
        file.execute_batch(
            "INSERT INTO message (queue, routing_key, published_ms, body) VALUES ('q', 'Package', 1, 'one');
             CREATE TABLE waiting (in_the_way INTEGER);",
        )
        .unwrap();
        ensure(&mut file).unwrap_err();
        assert_eq!(version(&file).unwrap(), 0);
        assert_eq!(texts(&file, "SELECT CAST(body AS TEXT) FROM message"), ["one"]);
    }

    #[test]
    fn a_file_of_a_later_version_is_left_as_it_is() {
        let mut file = Connection::open_in_memory().unwrap();
        file.pragma_update(None, "user_version", VERSION + 1).unwrap();
        assert_eq!(ensure(&mut file).unwrap(), VERSION + 1);
        assert_eq!(texts(&file, "SELECT name FROM sqlite_schema"), [""; 0]);
    }
}
