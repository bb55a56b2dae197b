//! Identity, topics and positions.

use super::error::Failure;
use super::schema::{partition_progress, store_identity, topics};
use super::time;
use crate::domain::failure::FailureClass;
use crate::store::{Progress, StoreIdentity, TopicProgress, identity_refused, topic_unknown};
use diesel::prelude::*;
use std::collections::BTreeMap;

/// Writes without changing anything: a full or read-only disk shows only there.
pub(super) fn touch(connection: &mut SqliteConnection) -> Result<(), Failure> {
    diesel::update(store_identity::table)
        .set(store_identity::created_at.eq(store_identity::created_at))
        .execute(connection)?;
    Ok(())
}

pub(super) fn claim(
    connection: &mut SqliteConnection,
    cluster_id: &str,
    group: &str,
) -> Result<StoreIdentity, Failure> {
    diesel::insert_or_ignore_into(store_identity::table)
        .values((
            store_identity::singleton.eq(1),
            store_identity::store_id.eq(uuid::Uuid::new_v4().to_string()),
            store_identity::cluster_id.eq(cluster_id),
            store_identity::consumer_group.eq(group),
            store_identity::created_at.eq(time::now()),
        ))
        .execute(connection)?;
    let (store_id, stored_cluster, stored_group): (String, String, String) = store_identity::table
        .select((store_identity::store_id, store_identity::cluster_id, store_identity::consumer_group))
        .first(connection)?;
    let identity = StoreIdentity { store_id, cluster_id: stored_cluster, group: stored_group };
    match identity_refused(&identity, cluster_id, group) {
        Some(message) => Err(Failure::new(FailureClass::Configuration, message)),
        None => Ok(identity),
    }
}

pub(super) fn names(connection: &mut SqliteConnection) -> Result<Vec<String>, Failure> {
    Ok(topics::table.select(topics::topic).order(topics::topic).load(connection)?)
}

pub(super) fn read(connection: &mut SqliteConnection, topic: &str) -> Result<Option<TopicProgress>, Failure> {
    let found: Option<(Option<String>, i32)> =
        topics::table.find(topic).select((topics::topic_id, topics::incarnation)).first(connection).optional()?;
    let Some((topic_id, incarnation)) = found else {
        return Ok(None);
    };
    let rows: Vec<(i32, i32, i64, i64)> = partition_progress::table
        .filter(partition_progress::topic.eq(topic))
        .select((
            partition_progress::partition,
            partition_progress::incarnation,
            partition_progress::first_offset,
            partition_progress::next_offset,
        ))
        .load(connection)?;
    let partitions = rows
        .into_iter()
        .map(|(partition, incarnation, first_offset, next_offset)| {
            (partition, Progress { incarnation, first_offset, next_offset })
        })
        .collect();
    Ok(Some(TopicProgress { topic_id, incarnation, partitions }))
}

pub(super) fn register(
    connection: &mut SqliteConnection,
    topic: &str,
    topic_id: Option<&str>,
    starts: &BTreeMap<i32, i64>,
) -> Result<TopicProgress, Failure> {
    let won = diesel::sql_query(
        "INSERT INTO topics (topic, topic_id, incarnation, registered_at) VALUES (?, ?, 1, ?) ON CONFLICT DO NOTHING",
    )
    .bind::<diesel::sql_types::Text, _>(topic)
    .bind::<diesel::sql_types::Nullable<diesel::sql_types::Text>, _>(topic_id)
    .bind::<diesel::sql_types::Text, _>(time::now())
    .execute(connection)?
        == 1;
    if won {
        insert_starts(connection, topic, 1, starts)?;
    }
    known(connection, topic)
}

pub(super) fn add_partitions(
    connection: &mut SqliteConnection,
    topic: &str,
    starts: &BTreeMap<i32, i64>,
) -> Result<TopicProgress, Failure> {
    let incarnation = known(connection, topic)?.incarnation;
    insert_starts(connection, topic, incarnation, starts)?;
    known(connection, topic)
}

fn known(connection: &mut SqliteConnection, topic: &str) -> Result<TopicProgress, Failure> {
    read(connection, topic)?.ok_or_else(|| Failure::new(FailureClass::Bug, topic_unknown(topic)))
}

fn insert_starts(
    connection: &mut SqliteConnection,
    topic: &str,
    incarnation: i32,
    starts: &BTreeMap<i32, i64>,
) -> Result<(), Failure> {
    let now = time::now();
    for (&partition, &start) in starts {
        diesel::insert_or_ignore_into(partition_progress::table)
            .values((
                partition_progress::topic.eq(topic),
                partition_progress::partition.eq(partition),
                partition_progress::incarnation.eq(incarnation),
                partition_progress::first_offset.eq(start),
                partition_progress::next_offset.eq(start),
                partition_progress::updated_at.eq(&now),
            ))
            .execute(connection)?;
    }
    Ok(())
}
