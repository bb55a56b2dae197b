-- What keeps partitions from being read: an operator's pause, the storm guard's quarantine. Here, so that whoever owns a
-- partition obeys, in any replica and after a restart.
CREATE TABLE holds (
    scope      text NOT NULL CHECK (scope IN ('partition', 'consumer')),
    name       text NOT NULL,            -- the topic, or the consumer id
    partition  integer NOT NULL,         -- -1 for a consumer
    replica_id text NOT NULL,            -- of the consumer; empty for a partition
    kind       text NOT NULL CHECK (kind IN ('paused', 'quarantined')),
    reason     text NOT NULL,
    placed_by  text NOT NULL,
    since      timestamptz NOT NULL,
    until      timestamptz,              -- null: until somebody releases it
    PRIMARY KEY (scope, name, partition, replica_id, kind)
);
