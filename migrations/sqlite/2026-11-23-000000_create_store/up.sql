-- The store: rows, dead letters and gaps tile each partition from first_offset to next_offset, and one transaction moves all.
-- The same tables as in PostgreSQL. Times are text, RFC 3339 in UTC with six decimals: they sort, people read them, and
-- SQLite's date functions take them.

-- Whose offsets these are. One row; another cluster or group is refused, because its offsets mean something else.
CREATE TABLE store_identity (
    singleton      INTEGER PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    store_id       TEXT NOT NULL,
    cluster_id     TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    created_at     TEXT NOT NULL
);

-- A topic that was deleted and created again has another topic_id: its offsets start a new incarnation.
CREATE TABLE topics (
    topic         TEXT PRIMARY KEY NOT NULL,
    topic_id      TEXT,
    incarnation   INTEGER NOT NULL DEFAULT 1,
    registered_at TEXT NOT NULL
);

-- The truth about how far a partition is stored. Updated by every transaction.
CREATE TABLE partition_progress (
    topic        TEXT NOT NULL REFERENCES topics (topic),
    partition    INTEGER NOT NULL,
    incarnation  INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    next_offset  INTEGER NOT NULL,
    updated_at   TEXT NOT NULL,
    PRIMARY KEY (topic, partition),
    CHECK (first_offset <= next_offset)
);

-- SQLite's JSON functions fail a whole query at one malformed document, so none is let in.
CREATE TABLE events (
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    "offset"    INTEGER NOT NULL,
    key         BLOB,
    user_id     TEXT,
    event_type  TEXT NOT NULL,
    element_id  TEXT,
    occurred_at TEXT,
    payload     TEXT CHECK (payload IS NULL OR json_valid(payload)),
    consumer_id TEXT NOT NULL,
    source      TEXT,
    stored_at   TEXT NOT NULL,
    PRIMARY KEY (topic, partition, incarnation, "offset")
);

-- Ranges of offsets that Kafka never delivers: transaction markers, aborted records, compaction.
CREATE TABLE offset_gaps (
    topic        TEXT NOT NULL,
    partition    INTEGER NOT NULL,
    incarnation  INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    next_offset  INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    recorded_at  TEXT NOT NULL,
    PRIMARY KEY (topic, partition, incarnation, first_offset),
    CHECK (first_offset < next_offset)
) WITHOUT ROWID;

-- Records that cannot be rows, byte for byte; also the outbox of the dead-letter topic.
CREATE TABLE dead_letters (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    topic           TEXT NOT NULL,
    partition       INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    "offset"        INTEGER NOT NULL,
    key             BLOB,
    value           BLOB,
    headers         TEXT NOT NULL,            -- [{"name": text, "value": base64 or null}, ...] in order
    "timestamp"     INTEGER,                  -- milliseconds since the epoch, as the record has it
    timestamp_type  TEXT NOT NULL,
    code            TEXT NOT NULL,
    message         TEXT NOT NULL,
    stage           TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    consumer_id     TEXT NOT NULL,
    failed_at       TEXT NOT NULL,
    published_at    TEXT,                     -- when the broker answered; null is waiting
    publish_outcome TEXT,                     -- published, or refused (the broker will never take it)
    publish_error   TEXT,
    UNIQUE (topic, partition, incarnation, "offset")
);
CREATE INDEX dead_letters_unpublished ON dead_letters (id) WHERE published_at IS NULL;

-- Rows per minute of storing, so that no page ever counts the events table.
CREATE TABLE event_rollups (
    minute     TEXT NOT NULL,
    topic      TEXT NOT NULL,
    partition  INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (minute, topic, partition, event_type)
) WITHOUT ROWID;

-- Heartbeat and snapshot of each process of the group.
CREATE TABLE replicas (
    replica_id   TEXT PRIMARY KEY NOT NULL,
    started_at   TEXT NOT NULL,
    heartbeat_at TEXT NOT NULL,
    version      TEXT NOT NULL,
    snapshot     TEXT NOT NULL
);

-- Who did what through the API or the command line.
CREATE TABLE audit_log (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      TEXT NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail  TEXT
);
