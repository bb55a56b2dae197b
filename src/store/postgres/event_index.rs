//! Events by an index that somebody made on a column and `stored_at`: straight to the newest of a user, element or key.
//!
//! drover makes none, because each costs every row that is stored; docs/OPERATIONS.md says how. Fails as PostgreSQL does.

use super::error::Failure;
use super::event_rows::{Row, event_columns};
use crate::domain::event_search::EventFilter;
use crate::domain::lookback::Window;
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

/// Rows by an index on a column that is compared. The other columns are compared by the server too, so that a page is full.
pub(super) async fn by_index(
    connection: &mut AsyncPgConnection,
    window: &Window,
    rows: usize,
    filter: &EventFilter,
) -> Result<Vec<Row>, Failure> {
    let mut sql =
        format!("SELECT {} AS run, {}, NULL::bytea AS value FROM events e WHERE true", window.run, event_columns());
    let mut texts: Vec<&str> = Vec::new();
    for (column, wanted) in [
        ("user_id", &filter.user_id),
        ("event_type", &filter.event_type),
        ("element_id", &filter.element_id),
        ("source", &filter.source),
        ("topic", &filter.topic),
    ] {
        if let Some(wanted) = wanted {
            texts.push(wanted);
            let _ = write!(sql, " AND e.{column} = ${}", texts.len());
        }
    }
    let mut next = texts.len() + 1;
    let mut parameter = || {
        next += 1;
        next - 1
    };
    let key = filter.key.as_ref().map(|key| (parameter(), key.as_bytes()));
    if let Some((at, _)) = key {
        let _ = write!(sql, " AND e.key = ${at}");
    }
    // Numbers need no parameter.
    if let Some(partition) = filter.partition {
        let _ = write!(sql, " AND e.partition = {partition}");
    }
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
    for text in texts {
        query = query.bind::<Text, _>(text);
    }
    if let Some((_, key)) = key {
        query = query.bind::<Binary, _>(key);
    }
    for time in times {
        query = query.bind::<Timestamptz, _>(time);
    }
    if let Some(after) = &window.after {
        let time = DateTime::from_timestamp_micros(after.stored_at_us).unwrap_or_default();
        query = query.bind::<Timestamptz, _>(time).bind::<Text, _>(after.topic.as_str());
    }
    Ok(query.load(connection).await?)
}
