//! Changing positions by order, in SQLite.

use super::connection::Access;
use super::error::Failure;
use super::schema::{partition_progress, store_identity, topics};
use super::{SqliteStore, audit_log, range, time};
use crate::domain::failure::FailureClass;
use crate::store::audit_log::AuditEntry;
use crate::store::offsets::{OffsetChange, OffsetStore, PositionMove, moved_meanwhile};
use crate::store::tiles::uncovered;
use crate::store::{StoreError, StoreIdentity};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;

fn identity(connection: &mut SqliteConnection) -> Result<Option<StoreIdentity>, Failure> {
    let found: Option<(String, String, String)> = store_identity::table
        .select((store_identity::store_id, store_identity::cluster_id, store_identity::consumer_group))
        .first(connection)
        .optional()?;
    Ok(found.map(|(store_id, cluster_id, group)| StoreIdentity { store_id, cluster_id, group }))
}

/// Fails unless exactly one row was changed.
fn one(changed: usize, what: &str) -> Result<(), Failure> {
    match changed {
        1 => Ok(()),
        _ => Err(Failure::new(FailureClass::Fenced, moved_meanwhile(what))),
    }
}

fn rewind(connection: &mut SqliteConnection, topic: &str, of: PositionMove) -> Result<(), Failure> {
    let moved = diesel::sql_query(
        "UPDATE partition_progress SET next_offset = ?5, first_offset = min(first_offset, ?5), updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') \
         WHERE topic = ?1 AND partition = ?2 AND incarnation = ?3 AND next_offset = ?4",
    )
    .bind::<Text, _>(topic)
    .bind::<Integer, _>(of.partition)
    .bind::<Integer, _>(of.incarnation)
    .bind::<BigInt, _>(of.from)
    .bind::<BigInt, _>(of.to)
    .execute(connection)?;
    one(moved, &format!("the position of {topic} [{}]", of.partition))?;
    // What is read again records its gaps again: rows inside a gap that stays would be there twice.
    for sql in [
        "DELETE FROM offset_gaps WHERE topic = ?1 AND partition = ?2 AND incarnation = ?3 AND first_offset >= ?4",
        "UPDATE offset_gaps SET next_offset = ?4 \
         WHERE topic = ?1 AND partition = ?2 AND incarnation = ?3 AND first_offset < ?4 AND next_offset > ?4",
    ] {
        diesel::sql_query(sql)
            .bind::<Text, _>(topic)
            .bind::<Integer, _>(of.partition)
            .bind::<Integer, _>(of.incarnation)
            .bind::<BigInt, _>(of.to)
            .execute(connection)?;
    }
    // What is read again is audited again.
    diesel::sql_query(
        "UPDATE audit_marks SET next_offset = ?4, marked_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') \
         WHERE topic = ?1 AND partition = ?2 AND incarnation = ?3 AND next_offset > ?4",
    )
    .bind::<Text, _>(topic)
    .bind::<Integer, _>(of.partition)
    .bind::<Integer, _>(of.incarnation)
    .bind::<BigInt, _>(of.to)
    .execute(connection)?;
    Ok(())
}

fn skip(connection: &mut SqliteConnection, topic: &str, of: PositionMove) -> Result<(), Failure> {
    let moved = diesel::update(partition_progress::table.find((topic, of.partition)))
        .filter(partition_progress::incarnation.eq(of.incarnation))
        .filter(partition_progress::next_offset.eq(of.from))
        .set((partition_progress::next_offset.eq(of.to), partition_progress::updated_at.eq(time::now())))
        .execute(connection)?;
    one(moved, &format!("the position of {topic} [{}]", of.partition))?;
    // After a rewind some of it may be stored.
    let place = range::Place { topic, partition: of.partition, incarnation: of.incarnation };
    let stored = range::tiles(connection, place, of.from, of.to)?;
    for (first, next) in uncovered(&stored, of.from, of.to) {
        diesel::sql_query(
            "INSERT INTO offset_gaps (topic, partition, incarnation, first_offset, next_offset, reason, recorded_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, 'skipped', strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))",
        )
        .bind::<Text, _>(topic)
        .bind::<Integer, _>(of.partition)
        .bind::<Integer, _>(of.incarnation)
        .bind::<BigInt, _>(first)
        .bind::<BigInt, _>(next)
        .execute(connection)?;
    }
    Ok(())
}

fn restart(
    connection: &mut SqliteConnection,
    topic: &str,
    topic_id: Option<&str>,
    (seen, positions): (Option<i32>, &BTreeMap<i32, i64>),
    starts: &BTreeMap<i32, i64>,
) -> Result<(), Failure> {
    let incarnation = seen.unwrap_or(0) + 1;
    let what = format!("topic {topic}");
    let now: Vec<(i32, i64)> = partition_progress::table
        .filter(partition_progress::topic.eq(topic))
        .order(partition_progress::partition)
        .select((partition_progress::partition, partition_progress::next_offset))
        .load(connection)?;
    one(usize::from(now.iter().copied().eq(positions.iter().map(|(&partition, &at)| (partition, at)))), &what)?;
    match seen {
        None => {
            let registered = diesel::sql_query(
                "INSERT INTO topics (topic, topic_id, incarnation, registered_at) \
                 VALUES (?1, ?2, 1, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')) ON CONFLICT DO NOTHING",
            )
            .bind::<Text, _>(topic)
            .bind::<Nullable<Text>, _>(topic_id)
            .execute(connection)?;
            one(registered, &what)?;
        }
        Some(seen) => {
            diesel::sql_query(
                "INSERT INTO past_incarnations (topic, partition, incarnation, first_offset, next_offset, topic_id, ended_at) \
                 SELECT p.topic, p.partition, p.incarnation, p.first_offset, p.next_offset, t.topic_id, \
                 strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') \
                 FROM partition_progress p JOIN topics t USING (topic) \
                 WHERE p.topic = ?1 AND p.next_offset > p.first_offset",
            )
            .bind::<Text, _>(topic)
            .execute(connection)?;
            let moved = diesel::update(topics::table.find(topic))
                .filter(topics::incarnation.eq(seen))
                .set((topics::topic_id.eq(topic_id), topics::incarnation.eq(incarnation)))
                .execute(connection)?;
            one(moved, &what)?;
            for gone in positions.keys().filter(|partition| !starts.contains_key(partition)) {
                diesel::delete(partition_progress::table.find((topic, gone))).execute(connection)?;
            }
        }
    }
    for (&partition, &start) in starts {
        diesel::sql_query(
            "INSERT INTO partition_progress (topic, partition, incarnation, first_offset, next_offset, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?4, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')) ON CONFLICT (topic, partition) DO UPDATE \
             SET incarnation = excluded.incarnation, first_offset = excluded.first_offset, \
                 next_offset = excluded.next_offset, updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",
        )
        .bind::<Text, _>(topic)
        .bind::<Integer, _>(partition)
        .bind::<Integer, _>(incarnation)
        .bind::<BigInt, _>(start)
        .execute(connection)?;
    }
    Ok(())
}

fn claim(
    connection: &mut SqliteConnection,
    seen: &StoreIdentity,
    (cluster_id, group): (&str, &str),
    topic_ids: &BTreeMap<String, Option<String>>,
) -> Result<(), Failure> {
    let claimed = diesel::update(store_identity::table)
        .filter(store_identity::store_id.eq(&seen.store_id))
        .filter(store_identity::cluster_id.eq(&seen.cluster_id))
        .filter(store_identity::consumer_group.eq(&seen.group))
        .set((store_identity::cluster_id.eq(cluster_id), store_identity::consumer_group.eq(group)))
        .execute(connection)?;
    one(claimed, "the identity of the store")?;
    for (topic, id) in topic_ids {
        diesel::update(topics::table.find(topic)).set(topics::topic_id.eq(id)).execute(connection)?;
    }
    Ok(())
}

fn change(connection: &mut SqliteConnection, change: &OffsetChange, entry: &AuditEntry) -> Result<(), Failure> {
    match change {
        OffsetChange::Rewind { topic, moves } => {
            for &of in moves {
                rewind(connection, topic, of)?;
            }
        }
        OffsetChange::Skip { topic, of } => skip(connection, topic, *of)?,
        OffsetChange::Restart { topic, topic_id, seen, positions, starts } => {
            restart(connection, topic, topic_id.as_deref(), (*seen, positions), starts)?;
        }
        OffsetChange::Claim { seen, cluster_id, group, topic_ids } => {
            claim(connection, seen, (cluster_id, group), topic_ids)?;
        }
    }
    audit_log::append(connection, entry).map(|_| ())
}

impl OffsetStore for SqliteStore {
    fn identity(&self) -> BoxFuture<'_, Result<Option<StoreIdentity>, StoreError>> {
        self.run("read the identity of the store", Access::Read, identity).boxed()
    }

    fn change_offsets<'a>(
        &'a self,
        ordered: &'a OffsetChange,
        entry: &'a AuditEntry,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (ordered, entry) = (ordered.clone(), entry.clone());
        self.change("change positions", move |connection| change(connection, &ordered, &entry)).boxed()
    }
}
