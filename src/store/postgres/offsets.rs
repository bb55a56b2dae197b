//! Changing positions by order, in PostgreSQL.

use super::PostgresStore;
use super::error::Failure;
use super::pool::bounded;
use super::schema::{partition_progress, store_identity, topics};
use super::{audit_log, range};
use crate::domain::failure::FailureClass;
use crate::store::audit_log::AuditEntry;
use crate::store::offsets::{OffsetChange, OffsetStore, PositionMove, moved_meanwhile};
use crate::store::tiles::uncovered;
use crate::store::{StoreError, StoreIdentity};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;

async fn identity(connection: &mut AsyncPgConnection) -> Result<Option<StoreIdentity>, Failure> {
    let found: Option<(String, String, String)> = store_identity::table
        .select((store_identity::store_id, store_identity::cluster_id, store_identity::consumer_group))
        .first(connection)
        .await
        .optional()?;
    Ok(found.map(|(store_id, cluster_id, group)| StoreIdentity { store_id, cluster_id, group }))
}

/// Fails unless exactly one row was changed.
fn one(changed: usize, what: &str) -> Result<(), Failure> {
    match changed {
        1 => Ok(()),
        _ => Err(Failure::Refused(FailureClass::Fenced, moved_meanwhile(what))),
    }
}

async fn rewind(connection: &mut AsyncPgConnection, topic: &str, of: PositionMove) -> Result<(), Failure> {
    let moved = diesel::sql_query(
        "UPDATE partition_progress SET next_offset = $5, first_offset = least(first_offset, $5), updated_at = now() \
         WHERE topic = $1 AND partition = $2 AND incarnation = $3 AND next_offset = $4",
    )
    .bind::<Text, _>(topic)
    .bind::<Integer, _>(of.partition)
    .bind::<Integer, _>(of.incarnation)
    .bind::<BigInt, _>(of.from)
    .bind::<BigInt, _>(of.to)
    .execute(connection)
    .await?;
    one(moved, &format!("the position of {topic} [{}]", of.partition))?;
    // What is read again records its gaps again: rows inside a gap that stays would be there twice.
    for sql in [
        "DELETE FROM offset_gaps WHERE topic = $1 AND partition = $2 AND incarnation = $3 AND first_offset >= $4",
        "UPDATE offset_gaps SET next_offset = $4 \
         WHERE topic = $1 AND partition = $2 AND incarnation = $3 AND first_offset < $4 AND next_offset > $4",
    ] {
        diesel::sql_query(sql)
            .bind::<Text, _>(topic)
            .bind::<Integer, _>(of.partition)
            .bind::<Integer, _>(of.incarnation)
            .bind::<BigInt, _>(of.to)
            .execute(connection)
            .await?;
    }
    // What is read again is audited again.
    diesel::sql_query(
        "UPDATE audit_marks SET next_offset = $4, marked_at = now() \
         WHERE topic = $1 AND partition = $2 AND incarnation = $3 AND next_offset > $4",
    )
    .bind::<Text, _>(topic)
    .bind::<Integer, _>(of.partition)
    .bind::<Integer, _>(of.incarnation)
    .bind::<BigInt, _>(of.to)
    .execute(connection)
    .await?;
    Ok(())
}

async fn skip(connection: &mut AsyncPgConnection, topic: &str, of: PositionMove) -> Result<(), Failure> {
    let moved = diesel::update(partition_progress::table.find((topic, of.partition)))
        .filter(partition_progress::incarnation.eq(of.incarnation))
        .filter(partition_progress::next_offset.eq(of.from))
        .set((partition_progress::next_offset.eq(of.to), partition_progress::updated_at.eq(diesel::dsl::now)))
        .execute(connection)
        .await?;
    one(moved, &format!("the position of {topic} [{}]", of.partition))?;
    // After a rewind some of it may be stored.
    let stored = range::tiles(connection, (topic, of.partition, of.incarnation), of.from, of.to).await?;
    for (first, next) in uncovered(&stored, of.from, of.to) {
        diesel::sql_query(
            "INSERT INTO offset_gaps (topic, partition, incarnation, first_offset, next_offset, reason) \
             VALUES ($1, $2, $3, $4, $5, 'skipped')",
        )
        .bind::<Text, _>(topic)
        .bind::<Integer, _>(of.partition)
        .bind::<Integer, _>(of.incarnation)
        .bind::<BigInt, _>(first)
        .bind::<BigInt, _>(next)
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn restart(
    connection: &mut AsyncPgConnection,
    topic: &str,
    topic_id: Option<&str>,
    (seen, positions): (Option<i32>, &BTreeMap<i32, i64>),
    starts: &BTreeMap<i32, i64>,
) -> Result<(), Failure> {
    let incarnation = seen.unwrap_or(0) + 1;
    let what = format!("topic {topic}");
    // Locked, so that nobody stores between the look and the end of the transaction.
    let now: Vec<(i32, i64)> = partition_progress::table
        .filter(partition_progress::topic.eq(topic))
        .order(partition_progress::partition)
        .select((partition_progress::partition, partition_progress::next_offset))
        .for_update()
        .load(connection)
        .await?;
    one(usize::from(now.iter().copied().eq(positions.iter().map(|(&partition, &at)| (partition, at)))), &what)?;
    match seen {
        None => {
            let registered = diesel::sql_query(
                "INSERT INTO topics (topic, topic_id, incarnation) VALUES ($1, $2, 1) ON CONFLICT DO NOTHING",
            )
            .bind::<Text, _>(topic)
            .bind::<Nullable<Text>, _>(topic_id)
            .execute(connection)
            .await?;
            one(registered, &what)?;
        }
        Some(seen) => {
            diesel::sql_query(
                "INSERT INTO past_incarnations (topic, partition, incarnation, first_offset, next_offset, topic_id) \
                 SELECT p.topic, p.partition, p.incarnation, p.first_offset, p.next_offset, t.topic_id \
                 FROM partition_progress p JOIN topics t USING (topic) \
                 WHERE p.topic = $1 AND p.next_offset > p.first_offset",
            )
            .bind::<Text, _>(topic)
            .execute(connection)
            .await?;
            let moved = diesel::update(topics::table.find(topic))
                .filter(topics::incarnation.eq(seen))
                .set((topics::topic_id.eq(topic_id), topics::incarnation.eq(incarnation)))
                .execute(connection)
                .await?;
            one(moved, &what)?;
            for gone in positions.keys().filter(|partition| !starts.contains_key(partition)) {
                diesel::delete(partition_progress::table.find((topic, gone))).execute(connection).await?;
            }
        }
    }
    for (&partition, &start) in starts {
        diesel::sql_query(
            "INSERT INTO partition_progress (topic, partition, incarnation, first_offset, next_offset) \
             VALUES ($1, $2, $3, $4, $4) ON CONFLICT (topic, partition) DO UPDATE \
             SET incarnation = excluded.incarnation, first_offset = excluded.first_offset, \
                 next_offset = excluded.next_offset, updated_at = now()",
        )
        .bind::<Text, _>(topic)
        .bind::<Integer, _>(partition)
        .bind::<Integer, _>(incarnation)
        .bind::<BigInt, _>(start)
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn claim(
    connection: &mut AsyncPgConnection,
    seen: &StoreIdentity,
    (cluster_id, group): (&str, &str),
    topic_ids: &BTreeMap<String, Option<String>>,
) -> Result<(), Failure> {
    let claimed = diesel::update(store_identity::table)
        .filter(store_identity::store_id.eq(&seen.store_id))
        .filter(store_identity::cluster_id.eq(&seen.cluster_id))
        .filter(store_identity::consumer_group.eq(&seen.group))
        .set((store_identity::cluster_id.eq(cluster_id), store_identity::consumer_group.eq(group)))
        .execute(connection)
        .await?;
    one(claimed, "the identity of the store")?;
    for (topic, id) in topic_ids {
        diesel::update(topics::table.find(topic)).set(topics::topic_id.eq(id)).execute(connection).await?;
    }
    Ok(())
}

async fn change(connection: &mut AsyncPgConnection, change: &OffsetChange, entry: &AuditEntry) -> Result<(), Failure> {
    connection
        .transaction(async |connection| {
            match change {
                OffsetChange::Rewind { topic, moves } => {
                    for &of in moves {
                        rewind(connection, topic, of).await?;
                    }
                }
                OffsetChange::Skip { topic, of } => skip(connection, topic, *of).await?,
                OffsetChange::Restart { topic, topic_id, seen, positions, starts } => {
                    restart(connection, topic, topic_id.as_deref(), (*seen, positions), starts).await?;
                }
                OffsetChange::Claim { seen, cluster_id, group, topic_ids } => {
                    claim(connection, seen, (cluster_id, group), topic_ids).await?;
                }
            }
            audit_log::append(connection, entry).await.map(|_| ())
        })
        .await
}

impl OffsetStore for PostgresStore {
    fn identity(&self) -> BoxFuture<'_, Result<Option<StoreIdentity>, StoreError>> {
        ask!(self, "read the identity of the store", |connection| identity(connection))
    }

    fn change_offsets<'a>(
        &'a self,
        ordered: &'a OffsetChange,
        entry: &'a AuditEntry,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        ask!(self, "change positions", |connection| change(connection, ordered, entry))
    }
}
