//! The SQL of the batch transaction, prepared once per connection.
//!
//! Pure text and parameter building; names are unqualified, `search_path` leads to `store.schema`.

use crate::domain::batch::Batch;
use crate::store::{headers, row};
use tokio_postgres::{Client, Error, Statement};

/// Begins a batch transaction; the isolation is named because a role or database may default to another one. That it writes
/// is not: whoever closes the server for writes (`default_transaction_read_only`, as hosts do before a disk is full) means it.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Moves the positions, and tells whether anything is stored in the ranges that they pass: after a rewind.
const COMPARE_AND_SWAP: &str = "
    WITH u AS (
        UPDATE partition_progress p SET next_offset = v.new, updated_at = now()
        FROM unnest($1::text[], $2::int4[], $3::int4[], $4::int8[], $5::int8[]) AS v(topic, partition, incarnation, old, new)
        WHERE p.topic = v.topic AND p.partition = v.partition AND p.incarnation = v.incarnation AND p.next_offset = v.old
        RETURNING 1
    )
    SELECT CASE WHEN count(*) <> cardinality($1)
                THEN drover_raise('DR001', 'a position was moved by another owner') <> 0
                ELSE EXISTS (
                    SELECT 1 FROM unnest($1::text[], $2::int4[], $3::int4[], $4::int8[], $5::int8[])
                                  AS v(topic, partition, incarnation, old, new)
                    WHERE EXISTS (SELECT 1 FROM events t
                                  WHERE t.topic = v.topic AND t.partition = v.partition AND t.incarnation = v.incarnation
                                    AND t.\"offset\" >= v.old AND t.\"offset\" < v.new)
                       OR EXISTS (SELECT 1 FROM dead_letters t
                                  WHERE t.topic = v.topic AND t.partition = v.partition AND t.incarnation = v.incarnation
                                    AND t.\"offset\" >= v.old AND t.\"offset\" < v.new)
                       OR EXISTS (SELECT 1 FROM offset_gaps t
                                  WHERE t.topic = v.topic AND t.partition = v.partition AND t.incarnation = v.incarnation
                                    AND t.first_offset >= v.old AND t.first_offset < v.new))
                END FROM u";

const POSITIONS: &str = "
    SELECT p.topic, p.partition, p.incarnation, p.next_offset FROM partition_progress p
    JOIN unnest($1::text[], $2::int4[]) AS v(topic, partition) ON p.topic = v.topic AND p.partition = v.partition";

const ROLLUPS: &str = "
    INSERT INTO event_rollups AS r (minute, topic, partition, event_type, count)
    SELECT date_trunc('minute', now()), v.topic, v.partition, v.event_type, v.count
    FROM unnest($1::text[], $2::int4[], $3::text[], $4::int8[]) AS v(topic, partition, event_type, count)
    ORDER BY 2, 3, 4
    ON CONFLICT (minute, topic, partition, event_type) DO UPDATE SET count = r.count + excluded.count";

/// Writes the parts of gaps that nothing accounts for yet: all of a gap, but after a rewind.
const GAPS: &str = "
    WITH g AS (
        SELECT * FROM unnest($1::text[], $2::int4[], $3::int4[], $4::int8[], $5::int8[], $6::text[]) WITH ORDINALITY
                      AS v(topic, partition, incarnation, first, next, reason, gap)
    ), tile AS (
        SELECT gap, t.\"offset\" AS first, t.\"offset\" + 1 AS next FROM g JOIN events t
            ON (t.topic, t.partition, t.incarnation) = (g.topic, g.partition, g.incarnation)
               AND t.\"offset\" >= g.first AND t.\"offset\" < g.next
        UNION ALL
        SELECT gap, t.\"offset\", t.\"offset\" + 1 FROM g JOIN dead_letters t
            ON (t.topic, t.partition, t.incarnation) = (g.topic, g.partition, g.incarnation)
               AND t.\"offset\" >= g.first AND t.\"offset\" < g.next
        UNION ALL
        SELECT gap, t.first_offset, t.next_offset FROM g JOIN offset_gaps t
            ON (t.topic, t.partition, t.incarnation) = (g.topic, g.partition, g.incarnation)
               AND t.first_offset >= g.first AND t.first_offset < g.next
        UNION ALL
        SELECT gap, before.first_offset, before.next_offset FROM g, LATERAL (
            SELECT first_offset, next_offset FROM offset_gaps t
            WHERE (t.topic, t.partition, t.incarnation) = (g.topic, g.partition, g.incarnation) AND t.first_offset < g.first
            ORDER BY first_offset DESC LIMIT 1) before
        UNION ALL
        SELECT gap, next, next FROM g
    ), hole AS (
        SELECT gap, first AS next, max(next) OVER (PARTITION BY gap ORDER BY first, next
                                                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS first FROM tile
    )
    INSERT INTO offset_gaps (topic, partition, incarnation, first_offset, next_offset, reason)
    SELECT g.topic, g.partition, g.incarnation, greatest(hole.first, g.first), hole.next, g.reason
    FROM hole JOIN g USING (gap) WHERE hole.next > greatest(hole.first, g.first)";

const DEAD_LETTERS: &str = "
    INSERT INTO dead_letters (topic, partition, incarnation, \"offset\", key, value, headers, \"timestamp\", timestamp_type,
                              code, message, stage, attempts, consumer_id)
    SELECT v.topic, v.partition, v.incarnation, v.\"offset\", v.key, v.value, v.headers::jsonb, v.ts, v.ts_type,
           v.code, v.message, v.stage, v.attempts, $14
    FROM unnest($1::text[], $2::int4[], $3::int4[], $4::int8[], $5::bytea[], $6::bytea[], $7::text[], $8::int8[], $9::text[],
                $10::text[], $11::text[], $12::text[], $13::int4[])
         AS v(topic, partition, incarnation, \"offset\", key, value, headers, ts, ts_type, code, message, stage, attempts)
    WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.topic = v.topic AND e.partition = v.partition
                      AND e.incarnation = v.incarnation AND e.\"offset\" = v.\"offset\")
    ORDER BY 1, 2, 4
    ON CONFLICT (topic, partition, incarnation, \"offset\") DO NOTHING";

/// Makes the staging table of a transaction. It has the columns of `events` and nothing that refuses a row: what refuses one
/// is found when it is merged.
pub const CREATE_STAGE: &str = "CREATE TEMPORARY TABLE drover_stage (LIKE events) ON COMMIT DROP; \
    ALTER TABLE drover_stage ALTER stored_at DROP NOT NULL";

/// Moves what was staged into `events` and counts it; rows and dead letters that are there already are left alone. The
/// parameters are topics, partitions and names of the batch's rollups: a type that is not among them counts as `other`.
pub const MERGE_STAGE: &str = "
    WITH i AS (
        INSERT INTO events (topic, partition, incarnation, \"offset\", key, user_id, event_type, element_id, occurred_at,
                            payload, consumer_id, source)
        SELECT topic, partition, incarnation, \"offset\", key, user_id, event_type, element_id, occurred_at,
               payload, consumer_id, source FROM drover_stage s
        WHERE NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.topic = s.topic AND d.partition = s.partition
                          AND d.incarnation = s.incarnation AND d.\"offset\" = s.\"offset\")
        ON CONFLICT (topic, partition, incarnation, \"offset\") DO NOTHING
        RETURNING topic, partition, event_type
    ), r AS (
        INSERT INTO event_rollups AS r (minute, topic, partition, event_type, count)
        SELECT date_trunc('minute', now()), i.topic, i.partition, coalesce(v.name, 'other'), count(*)
        FROM i LEFT JOIN LATERAL (
            SELECT name FROM unnest($1::text[], $2::int4[], $3::text[]) AS n(topic, partition, name)
            WHERE n.topic = i.topic AND n.partition = i.partition AND (n.name = i.event_type
                  OR octet_length(i.event_type) > 200 AND octet_length(n.name) > 196 AND starts_with(i.event_type, n.name))
            ORDER BY octet_length(name) DESC LIMIT 1) v ON true
        GROUP BY 1, 2, 3, 4 ORDER BY 2, 3, 4
        ON CONFLICT (minute, topic, partition, event_type) DO UPDATE SET count = r.count + excluded.count
    )
    SELECT count(*) FROM i";

/// The first staged row that differs from the stored row of its key.
pub const COMPARE_STAGE: &str = "
    SELECT topic, partition, \"offset\" FROM drover_stage s JOIN events e USING (topic, partition, incarnation, \"offset\")
    WHERE (s.key, s.payload) IS DISTINCT FROM (e.key, e.payload) ORDER BY 1, 2, 3 LIMIT 1";

/// Ends sessions of drover's own that hold the lock on these positions, for the one that waited in vain: a frozen process
/// keeps its locks for good, and the compare-and-swap makes ending it safe.
pub const END_BLOCKERS: &str = "
    SELECT pg_terminate_backend(a.pid) FROM partition_progress p
    JOIN unnest($1::text[], $2::int4[]) AS v(topic, partition) ON p.topic = v.topic AND p.partition = v.partition
    JOIN pg_stat_activity a ON a.backend_xid = p.xmax
    WHERE a.pid <> pg_backend_pid() AND a.usename = current_user AND a.application_name LIKE 'drover/%'";

/// Ends one session of drover's own, by everything that tells it from a later one with the same pid.
pub const END_SESSION: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = $1 AND backend_start = $2 AND application_name = $3 AND usename = current_user";

/// The statements of a connection.
pub struct Statements {
    /// Moves the positions or raises.
    pub compare_and_swap: Statement,
    /// Reads the positions.
    pub positions: Statement,
    /// Takes the rows.
    pub copy: Statement,
    /// Adds to the rollups.
    pub rollups: Statement,
    /// Writes gaps.
    pub gaps: Statement,
    /// Writes dead letters.
    pub dead_letters: Statement,
}

impl Statements {
    /// Prepares all of them.
    ///
    /// # Errors
    /// What the server says; a missing table is class configuration.
    pub async fn prepare(client: &Client) -> Result<Self, Error> {
        let copy = copy_into("events");
        let (compare_and_swap, positions, copy, rollups, gaps, dead_letters) = futures::try_join!(
            client.prepare(COMPARE_AND_SWAP),
            client.prepare(POSITIONS),
            client.prepare(&copy),
            client.prepare(ROLLUPS),
            client.prepare(GAPS),
            client.prepare(DEAD_LETTERS),
        )?;
        Ok(Self { compare_and_swap, positions, copy, rollups, gaps, dead_letters })
    }
}

/// The COPY of encoded rows into a table.
#[must_use]
pub fn copy_into(table: &str) -> String {
    format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", row::COLUMNS)
}

/// The positions of a batch, column by column.
pub struct Positions<'a> {
    /// Topics.
    pub topics: Vec<&'a str>,
    /// Partitions.
    pub partitions: Vec<i32>,
    /// Incarnations.
    pub incarnations: Vec<i32>,
    /// Believed positions.
    pub from: Vec<i64>,
    /// New positions.
    pub to: Vec<i64>,
}

impl<'a> Positions<'a> {
    /// Those of `batch`.
    #[must_use]
    pub fn of(batch: &'a Batch) -> Self {
        let advances = batch.advances();
        Self {
            topics: advances.iter().map(|a| a.topic.as_str()).collect(),
            partitions: advances.iter().map(|a| a.partition).collect(),
            incarnations: advances.iter().map(|a| a.incarnation).collect(),
            from: advances.iter().map(|a| a.from).collect(),
            to: advances.iter().map(|a| a.to).collect(),
        }
    }
}

/// Topics, partitions and names of the batch's rollups.
#[must_use]
pub fn rollup_names(batch: &Batch) -> (Vec<&str>, Vec<i32>, Vec<&str>) {
    let advances = batch.advances();
    let slots = batch.rollups().iter().map(|rollup| &advances[usize::from(rollup.slot)]);
    (
        slots.clone().map(|advance| advance.topic.as_str()).collect(),
        slots.map(|advance| advance.partition).collect(),
        batch.rollups().iter().map(|rollup| rollup.event_type.as_str()).collect(),
    )
}

/// Adds the batch's rows to the rollups.
///
/// # Errors
/// What the server says.
pub async fn write_rollups(client: &Client, statements: &Statements, batch: &Batch) -> Result<(), Error> {
    let rollups: Vec<_> = batch.rollups().iter().filter(|rollup| rollup.count > 0).collect();
    if rollups.is_empty() {
        return Ok(());
    }
    let advances = batch.advances();
    let topics: Vec<&str> = rollups.iter().map(|r| advances[usize::from(r.slot)].topic.as_str()).collect();
    let partitions: Vec<i32> = rollups.iter().map(|r| advances[usize::from(r.slot)].partition).collect();
    let types: Vec<&str> = rollups.iter().map(|r| r.event_type.as_str()).collect();
    let counts: Vec<i64> = rollups.iter().map(|r| r.count).collect();
    client.execute(&statements.rollups, &[&topics, &partitions, &types, &counts]).await.map(|_| ())
}

/// Writes the batch's gaps.
///
/// # Errors
/// What the server says.
pub async fn write_gaps(client: &Client, statements: &Statements, batch: &Batch) -> Result<(), Error> {
    let gaps = batch.gaps();
    if gaps.is_empty() {
        return Ok(());
    }
    let advances = batch.advances();
    let topics: Vec<&str> = gaps.iter().map(|g| advances[usize::from(g.slot)].topic.as_str()).collect();
    let partitions: Vec<i32> = gaps.iter().map(|g| advances[usize::from(g.slot)].partition).collect();
    let incarnations: Vec<i32> = gaps.iter().map(|g| advances[usize::from(g.slot)].incarnation).collect();
    let firsts: Vec<i64> = gaps.iter().map(|g| g.first).collect();
    let nexts: Vec<i64> = gaps.iter().map(|g| g.next).collect();
    let reasons: Vec<&str> = gaps.iter().map(|g| g.reason).collect();
    client
        .execute(&statements.gaps, &[&topics, &partitions, &incarnations, &firsts, &nexts, &reasons])
        .await
        .map(|_| ())
}

/// Writes the batch's dead letters and gives back how many were new.
///
/// # Errors
/// What the server says.
pub async fn write_dead_letters(client: &Client, statements: &Statements, batch: &Batch) -> Result<u64, Error> {
    let letters = batch.dead_letters();
    if letters.is_empty() {
        return Ok(0);
    }
    let advances = batch.advances();
    let incarnations: Vec<i32> = letters.iter().map(|l| advances[usize::from(l.slot)].incarnation).collect();
    let topics: Vec<&str> = letters.iter().map(|l| l.record.topic.as_str()).collect();
    let partitions: Vec<i32> = letters.iter().map(|l| l.record.partition).collect();
    let offsets: Vec<i64> = letters.iter().map(|l| l.record.offset).collect();
    let keys: Vec<Option<&[u8]>> = letters.iter().map(|l| l.record.key.as_deref()).collect();
    let values: Vec<Option<&[u8]>> = letters.iter().map(|l| l.record.value.as_deref()).collect();
    let headers: Vec<String> = letters.iter().map(|l| headers::to_json(&l.record.headers)).collect();
    let timestamps: Vec<i64> = letters.iter().map(|l| l.record.timestamp.ms).collect();
    let timestamp_types: Vec<&str> = letters.iter().map(|l| l.record.timestamp.kind.as_str()).collect();
    let codes: Vec<String> = letters.iter().map(|l| l.rejection.code.to_string()).collect();
    // A text column cannot hold NUL, and a processor's message may.
    let messages: Vec<String> = letters.iter().map(|l| l.rejection.message.replace('\0', "\u{fffd}")).collect();
    let stages: Vec<&str> = letters.iter().map(|l| l.rejection.code.stage()).collect();
    let attempts: Vec<i32> = letters.iter().map(|l| i32::try_from(l.attempts).unwrap_or(i32::MAX)).collect();
    client
        .execute(
            &statements.dead_letters,
            &[
                &topics,
                &partitions,
                &incarnations,
                &offsets,
                &keys,
                &values,
                &headers,
                &timestamps,
                &timestamp_types,
                &codes,
                &messages,
                &stages,
                &attempts,
                &batch.consumer_id(),
            ],
        )
        .await
}
