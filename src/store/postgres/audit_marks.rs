//! What the audit remembers, in PostgreSQL.
//!
//! The right to audit is a session advisory lock on a connection of its own, like the right to publish dead letters.

use super::PostgresStore;
use super::error::Failure;
use super::pool::{bounded, open};
use crate::domain::audit::{AuditResult, OffsetRange};
use crate::store::StoreError;
use crate::store::audit_marks::{AuditMark, AuditStore, AuditTurn, Audited, IncarnationId, PastIncarnation};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Text};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use futures::FutureExt as _;
use futures::future::BoxFuture;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    topic: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Integer)]
    incarnation: i32,
    #[diesel(sql_type = BigInt)]
    first_offset: i64,
    #[diesel(sql_type = BigInt)]
    next_offset: i64,
}

impl Row {
    fn split(self) -> (IncarnationId, OffsetRange) {
        let Self { topic, partition, incarnation, first_offset, next_offset } = self;
        (IncarnationId { topic, partition, incarnation }, OffsetRange { first: first_offset, next: next_offset })
    }
}

#[derive(QueryableByName)]
struct Stored {
    #[diesel(sql_type = Jsonb)]
    result: serde_json::Value,
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Bool)]
    taken: bool,
}

async fn marks(connection: &mut AsyncPgConnection) -> Result<Vec<AuditMark>, Failure> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT topic, partition, incarnation, next_offset AS first_offset, next_offset FROM audit_marks",
    )
    .load(connection)
    .await?;
    Ok(rows.into_iter().map(Row::split).map(|(id, range)| AuditMark { id, next_offset: range.next }).collect())
}

async fn set_marks(connection: &mut AsyncPgConnection, marks: &[Audited]) -> Result<(), Failure> {
    connection
        .transaction(async |connection| {
            for Audited { mark, from } in marks {
                diesel::sql_query(
                    "INSERT INTO audit_marks (topic, partition, incarnation, next_offset) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (topic, partition, incarnation) \
                     DO UPDATE SET next_offset = excluded.next_offset, marked_at = now() \
                     WHERE audit_marks.next_offset >= $5",
                )
                .bind::<Text, _>(&mark.id.topic)
                .bind::<Integer, _>(mark.id.partition)
                .bind::<Integer, _>(mark.id.incarnation)
                .bind::<BigInt, _>(mark.next_offset)
                .bind::<BigInt, _>(from)
                .execute(connection)
                .await?;
            }
            Ok(())
        })
        .await
}

async fn past(connection: &mut AsyncPgConnection) -> Result<Vec<PastIncarnation>, Failure> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT topic, partition, incarnation, first_offset, next_offset FROM past_incarnations ORDER BY 1, 3, 2",
    )
    .load(connection)
    .await?;
    Ok(rows.into_iter().map(Row::split).map(|(id, offsets)| PastIncarnation { id, offsets }).collect())
}

async fn set_result(connection: &mut AsyncPgConnection, result: &AuditResult) -> Result<(), Failure> {
    diesel::sql_query(
        "INSERT INTO audit_results (finished_at, result) VALUES (now(), $1) \
         ON CONFLICT (singleton) DO UPDATE SET finished_at = excluded.finished_at, result = excluded.result",
    )
    .bind::<Jsonb, _>(serde_json::to_value(result).unwrap_or_default())
    .execute(connection)
    .await?;
    Ok(())
}

async fn result(connection: &mut AsyncPgConnection) -> Result<Option<AuditResult>, Failure> {
    let stored: Option<Stored> =
        diesel::sql_query("SELECT result FROM audit_results").get_result(connection).await.optional()?;
    // What another version wrote in another form is as good as nothing: the next audit replaces it.
    Ok(stored.and_then(|stored| serde_json::from_value(stored.result).ok()))
}

impl AuditStore for PostgresStore {
    fn audit_marks(&self) -> BoxFuture<'_, Result<Vec<AuditMark>, StoreError>> {
        ask!(self, "read the marks of the audit", |connection| marks(connection))
    }

    fn set_audit_marks<'a>(&'a self, marks: &'a [Audited]) -> BoxFuture<'a, Result<(), StoreError>> {
        ask!(self, "write the marks of the audit", |connection| set_marks(connection, marks))
    }

    fn past_incarnations(&self) -> BoxFuture<'_, Result<Vec<PastIncarnation>, StoreError>> {
        ask!(self, "read the closed incarnations", |connection| past(connection))
    }

    fn audit_turn(&self) -> BoxFuture<'_, Result<Option<AuditTurn>, StoreError>> {
        async {
            let settings = self.pool.settings();
            let mut connection = open(settings, "drover/audit").await?;
            let taken: Result<Taken, Failure> = bounded(settings, async {
                Ok(diesel::sql_query(
                    "SELECT pg_try_advisory_lock(hashtextextended('drover audit ' || current_schema(), 0)) AS taken",
                )
                .get_result(&mut connection)
                .await?)
            })
            .await;
            let taken = taken.map_err(|failure| failure.context("take the right to audit"))?.taken;
            Ok(taken.then(|| Box::new(connection) as AuditTurn))
        }
        .boxed()
    }

    fn set_audit_result<'a>(&'a self, result: &'a AuditResult) -> BoxFuture<'a, Result<(), StoreError>> {
        ask!(self, "write the result of the audit", |connection| set_result(connection, result))
    }

    fn audit_result(&self) -> BoxFuture<'_, Result<Option<AuditResult>, StoreError>> {
        ask!(self, "read the result of the audit", |connection| result(connection))
    }
}
