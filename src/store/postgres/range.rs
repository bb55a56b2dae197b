//! What lies in a range of offsets, as runs of consecutive ones: one statement, so one short snapshot.

use super::error::Failure;
use crate::domain::audit::GapReason;
use crate::store::tiles::{Tile, TileKind};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

#[derive(QueryableByName)]
struct Run {
    #[diesel(sql_type = Integer)]
    kind: i32,
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    next: i64,
    #[diesel(sql_type = Text)]
    reason: String,
}

/// A run is what shares the distance between an offset and its rank. Of the gaps that begin before the range only the last
/// one is looked at: where gaps overlap each other, the range in which they do says so.
const RUNS: &str = r#"
    SELECT 0 AS kind, min(o) AS first, max(o) + 1 AS next, '' AS reason FROM (
        SELECT "offset" AS o, "offset" - row_number() OVER (ORDER BY "offset") AS run FROM events
        WHERE topic = $1 AND partition = $2 AND incarnation = $3 AND "offset" >= $4 AND "offset" < $5) e GROUP BY run
    UNION ALL
    SELECT 1, min(o), max(o) + 1, '' FROM (
        SELECT "offset" AS o, "offset" - row_number() OVER (ORDER BY "offset") AS run FROM dead_letters
        WHERE topic = $1 AND partition = $2 AND incarnation = $3 AND "offset" >= $4 AND "offset" < $5) d GROUP BY run
    UNION ALL
    SELECT 2, first_offset, next_offset, reason FROM offset_gaps
    WHERE topic = $1 AND partition = $2 AND incarnation = $3 AND first_offset >= $4 AND first_offset < $5
    UNION ALL
    SELECT 2, first_offset, next_offset, reason FROM (
        SELECT first_offset, next_offset, reason FROM offset_gaps
        WHERE topic = $1 AND partition = $2 AND incarnation = $3 AND first_offset < $4
        ORDER BY first_offset DESC LIMIT 1) g
"#;

/// The runs that touch `[first, next)` of a partition.
pub(super) async fn tiles(
    connection: &mut AsyncPgConnection,
    (topic, partition, incarnation): (&str, i32, i32),
    first: i64,
    next: i64,
) -> Result<Vec<Tile>, Failure> {
    let runs: Vec<Run> = diesel::sql_query(RUNS)
        .bind::<Text, _>(topic)
        .bind::<Integer, _>(partition)
        .bind::<Integer, _>(incarnation)
        .bind::<BigInt, _>(first)
        .bind::<BigInt, _>(next)
        .load(connection)
        .await?;
    Ok(runs
        .into_iter()
        .map(|run| Tile {
            kind: match run.kind {
                0 => TileKind::Rows,
                1 => TileKind::DeadLetters,
                _ => TileKind::Gap(GapReason::from_name(&run.reason)),
            },
            first: run.first,
            next: run.next,
        })
        .collect())
}
