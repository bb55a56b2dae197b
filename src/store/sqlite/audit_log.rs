//! The audit log in SQLite.

use super::connection::Access;
use super::error::Failure;
use super::{SqliteStore, time};
use crate::store::StoreError;
use crate::store::audit_log::{AuditEntry, AuditLogStore, LoggedEntry, MAX_ENTRIES};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use futures::FutureExt as _;
use futures::future::BoxFuture;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    at: String,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = Text)]
    action: String,
    #[diesel(sql_type = Text)]
    target: String,
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Text>)]
    detail: Option<String>,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Appends within the transaction of the connection, if there is one.
pub(super) fn append(connection: &mut SqliteConnection, entry: &AuditEntry) -> Result<i64, Failure> {
    let id: Id = diesel::sql_query(
        "INSERT INTO audit_log (at, actor, action, target, outcome, detail) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind::<Text, _>(time::now())
    .bind::<Text, _>(&entry.actor)
    .bind::<Text, _>(&entry.action)
    .bind::<Text, _>(&entry.target)
    .bind::<Text, _>(&entry.outcome)
    .bind::<Nullable<Text>, _>(entry.detail.as_ref().map(serde_json::Value::to_string))
    .get_result(connection)?;
    Ok(id.id)
}

fn newest(connection: &mut SqliteConnection, limit: u32) -> Result<Vec<LoggedEntry>, Failure> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT id, at, actor, action, target, outcome, detail FROM audit_log ORDER BY id DESC LIMIT ?",
    )
    .bind::<BigInt, _>(i64::from(limit.min(MAX_ENTRIES)))
    .load(connection)?;
    let entry = |row: Row| LoggedEntry {
        id: row.id,
        at_ms: time::ms_of_text(&row.at),
        entry: AuditEntry {
            actor: row.actor,
            action: row.action,
            target: row.target,
            outcome: row.outcome,
            detail: row.detail.and_then(|text| serde_json::from_str(&text).ok()),
        },
    };
    Ok(rows.into_iter().map(entry).collect())
}

impl AuditLogStore for SqliteStore {
    fn append_audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<i64, StoreError>> {
        let entry = entry.clone();
        self.change("append to the audit log", move |connection| append(connection, &entry)).boxed()
    }

    fn audit_log(&self, limit: u32) -> BoxFuture<'_, Result<Vec<LoggedEntry>, StoreError>> {
        self.run("read the audit log", Access::Read, move |connection| newest(connection, limit)).boxed()
    }
}
