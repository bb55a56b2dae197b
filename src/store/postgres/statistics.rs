//! Statistics from the rollups in PostgreSQL.

use super::PostgresStore;
use super::error::Failure;
use super::pool::bounded;
use crate::domain::event_search::FIELD_CHARACTERS;
use crate::store::StoreError;
use crate::store::statistics::{MOST_DEAD_LETTERS, MOST_TYPES, StatisticsStore, StoredStatistics};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::time::Duration;

#[derive(QueryableByName)]
struct OfType {
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct OfMinute {
    #[diesel(sql_type = Timestamptz)]
    minute: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

async fn since(connection: &mut AsyncPgConnection, ms: i64, limit: Duration) -> Result<StoredStatistics, Failure> {
    let since = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    connection
        .transaction(async |connection| {
            let limit = format!("SET LOCAL statement_timeout = {}; SET LOCAL jit = off", limit.as_millis().max(1));
            connection.batch_execute(&limit).await?;
            let by_type: Vec<OfType> = diesel::sql_query(format!(
                "SELECT left(event_type, {FIELD_CHARACTERS}) AS event_type, sum(count)::bigint AS count FROM event_rollups \
                 WHERE minute >= $1 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_TYPES}"
            ))
            .bind::<Timestamptz, _>(since)
            .load(connection)
            .await?;
            let per_minute: Vec<OfMinute> = diesel::sql_query(
                "SELECT minute, sum(count)::bigint AS count FROM event_rollups WHERE minute >= $1 GROUP BY 1 ORDER BY 1",
            )
            .bind::<Timestamptz, _>(since)
            .load(connection)
            .await?;
            // By the primary key from the newest on, so that no index on the time is needed.
            let letters: Count = diesel::sql_query(format!(
                "SELECT count(*) AS count FROM (SELECT failed_at FROM dead_letters ORDER BY id DESC \
                 LIMIT {MOST_DEAD_LETTERS}) newest WHERE failed_at >= $1"
            ))
            .bind::<Timestamptz, _>(since)
            .get_result(connection)
            .await?;
            Ok(StoredStatistics {
                stored: per_minute.iter().map(|one| one.count).sum(),
                dead_letters: letters.count,
                by_type: by_type.into_iter().map(|one| (one.event_type, one.count)).collect(),
                per_minute: per_minute.into_iter().map(|one| (one.minute.timestamp_millis(), one.count)).collect(),
            })
        })
        .await
}

impl StatisticsStore for PostgresStore {
    fn statistics(&self, since_ms: i64, limit: Duration) -> BoxFuture<'_, Result<StoredStatistics, StoreError>> {
        ask!(self, "count what was stored", |connection| since(connection, since_ms, limit))
    }
}
