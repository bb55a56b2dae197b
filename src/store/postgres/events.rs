//! Events in PostgreSQL: by place, and looking back.
//!
//! Every look is a LATERAL over primary keys with a LIMIT, so that its cost follows what is asked for, not what is stored. So
//! that this does not hang on statistics, which a young table has none of, other plans are switched off for the transaction.

use super::PostgresStore;
use super::error::Failure;
use super::event_index::{by_index, has_index};
use super::event_rows::{Place, Row, event_columns, letter_columns};
use super::pool::bounded;
use crate::domain::event_search::EventFilter;
use crate::domain::lookback::{Partition, Run, Window};
use crate::store::StoreError;
use crate::store::events::{EventStore, PAYLOAD_CHARACTERS, ReadEvent, ReadRun, StoredEvent, cut, in_order};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Text, Timestamptz};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(QueryableByName)]
struct Last {
    #[diesel(sql_type = Integer)]
    run: i32,
    #[diesel(sql_type = BigInt)]
    offset: i64,
    #[diesel(sql_type = Timestamptz)]
    stored_at: DateTime<Utc>,
}

/// The lateral statement over windows of a table: `$1` to `$5` are places in the list, topics, partitions, incarnations and
/// the offsets below which to read.
fn windows_sql(columns: &str, table: &str, rows: usize) -> String {
    format!(
        r#"SELECT w.run, e.* FROM unnest($1, $2, $3, $4, $5) AS w (run, topic, partition, incarnation, below)
        CROSS JOIN LATERAL (SELECT {columns} FROM {table} e WHERE e.topic = w.topic AND e.partition = w.partition
            AND e.incarnation = w.incarnation AND e."offset" < w.below ORDER BY e."offset" DESC LIMIT {rows}) e"#
    )
}

/// What a lateral statement is asked with.
#[derive(Default)]
struct Asked<'a> {
    runs: Vec<i32>,
    topics: Vec<&'a str>,
    partitions: Vec<i32>,
    incarnations: Vec<i32>,
    below: Vec<i64>,
}

impl<'a> Asked<'a> {
    /// Rows of `events` and dead letters apart.
    fn of(runs: &'a [Run], asked: impl Iterator<Item = (usize, i64)>) -> [Self; 2] {
        let mut both = [Self::default(), Self::default()];
        for (run, below) in asked {
            let (table, at) = match &runs[run] {
                Run::Events(at) => (0, at),
                Run::DeadLetters(at) => (1, at),
                Run::Indexed => continue,
            };
            let table = &mut both[table];
            table.runs.push(i32::try_from(run).unwrap_or(i32::MAX));
            table.topics.push(&at.topic);
            table.partitions.push(at.partition);
            table.incarnations.push(at.incarnation);
            table.below.push(below);
        }
        both
    }

    async fn rows<T>(&self, connection: &mut AsyncPgConnection, sql: String) -> Result<Vec<T>, Failure>
    where
        T: QueryableByName<Pg> + Send + 'static,
    {
        if self.runs.is_empty() {
            return Ok(Vec::new());
        }
        Ok(diesel::sql_query(sql)
            .bind::<Array<Integer>, _>(&self.runs)
            .bind::<Array<Text>, _>(&self.topics)
            .bind::<Array<Integer>, _>(&self.partitions)
            .bind::<Array<Integer>, _>(&self.incarnations)
            .bind::<Array<BigInt>, _>(&self.below)
            .load(connection)
            .await?)
    }
}

/// Lets the transaction end in time, and use indexes in their order alone.
async fn restrain(connection: &mut AsyncPgConnection, limit: Duration) -> Result<(), Failure> {
    let ms = limit.as_millis().max(1);
    let set = format!(
        "SET LOCAL statement_timeout = {ms}; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
         SET LOCAL enable_sort = off; SET LOCAL jit = off"
    );
    Ok(connection.batch_execute(&set).await?)
}

async fn partitions(connection: &mut AsyncPgConnection) -> Result<Vec<Partition>, Failure> {
    let places: Vec<Place> = diesel::sql_query(
        "SELECT topic, partition, incarnation FROM partition_progress UNION \
         SELECT topic, partition, incarnation FROM past_incarnations ORDER BY 1, 2, 3",
    )
    .load(connection)
    .await?;
    let partition = |Place { topic, partition, incarnation }| Partition { topic, partition, incarnation };
    Ok(places.into_iter().map(partition).collect())
}

async fn last_below(
    connection: &mut AsyncPgConnection,
    runs: &[Run],
    asked: &[(usize, i64)],
    limit: Duration,
) -> Result<BTreeMap<usize, (i64, i64)>, Failure> {
    connection
        .transaction(async |connection| {
            restrain(connection, limit).await?;
            let [events, letters] = Asked::of(runs, asked.iter().copied());
            let sql = windows_sql(r#"e."offset", e.stored_at"#, "events", 1);
            let mut found: Vec<Last> = events.rows(connection, sql).await?;
            let sql = windows_sql(r#"e."offset", e.failed_at AS stored_at"#, "dead_letters", 1);
            found.extend(letters.rows::<Last>(connection, sql).await?);
            let answer = |last: Last| (index(last.run), (last.offset, last.stored_at.timestamp_micros()));
            Ok(found.into_iter().map(answer).collect())
        })
        .await
}

fn index(run: i32) -> usize {
    usize::try_from(run).unwrap_or_default()
}

async fn look_back(
    connection: &mut AsyncPgConnection,
    runs: &[Run],
    windows: &[Window],
    rows: usize,
    filter: &EventFilter,
    limit: Duration,
) -> Result<Vec<ReadRun>, Failure> {
    connection
        .transaction(async |connection| {
            restrain(connection, limit).await?;
            let [events, letters] = Asked::of(runs, windows.iter().map(|window| (window.run, window.below)));
            let columns = format!("{}, NULL::bytea AS value", event_columns());
            let mut found: Vec<Row> = events.rows(connection, windows_sql(&columns, "events", rows)).await?;
            let sql = windows_sql(&letter_columns(), "dead_letters", rows);
            found.extend(letters.rows::<Row>(connection, sql).await?);
            for window in windows.iter().filter(|window| runs[window.run] == Run::Indexed) {
                found.extend(by_index(connection, window, rows, filter).await?);
            }
            // A join promises no order.
            Ok(in_order(runs, windows, found.into_iter().map(|row| (index(row.run), row.read()))))
        })
        .await
}

async fn find(
    connection: &mut AsyncPgConnection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<StoredEvent>, Failure> {
    let sql = format!(
        r#"SELECT 0 AS run, {}, convert_to(left(e.payload::text, {}), 'UTF8') AS value FROM events e
        WHERE e.topic = $1 AND e.partition = $2 AND e."offset" = $3 AND e.incarnation = ANY (ARRAY(
            SELECT incarnation FROM partition_progress WHERE topic = $1 AND partition = $2
            UNION SELECT incarnation FROM past_incarnations WHERE topic = $1 AND partition = $2))
        ORDER BY e.incarnation DESC LIMIT 1"#,
        event_columns(),
        PAYLOAD_CHARACTERS + 1
    );
    let row: Option<Row> = diesel::sql_query(sql)
        .bind::<Text, _>(topic)
        .bind::<Integer, _>(partition)
        .bind::<BigInt, _>(offset)
        .get_result(connection)
        .await
        .optional()?;
    Ok(row.map(Row::read).map(|ReadEvent { event, value }| {
        let text = value.map(|value| String::from_utf8_lossy(&value).into_owned());
        let (payload, payload_truncated) = cut(text);
        StoredEvent { event, payload, payload_truncated }
    }))
}

#[derive(QueryableByName)]
struct Gap {
    #[diesel(sql_type = BigInt)]
    next_offset: i64,
    #[diesel(sql_type = Text)]
    reason: String,
}

async fn gap(
    connection: &mut AsyncPgConnection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<String>, Failure> {
    let gap: Option<Gap> = diesel::sql_query(
        "SELECT next_offset, reason FROM offset_gaps WHERE topic = $1 AND partition = $2 AND first_offset <= $3 \
         AND incarnation = (SELECT incarnation FROM partition_progress WHERE topic = $1 AND partition = $2) \
         ORDER BY first_offset DESC LIMIT 1",
    )
    .bind::<Text, _>(topic)
    .bind::<Integer, _>(partition)
    .bind::<BigInt, _>(offset)
    .get_result(connection)
    .await
    .optional()?;
    Ok(gap.filter(|gap| gap.next_offset > offset).map(|gap| gap.reason))
}

impl EventStore for PostgresStore {
    fn event_partitions(&self) -> BoxFuture<'_, Result<Vec<Partition>, StoreError>> {
        ask!(self, "list partitions with events", |connection| partitions(connection))
    }

    fn has_event_index<'a>(&'a self, column: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        ask!(self, "look for an index", |connection| has_index(connection, column))
    }

    fn last_below<'a>(
        &'a self,
        runs: &'a [Run],
        asked: &'a [(usize, i64)],
        limit: Duration,
    ) -> BoxFuture<'a, Result<BTreeMap<usize, (i64, i64)>, StoreError>> {
        ask!(self, "look for a time", |connection| last_below(connection, runs, asked, limit))
    }

    fn look_back<'a>(
        &'a self,
        runs: &'a [Run],
        windows: &'a [Window],
        rows: usize,
        filter: &'a EventFilter,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Vec<ReadRun>, StoreError>> {
        ask!(self, "search events", |connection| look_back(connection, runs, windows, rows, filter, limit))
    }

    fn event<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<StoredEvent>, StoreError>> {
        ask!(self, "read an event", |connection| find(connection, topic, partition, offset))
    }

    fn gap_at<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        ask!(self, "read a gap", |connection| gap(connection, topic, partition, offset))
    }
}
