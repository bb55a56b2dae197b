//! The rows of the processes of a group in PostgreSQL.

use super::PostgresStore;
use super::error::Failure;
use super::pool::bounded;
use super::schema::partition_progress;
use crate::store::StoreError;
use crate::store::replicas::{ReplicaBeat, ReplicaStore, StoredPosition, StoredReplica};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::time::Duration;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    replica_id: String,
    #[diesel(sql_type = Timestamptz)]
    started_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Jsonb)]
    snapshot: serde_json::Value,
    #[diesel(sql_type = BigInt)]
    age_ms: i64,
}

async fn beat(connection: &mut AsyncPgConnection, beat: &ReplicaBeat) -> Result<(), Failure> {
    diesel::sql_query(
        "INSERT INTO replicas (replica_id, started_at, heartbeat_at, version, snapshot) VALUES ($1, $2, now(), $3, $4) \
         ON CONFLICT (replica_id) DO UPDATE SET started_at = excluded.started_at, heartbeat_at = excluded.heartbeat_at, \
         version = excluded.version, snapshot = excluded.snapshot",
    )
    .bind::<Text, _>(&beat.replica_id)
    .bind::<Timestamptz, _>(DateTime::from_timestamp_millis(beat.started_at_ms).unwrap_or_default())
    .bind::<Text, _>(&beat.version)
    .bind::<Jsonb, _>(&beat.snapshot)
    .execute(connection)
    .await?;
    Ok(())
}

async fn all(connection: &mut AsyncPgConnection) -> Result<Vec<StoredReplica>, Failure> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT replica_id, started_at, version, snapshot, \
         (extract(epoch FROM now() - heartbeat_at) * 1000)::bigint AS age_ms FROM replicas ORDER BY replica_id",
    )
    .load(connection)
    .await?;
    let replica = |row: Row| StoredReplica {
        beat: ReplicaBeat {
            replica_id: row.replica_id,
            started_at_ms: row.started_at.timestamp_millis(),
            version: row.version,
            snapshot: row.snapshot,
        },
        age: Duration::from_millis(u64::try_from(row.age_ms).unwrap_or(0)),
    };
    Ok(rows.into_iter().map(replica).collect())
}

async fn remove(connection: &mut AsyncPgConnection, replica_id: &str) -> Result<(), Failure> {
    diesel::sql_query("DELETE FROM replicas WHERE replica_id = $1")
        .bind::<Text, _>(replica_id)
        .execute(connection)
        .await?;
    Ok(())
}

async fn prune(connection: &mut AsyncPgConnection, silent_for: Duration) -> Result<usize, Failure> {
    let pruned = diesel::sql_query("DELETE FROM replicas WHERE heartbeat_at < now() - $1 * interval '1 second'")
        .bind::<BigInt, _>(i64::try_from(silent_for.as_secs()).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(pruned)
}

async fn positions(connection: &mut AsyncPgConnection) -> Result<Vec<StoredPosition>, Failure> {
    let rows: Vec<(String, i32, i64)> = partition_progress::table
        .select((partition_progress::topic, partition_progress::partition, partition_progress::next_offset))
        .order((partition_progress::topic, partition_progress::partition))
        .load(connection)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(topic, partition, next_offset)| StoredPosition { topic, partition, next_offset })
        .collect())
}

impl ReplicaStore for PostgresStore {
    fn beat<'a>(&'a self, replica: &'a ReplicaBeat) -> BoxFuture<'a, Result<(), StoreError>> {
        ask!(self, "write the heartbeat", |connection| beat(connection, replica))
    }

    fn replicas(&self) -> BoxFuture<'_, Result<Vec<StoredReplica>, StoreError>> {
        ask!(self, "list replicas", |connection| all(connection))
    }

    fn remove_replica<'a>(&'a self, replica_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        ask!(self, "remove a replica", |connection| remove(connection, replica_id))
    }

    fn prune_replicas(&self, silent_for: Duration) -> BoxFuture<'_, Result<usize, StoreError>> {
        ask!(self, "remove replicas that are gone", |connection| prune(connection, silent_for))
    }

    fn positions(&self) -> BoxFuture<'_, Result<Vec<StoredPosition>, StoreError>> {
        ask!(self, "read all positions", |connection| positions(connection))
    }
}
