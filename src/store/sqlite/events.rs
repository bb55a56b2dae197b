//! Events in SQLite: by place, and looking back along the primary keys, one statement for each window.

use super::connection::Access;
use super::error::Failure;
use super::{SqliteStore, time};
use crate::domain::event_search::{EventFilter, EventKey, EventStatus, FIELD_CHARACTERS, FoundEvent};
use crate::domain::lookback::{Partition, Run, Window};
use crate::store::StoreError;
use crate::store::events::{
    EventStore, GLIMPSE_BYTES, PAYLOAD_CHARACTERS, ReadEvent, ReadRun, StoredEvent, cut, in_order,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(QueryableByName)]
struct Place {
    #[diesel(sql_type = Text)]
    topic: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Integer)]
    incarnation: i32,
}

#[derive(QueryableByName)]
struct Last {
    #[diesel(sql_type = BigInt)]
    offset: i64,
    #[diesel(sql_type = Text)]
    stored_at: String,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(embed)]
    at: Place,
    #[diesel(sql_type = BigInt)]
    offset: i64,
    #[diesel(sql_type = Nullable<Binary>)]
    key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Text>)]
    user_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    event_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    element_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    occurred_at: Option<String>,
    #[diesel(sql_type = Text)]
    consumer_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    source: Option<String>,
    #[diesel(sql_type = Text)]
    stored_at: String,
    /// Of a dead letter.
    #[diesel(sql_type = Nullable<Text>)]
    code: Option<String>,
    /// Of a dead letter: the beginning. Of one event: its document.
    #[diesel(sql_type = Nullable<Binary>)]
    value: Option<Vec<u8>>,
}

impl Row {
    fn read(self) -> ReadEvent {
        let is_letter = self.code.is_some();
        // In the table of dead letters headers are base64.
        let decoded = |source: String| STANDARD.decode(source).ok().and_then(|source| String::from_utf8(source).ok());
        let event = FoundEvent {
            at: EventKey {
                stored_at_us: time::us_of_text(&self.stored_at),
                topic: self.at.topic,
                partition: self.at.partition,
                incarnation: self.at.incarnation,
                offset: self.offset,
            },
            key: self.key,
            user_id: self.user_id,
            event_type: self.event_type,
            element_id: self.element_id,
            occurred_at_us: self.occurred_at.as_deref().map(time::us_of_text),
            consumer_id: self.consumer_id,
            source: if is_letter { self.source.and_then(decoded) } else { self.source },
            status: if is_letter { EventStatus::DeadLetter } else { EventStatus::Stored },
            code: self.code,
        };
        ReadEvent { event, value: self.value }
    }
}

/// The columns of `events` as [`Row`] takes them, texts cut one character past what is shown: what is longer matches nothing.
fn event_columns() -> String {
    let most = FIELD_CHARACTERS + 1;
    format!(
        r#"e.topic, e.partition, e.incarnation, e."offset", substr(e.key, 1, {most}) AS key,
        substr(e.user_id, 1, {most}) AS user_id, substr(e.event_type, 1, {most}) AS event_type,
        substr(e.element_id, 1, {most}) AS element_id, e.occurred_at, e.consumer_id, substr(e.source, 1, {most}) AS source,
        e.stored_at, NULL AS code"#
    )
}

/// The same of `dead_letters`.
fn letter_columns() -> String {
    let most = FIELD_CHARACTERS + 1;
    format!(
        r#"e.topic, e.partition, e.incarnation, e."offset", substr(e.key, 1, {most}) AS key, NULL AS user_id,
        NULL AS event_type, NULL AS element_id, NULL AS occurred_at, e.consumer_id,
        (SELECT substr(h.value ->> '$.value', 1, 1024) FROM json_each(e.headers) h
         WHERE h.value ->> '$.name' = 'drover_source' ORDER BY h.key DESC LIMIT 1) AS source,
        e.failed_at AS stored_at, e.code, substr(e.value, 1, {GLIMPSE_BYTES}) AS value"#
    )
}

/// The statement over a window of the table of a run, and where it reads.
fn window_sql<'r>(run: &'r Run, of_events: &str, of_letters: &str, rows: usize) -> Option<(String, &'r Partition)> {
    let (columns, table, at) = match run {
        Run::Events(at) => (of_events, "events", at),
        Run::DeadLetters(at) => (of_letters, "dead_letters", at),
        Run::Indexed => return None,
    };
    let sql = format!(
        r#"SELECT {columns} FROM {table} e WHERE e.topic = ? AND e.partition = ? AND e.incarnation = ? AND e."offset" < ?
        ORDER BY e."offset" DESC LIMIT {rows}"#
    );
    Some((sql, at))
}

fn partitions(connection: &mut SqliteConnection) -> Result<Vec<Partition>, Failure> {
    let places: Vec<Place> = diesel::sql_query(
        "SELECT topic, partition, incarnation FROM partition_progress UNION \
         SELECT topic, partition, incarnation FROM past_incarnations ORDER BY 1, 2, 3",
    )
    .load(connection)?;
    let partition = |Place { topic, partition, incarnation }| Partition { topic, partition, incarnation };
    Ok(places.into_iter().map(partition).collect())
}

fn last_below(
    connection: &mut SqliteConnection,
    runs: &[Run],
    asked: &[(usize, i64)],
) -> Result<BTreeMap<usize, (i64, i64)>, Failure> {
    let mut answers = BTreeMap::new();
    for &(run, below) in asked {
        let columns = (r#"e."offset", e.stored_at"#, r#"e."offset", e.failed_at AS stored_at"#);
        let Some((sql, at)) = window_sql(&runs[run], columns.0, columns.1, 1) else { continue };
        let last: Option<Last> = diesel::sql_query(sql)
            .bind::<Text, _>(&at.topic)
            .bind::<Integer, _>(at.partition)
            .bind::<Integer, _>(at.incarnation)
            .bind::<BigInt, _>(below)
            .get_result(connection)
            .optional()?;
        if let Some(last) = last {
            answers.insert(run, (last.offset, time::us_of_text(&last.stored_at)));
        }
    }
    Ok(answers)
}

fn look_back(
    connection: &mut SqliteConnection,
    runs: &[Run],
    windows: &[Window],
    rows: usize,
) -> Result<Vec<ReadRun>, Failure> {
    let of_events = format!("{}, NULL AS value", event_columns());
    let of_letters = letter_columns();
    let mut found = Vec::new();
    for window in windows {
        let Some((sql, at)) = window_sql(&runs[window.run], &of_events, &of_letters, rows) else { continue };
        let read: Vec<Row> = diesel::sql_query(sql)
            .bind::<Text, _>(&at.topic)
            .bind::<Integer, _>(at.partition)
            .bind::<Integer, _>(at.incarnation)
            .bind::<BigInt, _>(window.below)
            .load(connection)?;
        found.extend(read.into_iter().map(|row| (window.run, row.read())));
    }
    Ok(in_order(runs, windows, found.into_iter()))
}

fn find(
    connection: &mut SqliteConnection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<StoredEvent>, Failure> {
    let sql = format!(
        r#"SELECT {}, CAST(substr(e.payload, 1, {}) AS BLOB) AS value FROM events e
        WHERE e.topic = ?1 AND e.partition = ?2 AND e."offset" = ?3 AND e.incarnation IN (
            SELECT incarnation FROM partition_progress WHERE topic = ?1 AND partition = ?2
            UNION SELECT incarnation FROM past_incarnations WHERE topic = ?1 AND partition = ?2)
        ORDER BY e.incarnation DESC LIMIT 1"#,
        event_columns(),
        PAYLOAD_CHARACTERS + 1
    );
    let row: Option<Row> = diesel::sql_query(sql)
        .bind::<Text, _>(topic)
        .bind::<Integer, _>(partition)
        .bind::<BigInt, _>(offset)
        .get_result(connection)
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

fn gap(connection: &mut SqliteConnection, topic: &str, partition: i32, offset: i64) -> Result<Option<String>, Failure> {
    let gap: Option<Gap> = diesel::sql_query(
        "SELECT next_offset, reason FROM offset_gaps WHERE topic = ?1 AND partition = ?2 AND first_offset <= ?3 \
         AND incarnation = (SELECT incarnation FROM partition_progress WHERE topic = ?1 AND partition = ?2) \
         ORDER BY first_offset DESC LIMIT 1",
    )
    .bind::<Text, _>(topic)
    .bind::<Integer, _>(partition)
    .bind::<BigInt, _>(offset)
    .get_result(connection)
    .optional()?;
    Ok(gap.filter(|gap| gap.next_offset > offset).map(|gap| gap.reason))
}

impl EventStore for SqliteStore {
    fn event_partitions(&self) -> BoxFuture<'_, Result<Vec<Partition>, StoreError>> {
        self.run("list partitions with events", Access::Read, partitions).boxed()
    }

    fn has_event_index<'a>(&'a self, _column: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        // One file of one machine is looked through.
        async { Ok(false) }.boxed()
    }

    fn last_below<'a>(
        &'a self,
        runs: &'a [Run],
        asked: &'a [(usize, i64)],
        _limit: Duration,
    ) -> BoxFuture<'a, Result<BTreeMap<usize, (i64, i64)>, StoreError>> {
        let (runs, asked) = (runs.to_vec(), asked.to_vec());
        self.run("look for a time", Access::Read, move |connection| last_below(connection, &runs, &asked)).boxed()
    }

    fn look_back<'a>(
        &'a self,
        runs: &'a [Run],
        windows: &'a [Window],
        rows: usize,
        _filter: &'a EventFilter,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<Vec<ReadRun>, StoreError>> {
        let (runs, windows) = (runs.to_vec(), windows.to_vec());
        // A round is bounded by its rows, so that nobody who waits for this connection waits long.
        self.run("search events", Access::Read, move |connection| look_back(connection, &runs, &windows, rows)).boxed()
    }

    fn event<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<StoredEvent>, StoreError>> {
        let topic = topic.to_owned();
        self.run("read an event", Access::Read, move |connection| find(connection, &topic, partition, offset)).boxed()
    }

    fn gap_at<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let topic = topic.to_owned();
        self.run("read a gap", Access::Read, move |connection| gap(connection, &topic, partition, offset)).boxed()
    }
}
