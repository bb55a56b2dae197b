-- What keeps partitions from being read: an operator's pause, the storm guard's quarantine. Here, so that whoever owns a
-- partition obeys, also after a restart.
CREATE TABLE holds (
    scope      TEXT NOT NULL CHECK (scope IN ('partition', 'consumer')),
    name       TEXT NOT NULL,            -- the topic, or the consumer id
    partition  INTEGER NOT NULL,         -- -1 for a consumer
    replica_id TEXT NOT NULL,            -- of the consumer; empty for a partition
    kind       TEXT NOT NULL CHECK (kind IN ('paused', 'quarantined')),
    reason     TEXT NOT NULL,
    placed_by  TEXT NOT NULL,
    since      TEXT NOT NULL,
    until      TEXT,                     -- null: until somebody releases it
    PRIMARY KEY (scope, name, partition, replica_id, kind)
) WITHOUT ROWID;
