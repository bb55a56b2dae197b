-- The audit continues where the last clean one ended, and knows the incarnations of topics that were closed.

-- Up to where everything of an incarnation was found accounted for. Written only after a pass that found it so.
CREATE TABLE audit_marks (
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    marked_at   TEXT NOT NULL,
    PRIMARY KEY (topic, partition, incarnation)
) WITHOUT ROWID;

-- What partition_progress held when a topic got its next incarnation: nothing is added to these any more.
CREATE TABLE past_incarnations (
    topic        TEXT NOT NULL,
    partition    INTEGER NOT NULL,
    incarnation  INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    next_offset  INTEGER NOT NULL,
    topic_id     TEXT,
    ended_at     TEXT NOT NULL,
    PRIMARY KEY (topic, partition, incarnation)
) WITHOUT ROWID;

-- The last audit of all topics, whichever process made it. One row.
CREATE TABLE audit_results (
    singleton   INTEGER PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    finished_at TEXT NOT NULL,
    result      TEXT NOT NULL
);
