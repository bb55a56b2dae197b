//! The SQL of the batch transaction, prepared once per connection.
//!
//! Pure text and parameter building; names are unqualified, `search_path` leads to `store.schema`.

use crate::domain::batch::Batch;
use crate::store::{headers, row};
use tokio_postgres::{Client, Error, Statement};

/// Begins a batch transaction; the isolation is named because a role or database may default to another one.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

const COMPARE_AND_SWAP: &str = "
    WITH u AS (
        UPDATE partition_progress p SET next_offset = v.new, updated_at = now()
        FROM unnest($1::text[], $2::int4[], $3::int4[], $4::int8[], $5::int8[]) AS v(topic, partition, incarnation, old, new)
        WHERE p.topic = v.topic AND p.partition = v.partition AND p.incarnation = v.incarnation AND p.next_offset = v.old
        RETURNING 1
    )
    SELECT CASE WHEN count(*) = cardinality($1) THEN 0
                ELSE drover_raise('DR001', 'a position was moved by another owner') END FROM u";

const POSITIONS: &str = "
    SELECT p.topic, p.partition, p.incarnation, p.next_offset FROM partition_progress p
    JOIN unnest($1::text[], $2::int4[]) AS v(topic, partition) ON p.topic = v.topic AND p.partition = v.partition";

const ROLLUPS: &str = "
    INSERT INTO event_rollups AS r (minute, topic, partition, event_type, count)
    SELECT date_trunc('minute', now()), v.topic, v.partition, v.event_type, v.count
    FROM unnest($1::text[], $2::int4[], $3::text[], $4::int8[]) AS v(topic, partition, event_type, count)
    ORDER BY 2, 3, 4
    ON CONFLICT (minute, topic, partition, event_type) DO UPDATE SET count = r.count + excluded.count";

const GAPS: &str = "
    INSERT INTO offset_gaps (topic, partition, incarnation, first_offset, next_offset, reason)
    SELECT * FROM unnest($1::text[], $2::int4[], $3::int4[], $4::int8[], $5::int8[], $6::text[])
    ON CONFLICT (topic, partition, incarnation, first_offset) DO UPDATE SET next_offset = excluded.next_offset";

const DEAD_LETTERS: &str = "
    INSERT INTO dead_letters (topic, partition, incarnation, \"offset\", key, value, headers, \"timestamp\", timestamp_type,
                              code, message, stage, attempts, consumer_id)
    SELECT v.topic, v.partition, v.incarnation, v.\"offset\", v.key, v.value, v.headers::jsonb, v.ts, v.ts_type,
           v.code, v.message, v.stage, v.attempts, $14
    FROM unnest($1::text[], $2::int4[], $3::int4[], $4::int8[], $5::bytea[], $6::bytea[], $7::text[], $8::int8[], $9::text[],
                $10::text[], $11::text[], $12::text[], $13::int4[])
         AS v(topic, partition, incarnation, \"offset\", key, value, headers, ts, ts_type, code, message, stage, attempts)
    ORDER BY 1, 2, 4
    ON CONFLICT (topic, partition, incarnation, \"offset\") DO NOTHING";

/// Moves what was staged into `events` and counts it; rows that are there already are left alone.
pub const MERGE_STAGE: &str = "
    WITH i AS (
        INSERT INTO events (topic, partition, incarnation, \"offset\", key, user_id, event_type, element_id, occurred_at,
                            payload, consumer_id, source)
        SELECT topic, partition, incarnation, \"offset\", key, user_id, event_type, element_id, occurred_at,
               payload, consumer_id, source FROM drover_stage
        ON CONFLICT (topic, partition, incarnation, \"offset\") DO NOTHING
        RETURNING topic, partition, event_type
    ), r AS (
        INSERT INTO event_rollups AS r (minute, topic, partition, event_type, count)
        SELECT date_trunc('minute', now()), topic, partition, left(event_type, 50), count(*) FROM i GROUP BY 1, 2, 3, 4
        ON CONFLICT (minute, topic, partition, event_type) DO UPDATE SET count = r.count + excluded.count
    )
    SELECT count(*) FROM i";

/// Raises when a staged row differs from the stored row of its key.
pub const COMPARE_STAGE: &str = "
    SELECT CASE WHEN EXISTS (
        SELECT 1 FROM drover_stage s JOIN events e USING (topic, partition, incarnation, \"offset\")
        WHERE (s.key, s.payload) IS DISTINCT FROM (e.key, e.payload)
    ) THEN drover_raise('DR002', 'a stored row differs from the record that Kafka has at its offset') ELSE 0 END";

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
