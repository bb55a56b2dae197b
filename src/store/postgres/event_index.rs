//! Events by an index that somebody made on a column and `stored_at`: straight to the newest of a user, element or key.
//!
//! drover makes none, because each costs every row that is stored; docs/OPERATIONS.md says how. Fails as PostgreSQL does.

use super::error::Failure;
use super::event_rows::{Row, event_columns};
use crate::domain::event_search::EventFilter;
use crate::domain::lookback::Window;
use crate::store::events::indexed_column;
use chrono::DateTime;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::BoxedSqlQuery;
use diesel::sql_types::{Binary, Bool, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::fmt::Write as _;

#[derive(QueryableByName)]
struct Exists {
    #[diesel(sql_type = Bool)]
    found: bool,
}

/// Whether an index of all rows has this column first and `stored_at` next, so that it leads from new to old.
pub(super) async fn has_index(connection: &mut AsyncPgConnection, column: &str) -> Result<bool, Failure> {
    let exists: Exists = diesel::sql_query(
        "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam \
         WHERE i.indrelid = to_regclass('events') AND i.indisvalid AND i.indpred IS NULL AND a.amname = 'btree' \
         AND pg_get_indexdef(i.indexrelid, 1, true) = $1 AND pg_get_indexdef(i.indexrelid, 2, true) = 'stored_at') AS found",
    )
    .bind::<Text, _>(column)
    .get_result(connection)
    .await?;
    Ok(exists.found)
}

/// The `rows` newest of those that have the value of the indexed column, whatever else is wanted of them: what the index leads to is
/// all that is read, so that a search for what is rare among much goes on step by step and not until its time is over.
pub(super) async fn by_index(
    connection: &mut AsyncPgConnection,
    window: &Window,
    rows: usize,
    filter: &EventFilter,
) -> Result<Vec<Row>, Failure> {
    let Some((column, wanted)) = indexed_column(filter) else { return Ok(Vec::new()) };
    let mut sql = format!(
        "SELECT {} AS run, {}, NULL::bytea AS value FROM events e WHERE e.{column} = $1",
        window.run,
        event_columns()
    );
    let mut next = 2;
    let mut parameter = || {
        next += 1;
        next - 1
    };
    let mut times = Vec::new();
    for (operator, us) in [
        (">=", filter.since_us),
        ("<=", filter.until_us),
        ("<=", window.after.as_ref().map(|after| after.stored_at_us)),
    ] {
        if let Some(us) = us {
            let _ = write!(sql, " AND e.stored_at {operator} ${}", parameter());
            times.push(DateTime::from_timestamp_micros(us).unwrap_or_default());
        }
    }
    if let Some(after) = &window.after {
        let _ = write!(
            sql,
            r#" AND (e.stored_at, e.topic COLLATE "C", e.partition, e.incarnation, e."offset") < (${}, ${}, {}, {}, {})"#,
            parameter(),
            parameter(),
            after.partition,
            after.incarnation,
            after.offset
        );
    }
    let _ = write!(
        sql,
        r#" ORDER BY e.stored_at DESC, e.topic COLLATE "C" DESC, e.partition DESC, e.incarnation DESC, e."offset" DESC LIMIT {rows}"#
    );
    let mut query: BoxedSqlQuery<'_, Pg, _> = diesel::sql_query(sql).into_boxed();
    query = match column {
        "key" => query.bind::<Binary, _>(wanted.as_bytes()),
        _ => query.bind::<Text, _>(wanted),
    };
    for time in times {
        query = query.bind::<Timestamptz, _>(time);
    }
    if let Some(after) = &window.after {
        let time = DateTime::from_timestamp_micros(after.stored_at_us).unwrap_or_default();
        query = query.bind::<Timestamptz, _>(time).bind::<Text, _>(after.topic.as_str());
    }
    Ok(query.load(connection).await?)
}
