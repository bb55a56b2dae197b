//! Dead letters: listing, and the outbox.
//!
//! The right to publish is a session advisory lock on a connection of its own: the server takes it back when the
//! connection ends, however that happens. A lost connection is an error of the outbox, and the right is taken anew.

use super::connect::PgSettings;
use super::error::Failure;
use super::pool::{bounded, open};
use super::schema::{dead_letters, topics};
use crate::domain::failure::FailureClass;
use crate::domain::record::{OwnedRecord, RecordTimestamp, TimestampType};
use crate::store::rules::{length, pending_that_fit};
use crate::store::{DeadLetterFilter, Outbox, PublishOutcome, StoreError, StoredDeadLetter, headers};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use futures::FutureExt as _;
use futures::future::BoxFuture;

#[derive(Queryable)]
struct Row {
    id: i64,
    topic: String,
    partition: i32,
    incarnation: i32,
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: serde_json::Value,
    timestamp: Option<i64>,
    timestamp_type: String,
    code: String,
    message: String,
    stage: String,
    attempts: i32,
    consumer_id: String,
    failed_at: DateTime<Utc>,
    published_at: Option<DateTime<Utc>>,
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
                headers: headers::from_json(&row.headers.to_string()),
            },
            incarnation: row.incarnation,
            code: row.code,
            message: row.message,
            stage: row.stage,
            attempts: row.attempts,
            consumer_id: row.consumer_id,
            failed_at_ms: row.failed_at.timestamp_millis(),
            published_at_ms: row.published_at.map(|at| at.timestamp_millis()),
            publish_outcome: row.publish_outcome,
            publish_error: row.publish_error,
        }
    }
}

fn stored(rows: Vec<Row>) -> Vec<StoredDeadLetter> {
    rows.into_iter().map(StoredDeadLetter::from).collect()
}

pub(super) async fn unpublished(connection: &mut AsyncPgConnection) -> Result<i64, Failure> {
    Ok(dead_letters::table.filter(dead_letters::published_at.is_null()).count().get_result(connection).await?)
}

pub(super) async fn list(
    connection: &mut AsyncPgConnection,
    filter: &DeadLetterFilter,
) -> Result<Vec<StoredDeadLetter>, Failure> {
    let mut query = dead_letters::table.order(dead_letters::id.desc()).limit(i64::from(filter.limit)).into_boxed();
    if let Some(topic) = &filter.topic {
        query = query.filter(dead_letters::topic.eq(topic));
    }
    if let Some(code) = &filter.code {
        query = query.filter(dead_letters::code.eq(code));
    }
    Ok(stored(query.load(connection).await?))
}

pub(super) async fn find(
    connection: &mut AsyncPgConnection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<StoredDeadLetter>, Failure> {
    let incarnation: Option<i32> =
        topics::table.find(topic).select(topics::incarnation).first(connection).await.optional()?;
    let row: Option<Row> = dead_letters::table
        .filter(dead_letters::topic.eq(topic))
        .filter(dead_letters::partition.eq(partition))
        .filter(dead_letters::incarnation.eq(incarnation.unwrap_or(1)))
        .filter(dead_letters::offset.eq(offset))
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(StoredDeadLetter::from))
}

/// See the module.
pub(super) struct PgOutbox {
    settings: PgSettings,
    connection: AsyncPgConnection,
    /// The server's session that holds the lock; another one means that a pooler stands between.
    pid: i32,
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    taken: bool,
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pid: i32,
}

impl PgOutbox {
    /// `None` while another process has the right.
    pub(super) async fn take(settings: &PgSettings) -> Result<Option<Self>, StoreError> {
        let mut connection = open(settings, "drover/outbox").await?;
        let taken: Result<Taken, Failure> = bounded(settings, async {
            Ok(diesel::sql_query(
                "SELECT pg_try_advisory_lock(hashtextextended('drover outbox ' || current_schema(), 0)) AS taken, \
                 pg_backend_pid() AS pid",
            )
            .get_result(&mut connection)
            .await?)
        })
        .await;
        let Taken { taken, pid } = taken.map_err(|failure| failure.context("take the outbox"))?;
        Ok(taken.then(|| Self { settings: settings.clone(), connection, pid }))
    }
}

/// Fails when the session is not the one that took the lock.
async fn check_session(connection: &mut AsyncPgConnection, pid: i32) -> Result<(), Failure> {
    let now: i32 = diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()"))
        .get_result(connection)
        .await?;
    if now != pid {
        return Err(Failure::Refused(
            FailureClass::Configuration,
            format!("the session changed from server process {pid} to {now}: {}", super::POOLER_REFUSED),
        ));
    }
    Ok(())
}

impl Outbox for PgOutbox {
    fn pending<'a>(
        &'a mut self,
        limit: u32,
        except: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredDeadLetter>, StoreError>> {
        async move {
            let (connection, pid) = (&mut self.connection, self.pid);
            bounded(&self.settings, async {
                check_session(connection, pid).await?;
                let waiting = dead_letters::table
                    .filter(dead_letters::published_at.is_null())
                    .filter(dead_letters::topic.ne_all(except))
                    .order(dead_letters::id);
                let sizes = waiting
                    .clone()
                    .select((length(dead_letters::key), length(dead_letters::value)))
                    .limit(i64::from(limit))
                    .load(connection)
                    .await?;
                let rows = waiting.limit(pending_that_fit(&sizes)).load(connection).await?;
                Ok(stored(rows))
            })
            .await
            .map_err(|failure| failure.context("read unpublished dead letters"))
        }
        .boxed()
    }

    fn mark<'a>(&'a mut self, answers: &'a [(i64, PublishOutcome)]) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let (connection, pid) = (&mut self.connection, self.pid);
            bounded(&self.settings, async {
                check_session(connection, pid).await?;
                connection
                    .transaction(async |connection| {
                        for (id, outcome) in answers {
                            diesel::update(dead_letters::table.find(id))
                                .set((
                                    dead_letters::published_at.eq(diesel::dsl::now),
                                    dead_letters::publish_outcome.eq(Some(outcome.name())),
                                    dead_letters::publish_error.eq(outcome.reason()),
                                ))
                                .execute(connection)
                                .await?;
                        }
                        Ok::<_, Failure>(())
                    })
                    .await
            })
            .await
            .map_err(|failure| failure.context("mark dead letters as published"))
        }
        .boxed()
    }
}
