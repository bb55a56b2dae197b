//! The row of the one process that has the file.

use super::SqliteStore;
use super::connection::Access;
use super::error::Failure;
use super::schema::partition_progress;
use super::time;
use crate::store::StoreError;
use crate::store::replicas::{ReplicaBeat, ReplicaStore, StoredPosition, StoredReplica};
use chrono::Utc;
use diesel::prelude::*;
use diesel::sql_types::Text;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::time::Duration;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    replica_id: String,
    #[diesel(sql_type = Text)]
    started_at: String,
    #[diesel(sql_type = Text)]
    heartbeat_at: String,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    snapshot: String,
}

fn beat(connection: &mut SqliteConnection, beat: &ReplicaBeat) -> Result<(), Failure> {
    diesel::sql_query(
        "INSERT INTO replicas (replica_id, started_at, heartbeat_at, version, snapshot) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (replica_id) DO UPDATE SET started_at = excluded.started_at, heartbeat_at = excluded.heartbeat_at, \
         version = excluded.version, snapshot = excluded.snapshot",
    )
    .bind::<Text, _>(&beat.replica_id)
    .bind::<Text, _>(time::text_of_us(beat.started_at_ms.saturating_mul(1_000)))
    .bind::<Text, _>(time::now())
    .bind::<Text, _>(&beat.version)
    .bind::<Text, _>(beat.snapshot.to_string())
    .execute(connection)?;
    Ok(())
}

fn all(connection: &mut SqliteConnection) -> Result<Vec<StoredReplica>, Failure> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT replica_id, started_at, heartbeat_at, version, snapshot FROM replicas ORDER BY replica_id",
    )
    .load(connection)?;
    let now_ms = Utc::now().timestamp_millis();
    let replica = |row: Row| StoredReplica {
        age: Duration::from_millis(u64::try_from(now_ms - time::ms_of_text(&row.heartbeat_at)).unwrap_or(0)),
        beat: ReplicaBeat {
            replica_id: row.replica_id,
            started_at_ms: time::ms_of_text(&row.started_at),
            version: row.version,
            snapshot: serde_json::from_str(&row.snapshot).unwrap_or_default(),
        },
    };
    Ok(rows.into_iter().map(replica).collect())
}

fn prune(connection: &mut SqliteConnection, silent_for: Duration) -> Result<usize, Failure> {
    let silent_us = i64::try_from(silent_for.as_micros()).unwrap_or(i64::MAX);
    let before = Utc::now().timestamp_micros().saturating_sub(silent_us);
    let pruned = diesel::sql_query("DELETE FROM replicas WHERE heartbeat_at < ?")
        .bind::<Text, _>(time::text_of_us(before))
        .execute(connection)?;
    Ok(pruned)
}

fn positions(connection: &mut SqliteConnection) -> Result<Vec<StoredPosition>, Failure> {
    let rows: Vec<(String, i32, i64)> = partition_progress::table
        .select((partition_progress::topic, partition_progress::partition, partition_progress::next_offset))
        .order((partition_progress::topic, partition_progress::partition))
        .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|(topic, partition, next_offset)| StoredPosition { topic, partition, next_offset })
        .collect())
}

impl ReplicaStore for SqliteStore {
    fn beat<'a>(&'a self, replica: &'a ReplicaBeat) -> BoxFuture<'a, Result<(), StoreError>> {
        let replica = replica.clone();
        self.change("write the heartbeat", move |connection| beat(connection, &replica)).boxed()
    }

    fn replicas(&self) -> BoxFuture<'_, Result<Vec<StoredReplica>, StoreError>> {
        self.run("list replicas", Access::Read, all).boxed()
    }

    fn remove_replica<'a>(&'a self, replica_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let replica_id = replica_id.to_owned();
        self.change("remove a replica", move |connection| {
            diesel::sql_query("DELETE FROM replicas WHERE replica_id = ?")
                .bind::<Text, _>(replica_id)
                .execute(connection)?;
            Ok(())
        })
        .boxed()
    }

    fn prune_replicas(&self, silent_for: Duration) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.change("remove replicas that are gone", move |connection| prune(connection, silent_for)).boxed()
    }

    fn positions(&self) -> BoxFuture<'_, Result<Vec<StoredPosition>, StoreError>> {
        self.run("read all positions", Access::Read, positions).boxed()
    }
}
