//! Identity, topics and positions.

use super::error::Failure;
use super::schema::{partition_progress, store_identity, topics};
use crate::domain::failure::FailureClass;
use crate::store::rules::{identity_refused, topic_unknown};
use crate::store::{Progress, StoreIdentity, TopicProgress};
use diesel::prelude::*;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use std::collections::BTreeMap;

/// Whether this server takes writes.
pub(super) async fn ping(connection: &mut AsyncPgConnection) -> Result<(), Failure> {
    let read_only: String = diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(
        "current_setting(CASE WHEN pg_is_in_recovery() THEN 'transaction_read_only' ELSE 'default_transaction_read_only' END)",
    ))
    .get_result(connection)
    .await?;
    if read_only == "on" {
        return Err(Failure::Refused(
            FailureClass::Breaker,
            "the server is read-only: a standby, or one that its operator closed for writes".to_owned(),
        ));
    }
    Ok(())
}

pub(super) async fn claim(
    connection: &mut AsyncPgConnection,
    cluster_id: &str,
    group: &str,
) -> Result<StoreIdentity, Failure> {
    diesel::insert_into(store_identity::table)
        .values((
            store_identity::store_id.eq(uuid::Uuid::new_v4().to_string()),
            store_identity::cluster_id.eq(cluster_id),
            store_identity::consumer_group.eq(group),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    let (store_id, stored_cluster, stored_group): (String, String, String) = store_identity::table
        .select((store_identity::store_id, store_identity::cluster_id, store_identity::consumer_group))
        .first(connection)
        .await?;
    let identity = StoreIdentity { store_id, cluster_id: stored_cluster, group: stored_group };
    match identity_refused(&identity, cluster_id, group) {
        Some(message) => Err(Failure::Refused(FailureClass::Configuration, message)),
        None => Ok(identity),
    }
}

pub(super) async fn names(connection: &mut AsyncPgConnection) -> Result<Vec<String>, Failure> {
    Ok(topics::table.select(topics::topic).order(topics::topic).load(connection).await?)
}

/// One statement, so that topic and partitions are of one moment.
pub(super) async fn read(connection: &mut AsyncPgConnection, topic: &str) -> Result<Option<TopicProgress>, Failure> {
    type Partition = (i32, i32, i64, i64);
    let rows: Vec<(Option<String>, i32, Option<Partition>)> = topics::table
        .left_join(partition_progress::table.on(partition_progress::topic.eq(topics::topic)))
        .filter(topics::topic.eq(topic))
        .select((
            topics::topic_id,
            topics::incarnation,
            (
                partition_progress::partition,
                partition_progress::incarnation,
                partition_progress::first_offset,
                partition_progress::next_offset,
            )
                .nullable(),
        ))
        .load(connection)
        .await?;
    let [(topic_id, incarnation, _), ..] = rows.as_slice() else {
        return Ok(None);
    };
    let partitions = rows
        .iter()
        .filter_map(|&(_, _, partition)| partition)
        .map(|(partition, incarnation, first_offset, next_offset)| {
            (partition, Progress { incarnation, first_offset, next_offset })
        })
        .collect();
    Ok(Some(TopicProgress { topic_id: topic_id.clone(), incarnation: *incarnation, partitions }))
}

pub(super) async fn register(
    connection: &mut AsyncPgConnection,
    topic: &str,
    topic_id: Option<&str>,
    starts: &BTreeMap<i32, i64>,
) -> Result<TopicProgress, Failure> {
    connection
        .transaction(async |connection| {
            // The second of two waits here until the first has committed, and then does nothing.
            let won = diesel::insert_into(topics::table)
                .values((topics::topic.eq(topic), topics::topic_id.eq(topic_id), topics::incarnation.eq(1)))
                .on_conflict_do_nothing()
                .execute(connection)
                .await?
                == 1;
            if won {
                insert_starts(connection, topic, 1, starts).await?;
            }
            known(connection, topic).await
        })
        .await
}

pub(super) async fn add_partitions(
    connection: &mut AsyncPgConnection,
    topic: &str,
    starts: &BTreeMap<i32, i64>,
) -> Result<TopicProgress, Failure> {
    connection
        .transaction(async |connection| {
            let incarnation = known(connection, topic).await?.incarnation;
            insert_starts(connection, topic, incarnation, starts).await?;
            known(connection, topic).await
        })
        .await
}

async fn known(connection: &mut AsyncPgConnection, topic: &str) -> Result<TopicProgress, Failure> {
    read(connection, topic).await?.ok_or_else(|| Failure::Refused(FailureClass::Bug, topic_unknown(topic)))
}

async fn insert_starts(
    connection: &mut AsyncPgConnection,
    topic: &str,
    incarnation: i32,
    starts: &BTreeMap<i32, i64>,
) -> Result<(), Failure> {
    let rows: Vec<_> = starts
        .iter()
        .map(|(&partition, &start)| {
            (
                partition_progress::topic.eq(topic),
                partition_progress::partition.eq(partition),
                partition_progress::incarnation.eq(incarnation),
                partition_progress::first_offset.eq(start),
                partition_progress::next_offset.eq(start),
            )
        })
        .collect();
    // Five parameters a row, of the 65,535 that a statement may have.
    for rows in rows.chunks(10_000) {
        diesel::insert_into(partition_progress::table)
            .values(rows)
            .on_conflict_do_nothing()
            .execute(connection)
            .await?;
    }
    Ok(())
}

diesel::allow_tables_to_appear_in_same_query!(topics, partition_progress);
