-- The store: rows, dead letters and gaps tile each partition from first_offset to next_offset, and one transaction moves all.
-- Everything lives in the schema that search_path names first, so that two deployments can share a database.

-- Whose offsets these are. One row; another cluster or group is refused, because its offsets mean something else.
CREATE TABLE store_identity (
    singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    store_id       text NOT NULL,
    cluster_id     text NOT NULL,
    consumer_group text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- A topic that was deleted and created again has another topic_id: its offsets start a new incarnation.
CREATE TABLE topics (
    topic         text PRIMARY KEY,
    topic_id      text,
    incarnation   integer NOT NULL DEFAULT 1,
    registered_at timestamptz NOT NULL DEFAULT now()
);

-- The truth about how far a partition is stored. Updated by every transaction: half-filled pages keep updates in place.
CREATE TABLE partition_progress (
    topic        text NOT NULL REFERENCES topics (topic),
    partition    integer NOT NULL,
    incarnation  integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition),
    CHECK (first_offset <= next_offset)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE events (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    incarnation integer NOT NULL,
    "offset"    bigint NOT NULL,
    key         bytea,
    user_id     text,
    event_type  text NOT NULL,
    element_id  text,
    occurred_at timestamptz,
    payload     jsonb,
    consumer_id text NOT NULL,
    source      text,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, incarnation, "offset")
);
-- Rows arrive in the order of time, so a BRIN finds a time range at a hundredth of a btree's cost.
CREATE INDEX events_stored_at_brin ON events USING brin (stored_at);

-- Ranges of offsets that Kafka never delivers: transaction markers, aborted records, compaction.
CREATE TABLE offset_gaps (
    topic        text NOT NULL,
    partition    integer NOT NULL,
    incarnation  integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL,
    reason       text NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, incarnation, first_offset),
    CHECK (first_offset < next_offset)
);

-- Records that cannot be rows, byte for byte; also the outbox of the dead-letter topic.
CREATE TABLE dead_letters (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic           text NOT NULL,
    partition       integer NOT NULL,
    incarnation     integer NOT NULL,
    "offset"        bigint NOT NULL,
    key             bytea,
    value           bytea,
    headers         jsonb NOT NULL,           -- [{"name": text, "value": base64 or null}, ...] in order
    "timestamp"     bigint,                   -- milliseconds since the epoch, as the record has it
    timestamp_type  text NOT NULL,
    code            text NOT NULL,
    message         text NOT NULL,
    stage           text NOT NULL,
    attempts        integer NOT NULL,
    consumer_id     text NOT NULL,
    failed_at       timestamptz NOT NULL DEFAULT now(),
    published_at    timestamptz,              -- when the broker answered; null is waiting
    publish_outcome text,                     -- published, or refused (the broker will never take it)
    publish_error   text,
    UNIQUE (topic, partition, incarnation, "offset")
);
CREATE INDEX dead_letters_unpublished ON dead_letters (id) WHERE published_at IS NULL;

-- Rows per minute of storing, so that no page ever counts the events table.
CREATE TABLE event_rollups (
    minute     timestamptz NOT NULL,
    topic      text NOT NULL,
    partition  integer NOT NULL,
    event_type text NOT NULL,
    count      bigint NOT NULL,
    PRIMARY KEY (minute, topic, partition, event_type)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Heartbeat and snapshot of each process of the group.
CREATE TABLE replicas (
    replica_id   text PRIMARY KEY,
    started_at   timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    version      text NOT NULL,
    snapshot     jsonb NOT NULL
);

-- Who did what through the API or the command line.
CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    action  text NOT NULL,
    target  text NOT NULL,
    outcome text NOT NULL,
    detail  jsonb
);

-- Ends a transaction whose compare-and-swap lost. A code of our own, so that nothing takes it for a bad row; raised in
-- SQL, so that a COMMIT queued behind it rolls back.
CREATE FUNCTION drover_raise(code text, what text) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = what;
END
$$;
