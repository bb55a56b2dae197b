//! The audit log in PostgreSQL.

use super::PostgresStore;
use super::error::Failure;
use super::pool::bounded;
use crate::store::StoreError;
use crate::store::audit_log::{AuditEntry, AuditLogStore, LoggedEntry, MAX_ENTRIES};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures::FutureExt as _;
use futures::future::BoxFuture;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Timestamptz)]
    at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = Text)]
    action: String,
    #[diesel(sql_type = Text)]
    target: String,
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Jsonb>)]
    detail: Option<serde_json::Value>,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Appends within the transaction of the connection, if there is one.
pub(super) async fn append(connection: &mut AsyncPgConnection, entry: &AuditEntry) -> Result<i64, Failure> {
    let id: Id = diesel::sql_query(
        "INSERT INTO audit_log (actor, action, target, outcome, detail) VALUES ($1, $2, $3, $4, $5) RETURNING id",
    )
    .bind::<Text, _>(&entry.actor)
    .bind::<Text, _>(&entry.action)
    .bind::<Text, _>(&entry.target)
    .bind::<Text, _>(&entry.outcome)
    .bind::<Nullable<Jsonb>, _>(&entry.detail)
    .get_result(connection)
    .await?;
    Ok(id.id)
}

async fn newest(connection: &mut AsyncPgConnection, limit: u32) -> Result<Vec<LoggedEntry>, Failure> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT id, at, actor, action, target, outcome, detail FROM audit_log ORDER BY id DESC LIMIT $1",
    )
    .bind::<BigInt, _>(i64::from(limit.min(MAX_ENTRIES)))
    .load(connection)
    .await?;
    let entry = |row: Row| LoggedEntry {
        id: row.id,
        at_ms: row.at.timestamp_millis(),
        entry: AuditEntry {
            actor: row.actor,
            action: row.action,
            target: row.target,
            outcome: row.outcome,
            detail: row.detail,
        },
    };
    Ok(rows.into_iter().map(entry).collect())
}

impl AuditLogStore for PostgresStore {
    fn append_audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<i64, StoreError>> {
        ask!(self, "append to the audit log", |connection| append(connection, entry))
    }

    fn audit_log(&self, limit: u32) -> BoxFuture<'_, Result<Vec<LoggedEntry>, StoreError>> {
        ask!(self, "read the audit log", |connection| newest(connection, limit))
    }
}
