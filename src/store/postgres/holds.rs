//! Holds.

use super::PostgresStore;
use super::error::Failure;
use super::pool::bounded;
use super::schema::holds;
use crate::domain::hold::{Hold, HoldKind, HoldScope};
use crate::store::StoreError;
use crate::store::holds::{HoldStore, columns, scope_and_kind};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures::FutureExt as _;
use futures::future::BoxFuture;

#[derive(Queryable)]
struct Row {
    scope: String,
    name: String,
    partition: i32,
    replica_id: String,
    kind: String,
    reason: String,
    placed_by: String,
    since: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
}

impl Row {
    fn hold(self) -> Option<Hold> {
        let (scope, kind) = scope_and_kind(&self.scope, self.name, self.partition, self.replica_id, &self.kind)?;
        Some(Hold {
            scope,
            kind,
            reason: self.reason,
            by: self.placed_by,
            since_ms: self.since.timestamp_millis(),
            until_ms: self.until.map(|until| until.timestamp_millis()),
        })
    }
}

fn time(ms: i64) -> DateTime<Utc> {
    // Outside of what a calendar holds: as good as for ever.
    DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

async fn list(connection: &mut AsyncPgConnection) -> Result<Vec<Hold>, Failure> {
    let order = (holds::scope, holds::name, holds::partition, holds::replica_id, holds::kind);
    let rows: Vec<Row> = holds::table.order(order).load(connection).await?;
    Ok(rows.into_iter().filter_map(Row::hold).collect())
}

async fn place(connection: &mut AsyncPgConnection, hold: &Hold) -> Result<(), Failure> {
    let (scope, name, partition, replica_id) = columns(&hold.scope);
    let told = (
        holds::reason.eq(&hold.reason),
        holds::placed_by.eq(&hold.by),
        holds::since.eq(time(hold.since_ms)),
        holds::until.eq(hold.until_ms.map(time)),
    );
    diesel::insert_into(holds::table)
        .values((
            holds::scope.eq(scope),
            holds::name.eq(name),
            holds::partition.eq(partition),
            holds::replica_id.eq(replica_id),
            holds::kind.eq(hold.kind.as_str()),
            told,
        ))
        .on_conflict((holds::scope, holds::name, holds::partition, holds::replica_id, holds::kind))
        .do_update()
        .set(told)
        .execute(connection)
        .await?;
    Ok(())
}

async fn release(connection: &mut AsyncPgConnection, scope: &HoldScope, kind: HoldKind) -> Result<bool, Failure> {
    let (scope, name, partition, replica_id) = columns(scope);
    let released = diesel::delete(holds::table.find((scope, name, partition, replica_id, kind.as_str())))
        .execute(connection)
        .await?;
    Ok(released > 0)
}

async fn release_over(connection: &mut AsyncPgConnection, now_ms: i64) -> Result<usize, Failure> {
    Ok(diesel::delete(holds::table.filter(holds::until.le(time(now_ms)))).execute(connection).await?)
}

impl HoldStore for PostgresStore {
    fn holds(&self) -> BoxFuture<'_, Result<Vec<Hold>, StoreError>> {
        ask!(self, "list holds", |connection| list(connection))
    }

    fn place_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), StoreError>> {
        ask!(self, "place a hold", |connection| place(connection, hold))
    }

    fn release_hold<'a>(&'a self, scope: &'a HoldScope, kind: HoldKind) -> BoxFuture<'a, Result<bool, StoreError>> {
        ask!(self, "release a hold", |connection| release(connection, scope, kind))
    }

    fn release_holds_over(&self, now_ms: i64) -> BoxFuture<'_, Result<usize, StoreError>> {
        ask!(self, "release holds", |connection| release_over(connection, now_ms))
    }
}
