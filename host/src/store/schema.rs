//! The store's tables.

/// The version of the tables.
pub(super) const VERSION: i64 = 1;

/// Everything is apart for each worker, by its name.
pub(super) const TABLES: &str = "
    -- What a worker remembers.
    CREATE TABLE IF NOT EXISTS state (
        worker TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (worker, key)
    ) WITHOUT ROWID;
    -- What is known of a worker and a dataset, or one of its resources: what it saw when it last ended well, when it was called (64-bit numbers,
    -- seconds), and its quarantine, with the notification that waits for the end of that.
    CREATE TABLE IF NOT EXISTS guarded (
        worker TEXT NOT NULL, subject TEXT NOT NULL, fingerprint BLOB, runs BLOB NOT NULL DEFAULT x'',
        quarantined_until INTEGER NOT NULL DEFAULT 0, strikes INTEGER NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT '', since INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (worker, subject)
    ) WITHOUT ROWID;
    -- What a dataset or a resource looks like after a write of a worker, in which call that was, and what its run is to
    -- leave behind once it is known that the write was done.
    CREATE TABLE IF NOT EXISTS own_write (
        worker TEXT NOT NULL, subject TEXT NOT NULL, image BLOB NOT NULL, at INTEGER NOT NULL, call INTEGER NOT NULL,
        run_end TEXT, PRIMARY KEY (worker, subject, image)
    ) WITHOUT ROWID;
    -- What a worker was seen to write.
    CREATE TABLE IF NOT EXISTS output (
        worker TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (worker, path)
    ) WITHOUT ROWID;
    -- When a worker is to be called without a notification of the portal's: because it wants to look again at a dataset
    -- (no body), or with a notification that waits for the end of a quarantine.
    CREATE TABLE IF NOT EXISTS wake (
        worker TEXT NOT NULL, subject TEXT NOT NULL, waits INTEGER NOT NULL, due INTEGER NOT NULL, body BLOB,
        leased_until INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (worker, subject, waits)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS wake_by_time ON wake (worker, due);
    -- Runs that have ended, by their key in the journal: written together with what they leave behind.
    CREATE TABLE IF NOT EXISTS ended (
        run INTEGER PRIMARY KEY, hops INTEGER NOT NULL, at INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS ended_by_time ON ended (at);
    PRAGMA user_version = 1;
";
