//! Dead letters: listing, and the outbox.

use super::connection::{Access, Database};
use super::error::Failure;
use super::schema::{dead_letters, topics};
use super::time;
use crate::domain::record::{OwnedRecord, RecordTimestamp, TimestampType};
use crate::store::rules::{length, pending_that_fit};
use crate::store::{DeadLetterFilter, Outbox, PublishOutcome, StoreError, StoredDeadLetter, headers};
use diesel::prelude::*;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Queryable)]
struct Row {
    id: i64,
    topic: String,
    partition: i32,
    incarnation: i32,
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: String,
    timestamp: Option<i64>,
    timestamp_type: String,
    code: String,
    message: String,
    stage: String,
    attempts: i32,
    consumer_id: String,
    failed_at: String,
    published_at: Option<String>,
    publish_outcome: Option<String>,
    publish_error: Option<String>,
}

impl From<Row> for StoredDeadLetter {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            record: OwnedRecord {
                topic: row.topic,
                partition: row.partition,
                offset: row.offset,
                key: row.key,
                value: row.value,
                timestamp: RecordTimestamp {
                    ms: row.timestamp.unwrap_or(-1),
                    kind: TimestampType::from_name(&row.timestamp_type),
                },
                headers: headers::from_json(&row.headers),
            },
            incarnation: row.incarnation,
            code: row.code,
            message: row.message,
            stage: row.stage,
            attempts: row.attempts,
            consumer_id: row.consumer_id,
            failed_at_ms: time::ms_of_text(&row.failed_at),
            published_at_ms: row.published_at.as_deref().map(time::ms_of_text),
            publish_outcome: row.publish_outcome,
            publish_error: row.publish_error,
        }
    }
}

fn stored(rows: Vec<Row>) -> Vec<StoredDeadLetter> {
    rows.into_iter().map(StoredDeadLetter::from).collect()
}

pub(super) fn unpublished(connection: &mut SqliteConnection) -> Result<i64, Failure> {
    Ok(dead_letters::table.filter(dead_letters::published_at.is_null()).count().get_result(connection)?)
}

pub(super) fn list(
    connection: &mut SqliteConnection,
    filter: &DeadLetterFilter,
) -> Result<Vec<StoredDeadLetter>, Failure> {
    let mut query = dead_letters::table.order(dead_letters::id.desc()).limit(i64::from(filter.limit)).into_boxed();
    if let Some(topic) = &filter.topic {
        query = query.filter(dead_letters::topic.eq(topic));
    }
    if let Some(code) = &filter.code {
        query = query.filter(dead_letters::code.eq(code));
    }
    Ok(stored(query.load(connection)?))
}

pub(super) fn find(
    connection: &mut SqliteConnection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<StoredDeadLetter>, Failure> {
    let incarnation: Option<i32> =
        topics::table.find(topic).select(topics::incarnation).first(connection).optional()?;
    let row: Option<Row> = dead_letters::table
        .filter(dead_letters::topic.eq(topic))
        .filter(dead_letters::partition.eq(partition))
        .filter(dead_letters::incarnation.eq(incarnation.unwrap_or(1)))
        .filter(dead_letters::offset.eq(offset))
        .first(connection)
        .optional()?;
    Ok(row.map(StoredDeadLetter::from))
}

/// The right to publish, given back when dropped.
pub(super) struct SqliteOutbox {
    database: Arc<Database>,
    taken: Arc<AtomicBool>,
}

impl SqliteOutbox {
    /// `None` while another one is out.
    pub(super) fn take(database: &Arc<Database>, taken: &Arc<AtomicBool>) -> Option<Self> {
        taken
            .compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
            .then(|| Self { database: Arc::clone(database), taken: Arc::clone(taken) })
    }
}

impl Drop for SqliteOutbox {
    fn drop(&mut self) {
        self.taken.store(false, Ordering::Release);
    }
}

impl Outbox for SqliteOutbox {
    fn pending<'a>(
        &'a mut self,
        limit: u32,
        except: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredDeadLetter>, StoreError>> {
        let except = except.to_vec();
        async move {
            self.database
                .run(Access::Read, move |connection| {
                    let waiting = dead_letters::table
                        .filter(dead_letters::published_at.is_null())
                        .filter(dead_letters::topic.ne_all(&except))
                        .order(dead_letters::id);
                    let sizes = waiting
                        .clone()
                        .select((length(dead_letters::key), length(dead_letters::value)))
                        .limit(i64::from(limit))
                        .load(connection)?;
                    let rows = waiting.limit(pending_that_fit(&sizes)).load(connection)?;
                    Ok(stored(rows))
                })
                .await
                .map_err(|failure| failure.context("read unpublished dead letters", self.database.path()))
        }
        .boxed()
    }

    fn mark<'a>(&'a mut self, answers: &'a [(i64, PublishOutcome)]) -> BoxFuture<'a, Result<(), StoreError>> {
        let answers = answers.to_vec();
        async move {
            self.database
                .run(Access::Write, move |connection| {
                    connection.immediate_transaction(|connection| mark(connection, &answers))
                })
                .await
                .map_err(|failure| failure.context("mark dead letters as published", self.database.path()))
        }
        .boxed()
    }
}

fn mark(connection: &mut SqliteConnection, answers: &[(i64, PublishOutcome)]) -> Result<(), Failure> {
    let now = time::now();
    for (id, outcome) in answers {
        diesel::update(dead_letters::table.find(id))
            .set((
                dead_letters::published_at.eq(Some(&now)),
                dead_letters::publish_outcome.eq(Some(outcome.name())),
                dead_letters::publish_error.eq(outcome.reason()),
            ))
            .execute(connection)?;
    }
    Ok(())
}
