//! What the audit remembers, in SQLite. The lock of the file keeps other processes away, so the right to audit is only
//! shared within this one.

use super::connection::Access;
use super::error::Failure;
use super::{SqliteStore, time};
use crate::domain::audit::{AuditResult, OffsetRange};
use crate::store::StoreError;
use crate::store::audit_marks::{AuditMark, AuditStore, AuditTurn, Audited, IncarnationId, PastIncarnation};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;

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
    #[diesel(sql_type = Text)]
    result: String,
}

fn marks(connection: &mut SqliteConnection) -> Result<Vec<AuditMark>, Failure> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT topic, partition, incarnation, next_offset AS first_offset, next_offset FROM audit_marks",
    )
    .load(connection)?;
    Ok(rows.into_iter().map(Row::split).map(|(id, range)| AuditMark { id, next_offset: range.next }).collect())
}

fn set_marks(connection: &mut SqliteConnection, marks: &[Audited]) -> Result<(), Failure> {
    let now = time::now();
    for Audited { mark, from } in marks {
        diesel::sql_query(
            "INSERT INTO audit_marks (topic, partition, incarnation, next_offset, marked_at) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (topic, partition, incarnation) \
             DO UPDATE SET next_offset = excluded.next_offset, marked_at = excluded.marked_at \
             WHERE audit_marks.next_offset >= ?",
        )
        .bind::<Text, _>(&mark.id.topic)
        .bind::<Integer, _>(mark.id.partition)
        .bind::<Integer, _>(mark.id.incarnation)
        .bind::<BigInt, _>(mark.next_offset)
        .bind::<Text, _>(&now)
        .bind::<BigInt, _>(from)
        .execute(connection)?;
    }
    Ok(())
}

fn past(connection: &mut SqliteConnection) -> Result<Vec<PastIncarnation>, Failure> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT topic, partition, incarnation, first_offset, next_offset FROM past_incarnations ORDER BY 1, 3, 2",
    )
    .load(connection)?;
    Ok(rows.into_iter().map(Row::split).map(|(id, offsets)| PastIncarnation { id, offsets }).collect())
}

fn set_result(connection: &mut SqliteConnection, result: &str) -> Result<(), Failure> {
    diesel::sql_query(
        "INSERT INTO audit_results (singleton, finished_at, result) VALUES (1, ?, ?) \
         ON CONFLICT (singleton) DO UPDATE SET finished_at = excluded.finished_at, result = excluded.result",
    )
    .bind::<Text, _>(time::now())
    .bind::<Text, _>(result)
    .execute(connection)?;
    Ok(())
}

fn result(connection: &mut SqliteConnection) -> Result<Option<AuditResult>, Failure> {
    let stored: Option<Stored> =
        diesel::sql_query("SELECT result FROM audit_results").get_result(connection).optional()?;
    // What another version wrote in another form is as good as nothing: the next audit replaces it.
    Ok(stored.and_then(|stored| serde_json::from_str(&stored.result).ok()))
}

impl AuditStore for SqliteStore {
    fn audit_marks(&self) -> BoxFuture<'_, Result<Vec<AuditMark>, StoreError>> {
        self.run("read the marks of the audit", Access::Read, marks).boxed()
    }

    fn set_audit_marks<'a>(&'a self, marks: &'a [Audited]) -> BoxFuture<'a, Result<(), StoreError>> {
        let marks = marks.to_vec();
        self.change("write the marks of the audit", move |connection| set_marks(connection, &marks)).boxed()
    }

    fn past_incarnations(&self) -> BoxFuture<'_, Result<Vec<PastIncarnation>, StoreError>> {
        self.run("read the closed incarnations", Access::Read, past).boxed()
    }

    fn audit_turn(&self) -> BoxFuture<'_, Result<Option<AuditTurn>, StoreError>> {
        async {
            // The first write takes the lock of the file.
            self.run("take the right to audit", Access::Write, |_| Ok(())).await?;
            let turn = Arc::clone(&self.auditing).try_lock_owned().ok();
            Ok(turn.map(|turn| Box::new(turn) as AuditTurn))
        }
        .boxed()
    }

    fn set_audit_result<'a>(&'a self, result: &'a AuditResult) -> BoxFuture<'a, Result<(), StoreError>> {
        let result = serde_json::to_string(result).unwrap_or_default();
        self.change("write the result of the audit", move |connection| set_result(connection, &result)).boxed()
    }

    fn audit_result(&self) -> BoxFuture<'_, Result<Option<AuditResult>, StoreError>> {
        self.run("read the result of the audit", Access::Read, result).boxed()
    }
}
