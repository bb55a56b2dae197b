//! Statistics from the rollups in SQLite.

use super::connection::Access;
use super::error::Failure;
use super::{SqliteStore, time};
use crate::domain::event_search::FIELD_CHARACTERS;
use crate::store::StoreError;
use crate::store::statistics::{MOST_DEAD_LETTERS, MOST_TYPES, StatisticsStore, StoredStatistics};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::time::Duration;

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn since(connection: &mut SqliteConnection, ms: i64) -> Result<StoredStatistics, Failure> {
    let since = time::text_of_us(ms.saturating_mul(1_000));
    let mut count = |sql: String| -> Result<Vec<Counted>, Failure> {
        Ok(diesel::sql_query(sql).bind::<Text, _>(&since).load(connection)?)
    };
    let by_type = count(format!(
        "SELECT substr(event_type, 1, {FIELD_CHARACTERS}) AS name, sum(count) AS count FROM event_rollups \
         WHERE minute >= ? GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_TYPES}"
    ))?;
    let per_minute = count(
        "SELECT minute AS name, sum(count) AS count FROM event_rollups WHERE minute >= ? GROUP BY 1 ORDER BY 1".into(),
    )?;
    // By the primary key from the newest on, so that no index on the time is needed.
    let letters = count(format!(
        "SELECT '' AS name, count(*) AS count FROM (SELECT failed_at FROM dead_letters ORDER BY id DESC \
         LIMIT {MOST_DEAD_LETTERS}) WHERE failed_at >= ?"
    ))?;
    Ok(StoredStatistics {
        stored: per_minute.iter().map(|one| one.count).sum(),
        dead_letters: letters.first().map_or(0, |one| one.count),
        by_type: by_type.into_iter().map(|one| (one.name, one.count)).collect(),
        per_minute: per_minute.into_iter().map(|one| (time::ms_of_text(&one.name), one.count)).collect(),
    })
}

impl StatisticsStore for SqliteStore {
    fn statistics(&self, since_ms: i64, _limit: Duration) -> BoxFuture<'_, Result<StoredStatistics, StoreError>> {
        self.run("count what was stored", Access::Read, move |connection| since(connection, since_ms)).boxed()
    }
}
