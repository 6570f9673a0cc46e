//! The statements on the queue's file. Those that run for every message find their rows by an index, however long the
//! queue is; a test asks SQLite for its plans.

/// Body.
pub const PUT_BODY: &str = "INSERT INTO body (bytes) VALUES (?1)";

/// Id of the body.
pub const DROP_BODY: &str = "DELETE FROM body WHERE id = ?1";

/// Queue, class, id or none, time, size, body, worker or none. Every message has an id: what is remembered about it elsewhere goes by
/// that, and a number of ours would begin again with the next file.
pub const PUBLISH: &str = "
    INSERT INTO message (queue, routing_key, message_id, published_ms, size, body, worker)
    VALUES (?1, ?2, coalesce(nullif(?3, ''), lower(hex(randomblob(16)))), ?4, ?5, ?6, ?7)";

/// Queue, class.
pub const WAITING: &str = "SELECT count(*) FROM message WHERE queue = ?1 AND held_by IS NULL AND ?2 IS NULL";

/// As [`WAITING`], of one class.
pub const WAITING_OF_CLASS: &str =
    "SELECT count(*) FROM message WHERE queue = ?1 AND held_by IS NULL AND routing_key = ?2";

/// Queue, how many, class: the sizes of what waits, in order.
pub const SIZES: &str =
    "SELECT size FROM message WHERE queue = ?1 AND held_by IS NULL AND ?3 IS NULL ORDER BY id LIMIT ?2";

/// As [`SIZES`], of one class.
pub const SIZES_OF_CLASS: &str =
    "SELECT size FROM message WHERE queue = ?1 AND held_by IS NULL AND routing_key = ?3 ORDER BY id LIMIT ?2";

/// Queue, how many, class, holder, end of the lease.
pub const CLAIM: &str = "
    UPDATE message SET held_by = ?4, held_until_ms = ?5, deliveries = deliveries + 1 WHERE id IN
    (SELECT id FROM message WHERE queue = ?1 AND held_by IS NULL AND ?3 IS NULL ORDER BY id LIMIT ?2)
    RETURNING id, message_id, (SELECT bytes FROM body WHERE body.id = message.body), deliveries, routing_key,
    published_ms, replayed, worker, attempts, hops, first_seen_ms, held_since_ms";

/// As [`CLAIM`], of one class.
pub const CLAIM_OF_CLASS: &str = "
    UPDATE message SET held_by = ?4, held_until_ms = ?5, deliveries = deliveries + 1 WHERE id IN
    (SELECT id FROM message WHERE queue = ?1 AND held_by IS NULL AND routing_key = ?3 ORDER BY id LIMIT ?2)
    RETURNING id, message_id, (SELECT bytes FROM body WHERE body.id = message.body), deliveries, routing_key,
    published_ms, replayed, worker, attempts, hops, first_seen_ms, held_since_ms";

/// Id, holder.
pub const SETTLE: &str = "DELETE FROM message WHERE id = ?1 AND held_by = ?2 RETURNING body";

/// Id, holder.
pub const RELEASE: &str = "UPDATE message SET held_by = NULL, held_until_ms = 0 WHERE id = ?1 AND held_by = ?2";

/// Queue, holder, end of the lease.
pub const RENEW: &str = "UPDATE message SET held_until_ms = ?3 WHERE queue = ?1 AND held_by = ?2";

/// Queue, holder.
pub const HELD: &str = "SELECT count(*) FROM message WHERE queue = ?1 AND held_by = ?2";

/// Queue: how many are in nobody's hand.
pub const READY: &str = "SELECT count(*) FROM message WHERE queue = ?1 AND held_by IS NULL";

/// Queue: how many are in anybody's hand.
pub const HELD_BY_ALL: &str = "SELECT count(*) FROM message WHERE queue = ?1 AND held_by > ''";

/// Queue, holder, latest end of a lease.
pub const RELEASE_ALL: &str =
    "UPDATE message SET held_by = NULL, held_until_ms = 0 WHERE queue = ?1 AND held_by = ?2 AND held_until_ms <= ?3";

/// Queue, holder: who else holds something, and the earliest end of a lease of theirs.
pub const OTHERS: &str = "
    SELECT held_by, min(held_until_ms) FROM message WHERE queue = ?1 AND held_by > '' AND held_by <> ?2
    GROUP BY held_by";

/// Queue: whether anything waits in it or is in hand.
pub const IS_USED: &str = "SELECT EXISTS (SELECT 1 FROM message WHERE queue = ?1)";

/// Queue: the ids of what waits for one worker each.
pub const NAMES: &str = "SELECT message_id FROM message WHERE queue = ?1 AND held_by IS NULL AND worker IS NOT NULL";

/// Queue.
pub const PURGE_BODIES: &str =
    "DELETE FROM body WHERE id IN (SELECT body FROM message WHERE queue = ?1 AND held_by IS NULL)";

/// Queue.
pub const PURGE: &str = "DELETE FROM message WHERE queue = ?1 AND held_by IS NULL";

/// What is sent to wait: queue, class, id, time of publication, replayed, size, body, worker, attempts, hops, first
/// seen, held since, now, due.
pub const WAIT: &str = "
    INSERT INTO waiting (queue, routing_key, message_id, published_ms, replayed, size, body, worker, attempts, hops,
        first_seen_ms, held_since_ms, since_ms, due_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// Queue: when the next is due.
pub const NEXT_DUE: &str = "SELECT min(due_ms) FROM waiting WHERE queue = ?1";

/// Queue, now, how many: those that are due, who was due first in front, behind all that is in the queue.
pub const COME_AGAIN: &str = "
    INSERT INTO message (queue, routing_key, message_id, published_ms, replayed, size, body, worker, attempts, hops,
        first_seen_ms, held_since_ms)
    SELECT queue, routing_key, message_id, published_ms, replayed, size, body, worker, attempts, hops, first_seen_ms,
        held_since_ms
    FROM waiting WHERE queue = ?1 AND due_ms <= ?2 ORDER BY due_ms, id LIMIT ?3";

/// Queue, now, how many: the same rows as [`COME_AGAIN`].
pub const WAIT_NO_MORE: &str = "
    DELETE FROM waiting WHERE id IN
    (SELECT id FROM waiting WHERE queue = ?1 AND due_ms <= ?2 ORDER BY due_ms, id LIMIT ?3)";

/// Queue, now: whether anything waits since a time that is still to come.
pub const WAITS_SINCE_LATER: &str = "SELECT EXISTS (SELECT 1 FROM waiting WHERE queue = ?1 AND since_ms > ?2)";

/// Queue, now: what waits since a time that is still to come waits its time from now on.
pub const WAIT_FROM_NOW: &str =
    "UPDATE waiting SET due_ms = ?2 + (due_ms - since_ms), since_ms = ?2 WHERE queue = ?1 AND since_ms > ?2";

/// Queue: how long what waits has to wait in all, and how much of it.
pub const RUNGS: &str = "SELECT due_ms - since_ms, count(*) FROM waiting WHERE queue = ?1 GROUP BY 1 ORDER BY 1";

/// A dead letter: queue, class, id, time of publication, replayed, size, body, worker, attempts, hops, first seen,
/// reason, error, now.
pub const BURY: &str = "
    INSERT INTO dead (queue, routing_key, message_id, published_ms, replayed, size, body, worker, attempts, hops,
        first_seen_ms, reason, error, died_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// Queue: the last of the dead letters, and how many there are.
pub const DEAD: &str = "SELECT coalesce(max(id), 0), count(*) FROM dead WHERE queue = ?1";

/// Queue, id, last id: the next one behind an id.
pub const NEXT_DEAD: &str = "
    SELECT id, message_id, worker, reason, error, attempts, hops, first_seen_ms, died_ms, replayed, routing_key,
        (SELECT bytes FROM body WHERE body.id = dead.body)
    FROM dead WHERE queue = ?1 AND id > ?2 AND id <= ?3 ORDER BY id LIMIT 1";

/// Id, new name or none: a dead letter goes back to its worker, with a fresh start. Its hops go on: of two copies the
/// later is known.
pub const REPLAY: &str = "
    INSERT INTO message (queue, routing_key, message_id, published_ms, replayed, size, body, worker, attempts, hops,
        first_seen_ms)
    SELECT queue, routing_key, coalesce(?2, message_id), published_ms, replayed + 1, size, body, worker, 0, hops, first_seen_ms
    FROM dead WHERE id = ?1";

/// Id.
pub const UNBURY: &str = "DELETE FROM dead WHERE id = ?1 RETURNING body";

/// Queue, dataset, stamp, look, whether it is gone, resources.
pub const SEE: &str = "
    INSERT INTO seen (queue, dataset, stamp, look, gone, resources, gone_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, CASE WHEN ?5 THEN ?7 END)
    ON CONFLICT (queue, dataset) DO UPDATE SET stamp = ?3, look = ?4, gone = ?5, resources = ?6,
        gone_ms = CASE WHEN ?5 THEN ?7 END";

/// Queue, time: forgets what has been gone since before that.
pub const FORGET_GONE: &str = "DELETE FROM seen WHERE queue = ?1 AND gone = 1 AND gone_ms < ?2";

/// Queue, dataset, time: it is gone, and should it come again, it looks like nothing that is known.
pub const SEE_GONE: &str = "UPDATE seen SET gone = 1, gone_ms = ?3, look = x'' WHERE queue = ?1 AND dataset = ?2";

/// Queue, dataset.
pub const SEEN: &str = "SELECT dataset, stamp, look, gone, resources FROM seen WHERE queue = ?1 AND dataset = ?2";

/// Queue, id, last id or none, how many: what is seen and not gone behind an id, in order.
pub const SEEN_BETWEEN: &str = "
    SELECT dataset, stamp, look, gone, resources FROM seen
    WHERE queue = ?1 AND dataset > ?2 AND (?3 IS NULL OR dataset <= ?3) AND gone = 0 ORDER BY dataset LIMIT ?4";

/// Queue, name, text.
pub const PROGRESS: &str = "
    INSERT INTO progress (queue, name, text) VALUES (?1, ?2, ?3) ON CONFLICT (queue, name) DO UPDATE SET text = ?3";

/// Queue, name.
pub const POSITION: &str = "SELECT text FROM progress WHERE queue = ?1 AND name = ?2";

/// Queue.
pub const PROGRESS_SO_FAR: &str = "SELECT name, text FROM progress WHERE queue = ?1";

/// Queue, id, message id.
pub const PULL: &str = "INSERT OR IGNORE INTO pulled (queue, id, message_id) VALUES (?1, ?2, ?3)";

/// Queue, id, message id.
pub const ACKNOWLEDGE: &str = "DELETE FROM pulled WHERE queue = ?1 AND id = ?2 AND message_id = ?3";

/// Queue.
pub const PULLED: &str = "SELECT id, message_id FROM pulled WHERE queue = ?1 ORDER BY id, message_id";

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::source::sqlite::schema;

    /// SQLite's plan for a statement, one step to a line.
    fn plan(file: &Connection, sql: &str) -> String {
        let mut explain = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = explain.raw_bind_parameter(1, 1).map(|()| explain.raw_query()).unwrap();
        steps.mapped(|row| row.get::<_, String>(3)).map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn no_statement_for_a_message_looks_at_the_whole_queue_or_sorts_it() {
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch(schema::TABLES).unwrap();
        file.execute_batch(schema::FEED_TABLES).unwrap();
        let check = |sql: &str, expected: &str| {
            let plan = plan(&file, sql);
            assert!(plan.contains(expected), "{sql}\n{plan}");
            assert!(!plan.contains("SCAN message") && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
            assert!(!plan.contains("SCAN waiting") && !plan.contains("SCAN dead"), "{sql}\n{plan}");
            assert!(!plan.contains("SCAN body"), "{sql}\n{plan}");
        };
        let (waiting, of_class, by_id) = (
            "message_by_holder (queue=? AND held_by=?)",
            "message_by_class (queue=? AND routing_key=?",
            "INTEGER PRIMARY KEY (rowid=?)",
        );
        for of_all in [WAITING, READY, SIZES, CLAIM, RENEW, HELD, RELEASE_ALL, PURGE, PURGE_BODIES] {
            check(of_all, waiting);
        }
        for of_one_class in [WAITING_OF_CLASS, SIZES_OF_CLASS, CLAIM_OF_CLASS] {
            check(of_one_class, of_class);
        }
        for with_its_body in [CLAIM, CLAIM_OF_CLASS, NEXT_DEAD] {
            check(with_its_body, "SEARCH body USING INTEGER PRIMARY KEY (rowid=?)");
        }
        for of_one in [SETTLE, RELEASE, DROP_BODY, REPLAY, UNBURY] {
            check(of_one, by_id);
        }
        check(IS_USED, "(queue=?)");
        check(NAMES, waiting);
        check(OTHERS, "message_by_holder (queue=? AND held_by>?)");
        check(HELD_BY_ALL, "message_by_holder (queue=? AND held_by>?)");
        check(NEXT_DUE, "waiting_by_due (queue=?");
        for of_what_is_due in [COME_AGAIN, WAIT_NO_MORE] {
            check(of_what_is_due, "waiting_by_due (queue=? AND due_ms<?)");
        }
        check(NEXT_DEAD, "dead_by_queue (queue=? AND id>? AND id<?)");
        check(SEEN, "SEARCH seen USING PRIMARY KEY (queue=? AND dataset=?)");
        check(SEEN_BETWEEN, "SEARCH seen USING PRIMARY KEY (queue=? AND dataset>?)");
    }
}
