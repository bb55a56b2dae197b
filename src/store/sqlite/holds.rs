//! Holds.

use super::SqliteStore;
use super::connection::Access;
use super::error::Failure;
use super::schema::holds;
use super::time;
use crate::domain::hold::{Hold, HoldKind, HoldScope};
use crate::store::StoreError;
use crate::store::holds::{HoldStore, columns, scope_and_kind};
use diesel::prelude::*;
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
    since: String,
    until: Option<String>,
}

impl Row {
    fn hold(self) -> Option<Hold> {
        let (scope, kind) = scope_and_kind(&self.scope, self.name, self.partition, self.replica_id, &self.kind)?;
        Some(Hold {
            scope,
            kind,
            reason: self.reason,
            by: self.placed_by,
            since_ms: time::ms_of_text(&self.since),
            until_ms: self.until.as_deref().map(time::ms_of_text),
        })
    }
}

fn text(ms: i64) -> String {
    time::text_of_us(ms.saturating_mul(1_000))
}

fn list(connection: &mut SqliteConnection) -> Result<Vec<Hold>, Failure> {
    let order = (holds::scope, holds::name, holds::partition, holds::replica_id, holds::kind);
    let rows: Vec<Row> = holds::table.order(order).load(connection)?;
    Ok(rows.into_iter().filter_map(Row::hold).collect())
}

fn place(connection: &mut SqliteConnection, hold: &Hold) -> Result<(), Failure> {
    let (scope, name, partition, replica_id) = columns(&hold.scope);
    diesel::replace_into(holds::table)
        .values((
            holds::scope.eq(scope),
            holds::name.eq(name),
            holds::partition.eq(partition),
            holds::replica_id.eq(replica_id),
            holds::kind.eq(hold.kind.as_str()),
            holds::reason.eq(&hold.reason),
            holds::placed_by.eq(&hold.by),
            holds::since.eq(text(hold.since_ms)),
            holds::until.eq(hold.until_ms.map(text)),
        ))
        .execute(connection)?;
    Ok(())
}

fn release(connection: &mut SqliteConnection, scope: &HoldScope, kind: HoldKind) -> Result<bool, Failure> {
    let (scope, name, partition, replica_id) = columns(scope);
    let released =
        diesel::delete(holds::table.find((scope, name, partition, replica_id, kind.as_str()))).execute(connection)?;
    Ok(released > 0)
}

fn release_over(connection: &mut SqliteConnection, now_ms: i64) -> Result<usize, Failure> {
    Ok(diesel::delete(holds::table.filter(holds::until.le(text(now_ms)))).execute(connection)?)
}

impl HoldStore for SqliteStore {
    fn holds(&self) -> BoxFuture<'_, Result<Vec<Hold>, StoreError>> {
        self.run("list holds", Access::Read, list).boxed()
    }

    fn place_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), StoreError>> {
        let hold = hold.clone();
        self.change("place a hold", move |connection| place(connection, &hold)).boxed()
    }

    fn release_hold<'a>(&'a self, scope: &'a HoldScope, kind: HoldKind) -> BoxFuture<'a, Result<bool, StoreError>> {
        let scope = scope.clone();
        self.change("release a hold", move |connection| release(connection, &scope, kind)).boxed()
    }

    fn release_holds_over(&self, now_ms: i64) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.change("release holds", move |connection| release_over(connection, now_ms)).boxed()
    }
}
