//! Rows of `events` and `dead_letters` as a search reads them: the columns, and what they become. Pure.

use crate::domain::event_search::{EventKey, EventStatus, FIELD_CHARACTERS, FoundEvent};
use crate::store::events::{GLIMPSE_BYTES, ReadEvent};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text, Timestamptz};

#[derive(QueryableByName)]
pub(super) struct Place {
    #[diesel(sql_type = Text)]
    pub(super) topic: String,
    #[diesel(sql_type = Integer)]
    pub(super) partition: i32,
    #[diesel(sql_type = Integer)]
    pub(super) incarnation: i32,
}

#[derive(QueryableByName)]
pub(super) struct Row {
    #[diesel(sql_type = Integer)]
    pub(super) run: i32,
    #[diesel(embed)]
    pub(super) at: Place,
    #[diesel(sql_type = BigInt)]
    pub(super) offset: i64,
    #[diesel(sql_type = Nullable<Binary>)]
    key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Text>)]
    user_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    event_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    element_id: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    occurred_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    consumer_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    source: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    stored_at: DateTime<Utc>,
    /// Of a dead letter.
    #[diesel(sql_type = Nullable<Text>)]
    code: Option<String>,
    /// Of a dead letter: the beginning. Of one event: its document.
    #[diesel(sql_type = Nullable<Binary>)]
    pub(super) value: Option<Vec<u8>>,
}

impl Row {
    /// The record as a search sees it.
    pub(super) fn read(self) -> ReadEvent {
        let is_letter = self.code.is_some();
        // In the table of dead letters headers are base64.
        let decoded = |source: String| STANDARD.decode(source).ok().and_then(|source| String::from_utf8(source).ok());
        let event = FoundEvent {
            at: EventKey {
                stored_at_us: self.stored_at.timestamp_micros(),
                topic: self.at.topic,
                partition: self.at.partition,
                incarnation: self.at.incarnation,
                offset: self.offset,
            },
            key: self.key,
            user_id: self.user_id,
            event_type: self.event_type,
            element_id: self.element_id,
            occurred_at_us: self.occurred_at.map(|at| at.timestamp_micros()),
            consumer_id: self.consumer_id,
            source: if is_letter { self.source.and_then(decoded) } else { self.source },
            status: if is_letter { EventStatus::DeadLetter } else { EventStatus::Stored },
            code: self.code,
        };
        ReadEvent { event, value: self.value }
    }
}

/// The columns of `events` as [`Row`] takes them, texts cut one character past what is shown: what is longer matches nothing.
pub(super) fn event_columns() -> String {
    let most = FIELD_CHARACTERS + 1;
    format!(
        r#"e.topic, e.partition, e.incarnation, e."offset", substring(e.key FROM 1 FOR {most}) AS key,
        left(e.user_id, {most}) AS user_id, left(e.event_type, {most}) AS event_type, left(e.element_id, {most}) AS element_id,
        e.occurred_at, e.consumer_id, left(e.source, {most}) AS source, e.stored_at, NULL::text AS code"#
    )
}

/// The same of `dead_letters`.
pub(super) fn letter_columns() -> String {
    let most = FIELD_CHARACTERS + 1;
    format!(
        r#"e.topic, e.partition, e.incarnation, e."offset", substring(e.key FROM 1 FOR {most}) AS key, NULL::text AS user_id,
        NULL::text AS event_type, NULL::text AS element_id, NULL::timestamptz AS occurred_at, e.consumer_id,
        (SELECT left(h.one->>'value', 1024) FROM jsonb_array_elements(e.headers) WITH ORDINALITY AS h (one, at)
         WHERE h.one->>'name' = 'drover_source' ORDER BY h.at DESC LIMIT 1) AS source,
        e.failed_at AS stored_at, e.code, substring(e.value FROM 1 FOR {GLIMPSE_BYTES}) AS value"#
    )
}
