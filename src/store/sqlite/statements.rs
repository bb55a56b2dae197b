//! The statements that run once a row, as diesel query fragments with a static id: prepared once, bound and stepped for
//! each row. diesel's own insert cannot be cached where a column may be null.

use super::time::text_of_us;
use crate::domain::event::EventRow;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;

/// A row of `events` in the types that are bound.
pub(super) struct BoundRow<'a> {
    topic: &'a str,
    partition: i32,
    incarnation: i32,
    offset: i64,
    key: Option<&'a [u8]>,
    user_id: Option<&'a str>,
    event_type: &'a str,
    element_id: Option<&'a str>,
    occurred_at: Option<String>,
    payload: Option<&'a str>,
    consumer_id: &'a str,
    source: Option<&'a str>,
    stored_at: &'a str,
}

impl<'a> BoundRow<'a> {
    /// `None` when the document is not UTF-8.
    pub(super) fn new(row: &'a EventRow<'_>, stored_at: &'a str) -> Option<Self> {
        Some(Self {
            topic: &row.topic,
            partition: row.partition,
            incarnation: row.incarnation,
            offset: row.offset,
            key: row.key.as_deref(),
            user_id: row.user_id.as_deref(),
            event_type: &row.event_type,
            element_id: row.element_id.as_deref(),
            occurred_at: row.occurred_at_us.map(text_of_us),
            payload: match row.payload.as_deref() {
                Some(payload) => Some(std::str::from_utf8(payload).ok()?),
                None => None,
            },
            consumer_id: &row.consumer_id,
            source: row.source.as_deref(),
            stored_at,
        })
    }

    fn bind_key<'b>(&'b self, out: &mut AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_bind_param::<Text, _>(self.topic)?;
        out.push_sql(", ");
        out.push_bind_param::<Integer, _>(&self.partition)?;
        out.push_sql(", ");
        out.push_bind_param::<Integer, _>(&self.incarnation)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.offset)
    }

    fn bind_content<'b>(&'b self, out: &mut AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_bind_param::<Nullable<Binary>, _>(&self.key)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.user_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.event_type)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.element_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.occurred_at)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.payload)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.source)
    }
}

/// Inserts a row, unless its key is there: then no row is affected.
pub(super) struct InsertRow<'a>(pub(super) &'a BoundRow<'a>);

impl QueryId for InsertRow<'_> {
    type QueryId = InsertRow<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Sqlite> for InsertRow<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO events (topic, partition, incarnation, \"offset\", key, user_id, event_type, element_id, \
             occurred_at, payload, source, consumer_id, stored_at) VALUES (",
        );
        self.0.bind_key(&mut out)?;
        out.push_sql(", ");
        self.0.bind_content(&mut out)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.0.consumer_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.0.stored_at)?;
        out.push_sql(") ON CONFLICT (topic, partition, incarnation, \"offset\") DO NOTHING");
        Ok(())
    }
}

impl<C> diesel::RunQueryDsl<C> for InsertRow<'_> {}

/// Whether the stored row with this key is of the same record: its key and document. The other columns may differ, because
/// the mapping may have changed since, and another consumer may read it.
pub(super) struct IsStored<'a>(pub(super) &'a BoundRow<'a>);

impl QueryId for IsStored<'_> {
    type QueryId = IsStored<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for IsStored<'_> {
    type SqlType = BigInt;
}

impl QueryFragment<Sqlite> for IsStored<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("SELECT count(*) FROM events WHERE (topic, partition, incarnation, \"offset\") = (");
        self.0.bind_key(&mut out)?;
        out.push_sql(") AND key IS ");
        out.push_bind_param::<Nullable<Binary>, _>(&self.0.key)?;
        out.push_sql(" AND payload IS ");
        out.push_bind_param::<Nullable<Text>, _>(&self.0.payload)
    }
}

impl<C> diesel::RunQueryDsl<C> for IsStored<'_> {}
