-- The audit continues where the last clean one ended, and knows the incarnations of topics that were closed.

-- Up to where everything of an incarnation was found accounted for. Written only after a pass that found it so.
CREATE TABLE audit_marks (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    incarnation integer NOT NULL,
    next_offset bigint NOT NULL,
    marked_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, incarnation)
);

-- What partition_progress held when a topic got its next incarnation: nothing is added to these any more.
CREATE TABLE past_incarnations (
    topic        text NOT NULL,
    partition    integer NOT NULL,
    incarnation  integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset  bigint NOT NULL,
    topic_id     text,
    ended_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, incarnation)
);

-- The last audit of all topics, whichever process made it. One row.
CREATE TABLE audit_results (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    finished_at timestamptz NOT NULL,
    result      jsonb NOT NULL
);
